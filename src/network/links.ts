/** Links of this host that a network is made of. Source: ip-link(8), bridge(8), ip-sysctl.rst of the kernel. */
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { addBridge, bringUp, type LinkLimit, limitLink, runChecked, setPortFlag } from '../host/index.ts'
import {
  type IpFamily,
  type IpSubnet,
  type NetworkBandwidth,
  networkMode,
  parseIp,
  prefixOf,
  subnetOfAddress,
  VisorError,
} from '../model/index.ts'
import { bridgeBatch, ipBatch, ipList } from './commands.ts'
import { type CompleteNetwork, hasOwnBridge } from './complete.ts'

/** The name of another link of a network; links have at most 15 characters. */
const beside = (kind: string, bridge: string) => `${kind}-${bridge}`.slice(0, 15)

/** What there is of a network beside its bridge. */
export interface MadeLinks {
  readonly bridge: string
  /** The link that DHCP and DNS answer on. */
  readonly serves: string
  /** Where they live, when that is not this host: it has no address on the network. */
  readonly namespace?: string
}

/** What the links of a network will be called. */
export function linksOf(definition: CompleteNetwork): MadeLinks {
  const { bridge = '' } = definition
  const apart = isApart(definition)
  return apart ? { bridge, serves: 'eth0', namespace: `visor-${bridge}` } : { bridge, serves: bridge }
}

/** Whether who answers on the network must not be this host. */
const isApart = (definition: CompleteNetwork) =>
  ['internal', 'vxlan'].includes(networkMode(definition)) && definition.addresses.length > 0

/** Makes bridge and addresses. Fails with `busy` when another link has the name; nothing is left then. */
export async function makeLinks(definition: CompleteNetwork): Promise<MadeLinks> {
  const links = linksOf(definition)
  const { bridge, namespace } = links
  if (existsSync(`/sys/class/net/${bridge}`))
    throw new VisorError(
      'busy',
      `Network '${definition.name}' cannot have the bridge '${bridge}': there is a link of that name.`,
      {
        object: { kind: 'network', name: definition.name },
        remedy: 'Choose another name for the bridge (bridge.name), or none: one is found then.',
      },
    )
  const hasHost = namespace === undefined
  const { mac, mtu, vxlan, stp = false, forwardDelaySeconds = 0 } = definition
  // With a delay of its own, a guest would wait that long for its address.
  const plain = { name: bridge, mac, mtu: mtu ?? (vxlan && vxlanMtu), stp, forwardDelaySeconds }
  try {
    await addBridge(plain)
    await setIpv6(bridge, definition, hasHost)
    await ipBatch(vxlanLines(definition))
    await bridgeBatch(peerLines(definition))
    await bringUp(bridge, hasHost ? hostAddresses(definition) : [])
    await ipBatch(hasHost ? routeLines(definition, bridge) : apartLines(links))
    if (!hasHost)
      await ipBatch(
        [...addressLines(definition, 'eth0'), 'link set dev eth0 up', 'link set dev lo up'],
        namespace,
      )
    return links
  } catch (error) {
    await removeLinks(links).catch(() => {})
    throw error
  }
}

/** Fails with `not-found` where the links of the host that a network is on are not there. */
export function checkHostLinks(definition: CompleteNetwork): void {
  const { bridge, forward, name } = definition
  const wanted = hasOwnBridge(definition) ? [] : bridge === undefined ? [] : [bridge]
  const object = { kind: 'network', name } as const
  for (const link of wanted)
    if (!existsSync(`/sys/class/net/${link}/bridge`))
      throw new VisorError(
        'not-found',
        `There is no bridge '${link}' on this host, which network '${name}' is on.`,
        {
          object,
          remedy: `Make it ('ip link add ${link} type bridge'), or name another.`,
        },
      )
  for (const link of [forward?.dev, ...(forward?.links.map(({ dev }) => dev) ?? [])])
    if (link !== undefined && !existsSync(`/sys/class/net/${link}`))
      throw new VisorError(
        'not-found',
        `There is no link '${link}' on this host, which network '${name}' goes through.`,
        {
          object,
          remedy: "'ip link' lists those there are.",
        },
      )
}

/** Removes what is there of it. */
export async function removeLinks({ bridge, namespace }: MadeLinks): Promise<void> {
  const names = [beside('vx', bridge), bridge].filter((name) => existsSync(`/sys/class/net/${name}`))
  // With its namespace, its end of the pair goes, and with that ours.
  if (namespace !== undefined && existsSync(`/run/netns/${namespace}`))
    await ipBatch([`netns delete ${namespace}`])
  await ipBatch(names.map((name) => `link delete dev ${name}`))
}

/** What fits with what is around it. */
const vxlanMtu = 1450

function vxlanLines({ bridge = '', mtu = vxlanMtu, vxlan }: CompleteNetwork): string[] {
  if (!vxlan) return []
  const name = beside('vx', bridge)
  const { id, port = 4789, dev, local } = vxlan
  return [
    `link add name ${name} type vxlan id ${id} dstport ${port}${dev ? ` dev ${dev}` : ''}${local ? ` local ${local}` : ''}`,
    `link set dev ${name} mtu ${mtu} master ${bridge} up`,
  ]
}

/** What is for everybody, or for who was not heard of yet, goes to each of the other hosts. */
const peerLines = ({ bridge = '', vxlan }: CompleteNetwork): string[] =>
  (vxlan?.peers ?? []).map(
    ({ address }) => `fdb append 00:00:00:00:00:00 dev ${beside('vx', bridge)} dst ${address}`,
  )

/** Of this host, with the length of their subnets. */
const hostAddresses = ({ addresses }: CompleteNetwork): IpSubnet[] =>
  addresses.flatMap((one) => {
    const address = parseIp(one.address)
    const prefix = prefixOf(one)
    return address && prefix !== undefined ? [{ ...address, prefix }] : []
  })

function addressLines({ addresses }: CompleteNetwork, link: string): string[] {
  return addresses.map((one) => {
    const isV4 = subnetOfAddress(one)?.family === 'ipv4'
    return `address add ${one.address}/${prefixOf(one)} dev ${link}${isV4 ? ' broadcast +' : ' nodad'}`
  })
}

/** A pair of links, of which one end is where DHCP and DNS answer. */
const apartLines = ({ bridge, namespace }: MadeLinks): string[] => [
  `netns add ${namespace}`,
  `link add name ${beside('sv', bridge)} type veth peer name eth0 netns ${namespace}`,
  `link set dev ${beside('sv', bridge)} addrgenmode none master ${bridge} up`,
]

function routeLines({ routes }: CompleteNetwork, link: string): string[] {
  return routes.map((route) => {
    return `route add ${route.address}/${prefixOf(route)} via ${route.gateway} dev ${link}${route.metric ? ` metric ${route.metric}` : ''}`
  })
}

/** A bridge has only the addresses that its definition gives it; told so before it is up, as it else asks for some. */
async function setIpv6(bridge: string, definition: CompleteNetwork, hasHost: boolean): Promise<void> {
  const folder = `/proc/sys/net/ipv6/conf/${bridge}`
  // A kernel without IPv6 has none to take away.
  if (!existsSync(folder)) return
  const wanted = hasHost && familiesOf(definition).has('ipv6')
  if (!wanted) return writeFile(`${folder}/disable_ipv6`, '1')
  await Promise.all(['accept_ra', 'autoconf'].map((name) => writeFile(`${folder}/${name}`, '0')))
}

const familiesOf = ({ addresses }: CompleteNetwork): ReadonlySet<IpFamily | undefined> =>
  new Set(addresses.map((one) => subnetOfAddress(one)?.family))

/** Lets this host forward what its networks need. It is left on: others may have come to rely on it. */
export async function allowForwarding(definition: CompleteNetwork): Promise<void> {
  if (!['nat', 'route', 'open'].includes(networkMode(definition))) return
  const families = familiesOf(definition)
  const switches = [
    ...(families.has('ipv4') ? ['/proc/sys/net/ipv4/ip_forward'] : []),
    ...(families.has('ipv6') ? ['/proc/sys/net/ipv6/conf/all/forwarding'] : []),
  ]
  for (const file of switches) {
    if ((await readFile(file, 'latin1')).trim() !== '0') continue
    if (file.includes('ipv6')) await keepRouters()
    await writeFile(file, '1')
  }
}

/**
 * Lets ports of this host's loopback lead to guests: the kernel else takes packets between the two for forged. The
 * rules see to it that guests cannot send there.
 */
export async function allowLoopback({ bridge }: CompleteNetwork): Promise<void> {
  const file = `/proc/sys/net/ipv4/conf/${bridge}/route_localnet`
  if (existsSync(file)) await writeFile(file, '1')
}

/** A host that forwards no longer hears routers unless told to: those it hears now must not be lost. */
async function keepRouters(): Promise<void> {
  const routes = await ipList('-6', 'route', 'show', 'default')
  for (const { dev, protocol } of routes) {
    const file = `/proc/sys/net/ipv6/conf/${String(dev)}/accept_ra`
    if (protocol === 'ra' && existsSync(file)) await writeFile(file, '2')
  }
}

/** Whether guests on a port reach only the host and what is behind it. */
export async function isolatePort(link: string): Promise<void> {
  await setPortFlag(link, 'isolated')
}

/**
 * Lets a guest reach itself by a port of the host that leads to it, where the kernel has bridges ask the rules of
 * IPv4 (br_netfilter): such a packet goes back where it came from, which bridges refuse by themselves.
 */
export async function reflectPort(link: string): Promise<void> {
  const asked = await readFile('/proc/sys/net/bridge/bridge-nf-call-iptables', 'latin1').catch(() => '0')
  if (asked.trim() !== '0' && existsSync(`/sys/class/net/${link}/brport`)) await setPortFlag(link, 'hairpin')
}

/** A rate of a network as one of a link. */
export const linkLimit = (
  rate: NonNullable<NetworkBandwidth['inbound']> | undefined,
): LinkLimit | undefined =>
  rate?.average === undefined
    ? undefined
    : { averageKBps: rate.average, peakKBps: rate.peak, burstKiB: rate.burst }

/** Holds what a guest receives to the rate of its port group; a limit that its card has by itself counts more. */
export async function limitPort(link: string, rate: NetworkBandwidth['inbound']): Promise<void> {
  const inbound = linkLimit(rate)
  if (!inbound) return
  const queues = await runChecked('tc', ['-json', 'qdisc', 'show', 'dev', link])
  if (!queues.stdout.includes('"htb"')) await limitLink(link, { inbound })
}

/** Names of all links. */
export async function linkNames(): Promise<Set<string>> {
  const links = await ipList('link', 'show')
  return new Set(links.map(({ ifname }) => String(ifname)))
}
