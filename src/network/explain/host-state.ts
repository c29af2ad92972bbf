/** What links of this host are, as far as packets depend on it. Source: sysfs-class-net of the kernel, ip(8). */
import { existsSync } from 'node:fs'
import { readFile, readlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { run } from '../../host/index.ts'
import type { PathStep } from '../../model/index.ts'
import { ipList } from '../commands.ts'

const read = (file: string) =>
  readFile(file, 'latin1').then(
    (text) => text.trim(),
    () => '',
  )
const isUp = async (link: string) => (Number(await read(`/sys/class/net/${link}/flags`)) & 1) === 1
/** Of a bridge port that forwards. Source: <linux/if_bridge.h>. */
const forwarding = '3'

export const readSwitch = (name: string): Promise<string> => read(`/proc/sys/net/${name}`)

/** What is wrong with a link that leads to a guest; undefined when nothing is. */
export async function faultOfPort(link: string, bridge: string): Promise<PathStep | undefined> {
  const stop = (name: PathStep['name'], message: string, remedy: string): PathStep => ({
    ...{ name, passed: false, message, remedy },
  })
  const folder = `/sys/class/net/${link}`
  if (!existsSync(folder))
    return stop('link', `The link '${link}' of this host is gone.`, 'Restart the guest.')
  if (!(await isUp(link)))
    return stop('link', `The link '${link}' is down.`, `Turn it on: 'ip link set ${link} up'.`)
  if ((await read(`${folder}/carrier`)) !== '1')
    return stop(
      'link',
      `The link '${link}' has no carrier: its other end, in the guest, is off.`,
      "Turn the card on in the guest, and see that its driver is loaded: 'ip link' there.",
    )
  const master = basename(await readlink(`${folder}/master`).catch(() => ''))
  if (master !== bridge)
    return stop(
      'port',
      master === ''
        ? `The link '${link}' is on no bridge, where it should be on '${bridge}'.`
        : `The link '${link}' is on bridge '${master}', where it should be on '${bridge}'.`,
      `Put it back: 'ip link set ${link} master ${bridge}'.`,
    )
  if (!(await isUp(bridge)))
    return stop('bridge', `The bridge '${bridge}' is down.`, `Turn it on: 'ip link set ${bridge} up'.`)
  if ((await read(`${folder}/brport/state`)) !== forwarding)
    return stop(
      'port',
      `The port '${link}' of bridge '${bridge}' does not forward yet, or no more.`,
      'Wait for the spanning tree protocol to be done with it, or turn that off (stp).',
    )
  return undefined
}

export const isIsolated = async (link: string): Promise<boolean> =>
  (await read(`/sys/class/net/${link}/brport/isolated`)) === '1'

/** Why nothing leaves by a link; undefined when it can. */
export async function faultOfLink(link: string): Promise<string | undefined> {
  if (!existsSync(`/sys/class/net/${link}`)) return 'it is gone'
  if (!(await isUp(link))) return 'it is down'
  // A bridge without ports that are on has none either.
  if ((await read(`/sys/class/net/${link}/carrier`)) === '0') return 'it has no carrier'
  return undefined
}

export async function addressesOn(link?: string): Promise<string[]> {
  const links = await ipList('address', 'show', ...(link === undefined ? [] : ['dev', link])).catch(() => [])
  return links.flatMap(({ addr_info: found }) =>
    (Array.isArray(found) ? found : []).map(({ local }: { local?: unknown }) => String(local)),
  )
}

export interface Way {
  readonly dev: string
  readonly gateway?: string
}

/** Where the kernel sends what comes in by a link; or what it says instead. */
export async function findWay(from: string, to: string, bridge: string): Promise<Way | string> {
  const { code, stdout, stderr } = await run(
    'ip',
    ['-json', 'route', 'get', to, 'from', from, 'iif', bridge],
    {
      timeoutMs: 10_000,
    },
  )
  if (code !== 0) return stderr.trim().replace(/^RTNETLINK answers: /u, '')
  const [found] = JSON.parse(stdout) as { dev?: string; gateway?: string; type?: string }[]
  if (found?.dev === undefined || found.type === 'unreachable' || found.type === 'blackhole')
    return `the route is '${found?.type}'`
  return { dev: found.dev, ...(found.gateway === undefined ? {} : { gateway: found.gateway }) }
}

/** Whether somebody on a link answers to an address, when asked. */
export async function answersOn(link: string, address: string): Promise<boolean> {
  await run('ping', ['-c', '1', '-W', '1', '-I', link, address], { timeoutMs: 5_000 }).catch(() => undefined)
  const found = await ipList('neighbour', 'show', 'to', address, 'dev', link).catch(() => [])
  const states = found.flatMap(({ state }) => (Array.isArray(state) ? state : []))
  return states.some((state) => state !== 'FAILED' && state !== 'INCOMPLETE')
}

/** Ports of a bridge that lead to no guest, with whether they are on. */
export async function otherPorts(bridge: string, guests: ReadonlySet<string>) {
  const links = await ipList('link', 'show', 'master', bridge).catch(() => [])
  const names = links.map(({ ifname }) => String(ifname)).filter((name) => !guests.has(name))
  return Promise.all(names.map(async (name) => ({ name, fault: await faultOfLink(name) })))
}
