/** Moves what a network card has to a bridge, and back. */
import { existsSync, readlinkSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { run } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { type Family, type FamilyLine, type LinkState, switchFile } from './link-state.ts'

/** All that is known before anything is changed. */
export interface BridgePlan {
  readonly bridge: string
  readonly nic: string
  /** Whether the card was on. */
  readonly isUp: boolean
  readonly state: LinkState
  readonly resolver: ResolverState
  /** Gateways that answered before. */
  readonly answered?: readonly string[]
}

/** Where the resolver of the host speaks of the card. */
export interface ResolverState {
  /** Content of /etc/resolv.conf, where it names the link (fe80::1%eth0). */
  readonly file?: string
  /** Servers and domains of the link in systemd-resolved. */
  readonly servers: readonly string[]
  readonly domains: readonly string[]
}

const resolverFile = '/etc/resolv.conf'
const timeoutMs = 20_000

export async function readResolver(nic: string): Promise<ResolverState> {
  const file = await readFile(resolverFile, 'utf8').catch(() => '')
  const [servers, domains] = await Promise.all([askResolved('dns', nic), askResolved('domain', nic)])
  return { ...(file.includes(`%${nic}`) ? { file } : {}), servers, domains }
}

/** What systemd-resolved has for a link; nothing where it does not run. Source: resolvectl(1). */
async function askResolved(what: string, nic: string): Promise<string[]> {
  if (!existsSync('/run/systemd/resolve')) return []
  const asked = await run('resolvectl', [what, nic], { timeoutMs: 5000 }).catch(() => undefined)
  const said = asked?.code === 0 ? asked.stdout.slice(asked.stdout.indexOf('):') + 2) : ''
  return said.split(/\s+/u).filter((word) => word !== '')
}

const inFamily = (lines: readonly FamilyLine[], family: Family, link: string): string[] =>
  lines.filter((one) => one.family === family).map(({ line }) => line.replaceAll('{link}', link))

/** The commands in order, as they are run and as people read them. */
export function forwardSteps({ bridge, nic, state }: BridgePlan): Readonly<Record<'make' | 4 | 6, string[]>> {
  const ofFamily = (family: Family) => [
    ...inFamily(state.addresses, family, bridge).map((words) => `address replace ${words}`),
    ...inFamily(state.routes, family, bridge).map((words) => `route append ${words}`),
    ...inFamily(state.rules, family, bridge).map((words) => `rule add ${words}`),
    ...inFamily(state.rules, family, nic).map((words) => `rule delete ${words}`),
  ]
  return {
    make: [
      `link add name ${bridge} address ${state.mac} mtu ${state.mtu} type bridge forward_delay 0 stp_state 0`,
    ],
    4: [
      `address flush dev ${nic}`,
      `link set dev ${nic} master ${bridge}`,
      `link set dev ${nic} up`,
      `link set dev ${bridge} up`,
      ...ofFamily(4),
    ],
    6: ofFamily(6),
  }
}

/** The plan as people read it. */
export function describePlan(plan: BridgePlan): string[] {
  const { make, 4: four, 6: six } = forwardSteps(plan)
  const off = plan.state.switches['ipv6/disable_ipv6'] === '0'
  return [
    ...make.map((line) => `ip ${line}`),
    ...(off ? [`sysctl net.ipv6.conf.${plan.nic}.disable_ipv6=1`] : []),
    ...four.map((line) => `ip ${line}`),
    ...six.map((line) => `ip -6 ${line}`),
    ...(plan.resolver.file === undefined
      ? []
      : [`${resolverFile}: '%${plan.nic}' becomes '%${plan.bridge}'`]),
    ...resolvedSteps(plan, plan.bridge).map((args) => `resolvectl ${args.join(' ')}`),
  ]
}

function resolvedSteps({ resolver }: BridgePlan, link: string): string[][] {
  return [
    ...(resolver.servers.length > 0 ? [['dns', link, ...resolver.servers]] : []),
    ...(resolver.domains.length > 0 ? [['domain', link, ...resolver.domains]] : []),
  ]
}

/** Makes the bridge and moves all there. On failure it is for {@link giveBack} to clear up. */
export async function moveToBridge(plan: BridgePlan): Promise<void> {
  const { bridge, nic, resolver } = plan
  const steps = forwardSteps(plan)
  await batch(4, steps.make)
  await setSwitches(plan, bridge)
  await withoutDetection(bridge, async () => {
    await setSwitch(nic, 'ipv6/disable_ipv6', '1')
    await batch(4, steps[4])
    await batch(6, steps[6])
  })
  if (resolver.file !== undefined)
    await writeFile(resolverFile, resolver.file.replaceAll(`%${nic}`, `%${bridge}`))
  for (const args of resolvedSteps(plan, bridge)) await run('resolvectl', args, { timeoutMs: 5000 })
}

/** The card has all as it was, whatever of it is so already. Gives what could not be done. */
export async function giveBack(plan: BridgePlan): Promise<string[]> {
  const { bridge, nic, state, resolver } = plan
  const isThere = existsSync(`/sys/class/net/${bridge}/bridge`)
  const complaints = await force(4, [
    ...(masterOf(nic) === bridge ? [`link set dev ${nic} nomaster`] : []),
    ...(isThere ? [`link delete dev ${bridge}`] : []),
    `link set dev ${nic} up`,
  ])
  // They may be on either.
  for (const family of [4, 6] as const)
    await force(
      family,
      inFamily(state.rules, family, bridge).map((words) => `rule delete ${words}`),
    )
  await withoutDetection(nic, async () => {
    await setSwitch(nic, 'ipv6/disable_ipv6', state.switches['ipv6/disable_ipv6'])
    for (const family of [4, 6] as const)
      complaints.push(
        ...(await force(family, [
          ...inFamily(state.addresses, family, nic).map((words) => `address replace ${words}`),
          ...inFamily(state.routes, family, nic).map((words) => `route append ${words}`),
          ...inFamily(state.rules, family, nic).map((words) => `rule add ${words}`),
        ])),
      )
  })
  if (!plan.isUp) complaints.push(...(await force(4, [`link set dev ${nic} down`])))
  if (resolver.file !== undefined) await writeFile(resolverFile, resolver.file)
  return complaints
}

export function masterOf(link: string): string | undefined {
  try {
    return basename(readlinkSync(`/sys/class/net/${link}/master`))
  } catch {
    return undefined
  }
}

async function setSwitch(link: string, name: string, value: string | undefined): Promise<void> {
  const file = switchFile(link, name)
  if (value === undefined || !existsSync(file)) return
  if ((await readFile(file, 'latin1')).trim() !== value) await writeFile(file, value)
}

async function setSwitches({ state }: BridgePlan, link: string): Promise<void> {
  // Some kernels refuse some for some links: what counts is that packets arrive.
  for (const [name, value] of Object.entries(state.switches))
    await setSwitch(link, name, value).catch(() => {})
}

/** Addresses are used at once: nobody else has taken them in the moment that they move. */
async function withoutDetection(link: string, work: () => Promise<void>): Promise<void> {
  const file = switchFile(link, 'ipv6/accept_dad')
  const before = existsSync(file) ? (await readFile(file, 'latin1')).trim() : undefined
  await setSwitch(link, 'ipv6/accept_dad', '0')
  try {
    await work()
  } finally {
    await setSwitch(link, 'ipv6/accept_dad', before)
  }
}

async function batch(family: Family, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return
  const { code, stderr } = await run('ip', [`-${family}`, '-batch', '-'], { input: text(lines), timeoutMs })
  if (code === 0) return
  const failed = lines[Number(/Command failed -:(\d+)/u.exec(stderr)?.[1] ?? 0) - 1]
  throw new VisorError('failed', `'ip ${failed ?? ''}' failed: ${stderr.trim().split('\n')[0] ?? ''}`)
}

/** Runs all lines; gives what the failed ones said. What is so already is no failure. */
async function force(family: Family, lines: readonly string[]): Promise<string[]> {
  if (lines.length === 0) return []
  const args = [`-${family}`, '-force', '-batch', '-']
  const { stderr } = await run('ip', args, { input: text(lines), timeoutMs })
  return stderr.split('\n').filter((line) => line !== '' && !/Command failed|File exists/u.test(line))
}

const text = (lines: readonly string[]) => `${lines.join('\n')}\n`
