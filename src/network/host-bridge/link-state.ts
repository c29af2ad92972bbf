/** What a link of this host has that moves with it: addresses, routes, rules, switches. Source: ip(8), ip-sysctl.rst. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { runChecked } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { ipList } from '../commands.ts'

export type Family = 4 | 6

/** Words of a command of ip(8), in which the link is `{link}`. */
export interface FamilyLine {
  readonly family: Family
  readonly line: string
}

export interface LinkState {
  readonly mac: string
  readonly mtu: number
  /** Words of `address replace`, and the address for people. */
  readonly addresses: readonly (FamilyLine & { readonly text: string })[]
  /** Words of `route append`. */
  readonly routes: readonly FamilyLine[]
  /** Words of `rule add`. */
  readonly rules: readonly FamilyLine[]
  /** By family and name. */
  readonly switches: Readonly<Record<string, string>>
  /** Next hops of its default routes. */
  readonly gateways: readonly string[]
}

/** That of IPv6 which says whether there is any is told apart. */
const switchNames: readonly string[] = [
  ...['accept_local', 'accept_redirects', 'accept_source_route', 'arp_accept', 'arp_announce', 'arp_filter'],
  ...['arp_ignore', 'arp_notify', 'forwarding', 'log_martians', 'promote_secondaries', 'proxy_arp'],
  ...['route_localnet', 'rp_filter', 'secure_redirects', 'send_redirects', 'shared_media', 'src_valid_mark'],
].map((name) => `ipv4/${name}`)
const switchNames6: readonly string[] = [
  ...['accept_ra', 'accept_ra_defrtr', 'accept_ra_pinfo', 'accept_ra_rtr_pref', 'accept_redirects'],
  ...['addr_gen_mode', 'autoconf', 'dad_transmits', 'forwarding', 'hop_limit', 'proxy_ndp', 'use_tempaddr'],
].map((name) => `ipv6/${name}`)

export const switchFile = (link: string, name: string): string => {
  const [family, rest] = name.split('/')
  return `/proc/sys/net/${family}/conf/${link}/${rest}`
}

/** Reads it. Fails with `unsupported-config` for what could not be moved. */
export async function readLinkState(link: string): Promise<LinkState> {
  const [one] = await ipList('address', 'show', 'dev', link)
  const routes = [...(await readRoutes(link, 4)), ...(await readRoutes(link, 6))]
  await refuseShared(link)
  return {
    mac: String(one?.address),
    mtu: Number(one?.mtu),
    // The kernel lists those of IPv6 from the last on: which is the first counts when it chooses one.
    addresses: inOrder(addressesOf(one?.addr_info, link)),
    routes,
    rules: [...(await readRules(link, 4)), ...(await readRules(link, 6))],
    switches: await readSwitches(link),
    gateways: [...new Set(routes.flatMap(({ line }) => gatewayOf(line) ?? []))],
  }
}

const gatewayOf = (line: string) => /^unicast (?:0\.0\.0\.0|::)\/0 via (?:inet6 )?(\S+)/u.exec(line)?.[1]

const inOrder = (addresses: LinkState['addresses']) => [
  ...addresses.filter(({ family }) => family === 4),
  ...addresses.filter(({ family }) => family === 6).reverse(),
]

function addressesOf(listed: unknown, link: string): LinkState['addresses'] {
  const all = (Array.isArray(listed) ? listed : []) as Record<string, unknown>[]
  return all.flatMap((one) => {
    const family = one.family === 'inet6' ? 6 : 4
    // Those for privacy come from another that moves: the kernel makes them.
    if (one.temporary === true) return []
    const { local, prefixlen, address: peer, broadcast, scope, label, metric } = one
    const life = (which: unknown) => (which === 2 ** 32 - 1 ? 'forever' : `${Number(which)}`)
    const flags = ['home', 'mngtmpaddr', 'nodad', 'noprefixroute', 'autojoin'].filter(
      (flag) => one[flag] === true,
    )
    const words = [
      peer === undefined ? `${local}/${prefixlen}` : `${local} peer ${peer}/${prefixlen}`,
      ...(broadcast === undefined ? [] : [`broadcast ${broadcast}`]),
      `dev {link} scope ${scope}`,
      ...(label === undefined || family === 6 ? [] : [`label ${String(label).replace(link, '{link}')}`]),
      ...(metric === undefined ? [] : [`metric ${metric}`]),
      `valid_lft ${life(one.valid_life_time)} preferred_lft ${life(one.preferred_life_time)}`,
      ...flags,
    ]
    return [{ family, line: words.join(' '), text: `${local}/${prefixlen}` }]
  })
}

/** Those that do not come with addresses. As text they are words that ip(8) takes back, but for a few. */
async function readRoutes(link: string, family: Family): Promise<FamilyLine[]> {
  const args = [`-${family}`, '-oneline', '-details', 'route', 'show', 'table', 'all', 'dev', link]
  const { stdout } = await runChecked('ip', args)
  return stdout.split('\n').flatMap((text) => {
    const line = text.trim().replace(/\s+/gu, ' ')
    if (line === '' || / table local | proto kernel /u.test(`${line} `)) return []
    if (/\bnhid\b|\bencap\b/u.test(line)) throw unmovable(link, line)
    return [{ family, line: asWords(line, family) }]
  })
}

function asWords(line: string, family: Family): string {
  return `${line} dev {link}`
    .replace(/^(\w+) default /u, family === 4 ? '$1 0.0.0.0/0 ' : '$1 ::/0 ')
    .replace(/ (?:linkdown|dead|pervasive|offload|trap|notify)\b/gu, '')
    .replace(/ (?:error|iif|users|age|used) \S+/gu, '')
    .replace(/ expires (\d+)sec/u, ' expires $1')
}

/** Routes with several next hops are of more than one link. */
async function refuseShared(link: string): Promise<void> {
  for (const family of [4, 6])
    for (const route of await ipList(`-${family}`, 'route', 'show', 'table', 'all')) {
      const hops = (Array.isArray(route.nexthops) ? route.nexthops : []) as { readonly dev?: unknown }[]
      if (hops.some(({ dev }) => dev === link)) throw unmovable(link, String(route.dst))
    }
}

function unmovable(link: string, route: string): VisorError {
  return new VisorError(
    'unsupported-config',
    `The route '${route}' through '${link}' has next hops of its own, and cannot be moved.`,
    { remedy: "Replace it by a plain one ('ip route'), or make the bridge by hand." },
  )
}

async function readRules(link: string, family: Family): Promise<FamilyLine[]> {
  const { stdout } = await runChecked('ip', [`-${family}`, 'rule', 'show'])
  const isOfLink = new RegExp(String.raw`\b[io]if ${link.replace(/\W/gu, String.raw`\$&`)}(?= )`, 'gu')
  return stdout.split('\n').flatMap((text) => {
    const [, priority, rest = ''] = /^(\d+):\s*(.*)$/u.exec(text.trim()) ?? []
    const line = `${rest.replace(/ \[detached\]/gu, '')} `
    if (priority === undefined || !line.match(isOfLink)) return []
    const words = line.replace(isOfLink, (match) => `${match.slice(0, 3)} {link}`).trim()
    return [{ family, line: `priority ${priority} ${words}` }]
  })
}

async function readSwitches(link: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const name of [...switchNames, ...switchNames6, 'ipv6/disable_ipv6']) {
    const file = switchFile(link, name)
    if (existsSync(file)) found[name] = (await readFile(file, 'latin1')).trim()
  }
  return found
}
