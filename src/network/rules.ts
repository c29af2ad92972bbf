/**
 * The rules of all networks, as a script of nft(8) that replaces what there was at once.
 *
 * What each packet meets does not grow with the number of networks and guests: it is looked up in maps and sets
 * by its link. Source: nft(8), libvirt's rules as its "Virtual networking" page gives them.
 */
import {
  contains,
  formatIp,
  formatSubnet,
  type IpFamily,
  type IpSubnet,
  type NetworkBandwidth,
  networkMode,
  parseIp,
  subnetOfAddress,
} from '../model/index.ts'
import { type CompleteNetwork, hasOwnBridge } from './complete.ts'
import type { PublishedPort } from './publications.ts'

/** An interface of a guest, as rules know it. */
export interface GuardedPort {
  readonly link: string
  readonly mac: string
  /** Addresses that are kept for it. */
  readonly addresses: readonly string[]
  /** Families of which it sends from none but these. */
  readonly guards: readonly IpFamily[]
  /** Whether it may send as whom it likes. */
  readonly isTrusted?: boolean
  /** Addresses that its filter is told of: it sends as these too. */
  readonly filterParameters?: readonly { readonly name: string; readonly value: string }[]
  /** How much it may send. */
  readonly outbound?: Rate | undefined
}

type Rate = NonNullable<NetworkBandwidth['outbound']>

/**
 * An interface with what it may send: of a family, no more than its addresses where each subnet has kept one for it,
 * else anything, as who gives itself an address is not known by it.
 */
export function guardedPort<
  P extends Omit<GuardedPort, 'guards'> & { readonly portGroup?: string | undefined },
>(definition: CompleteNetwork, port: P): P & GuardedPort {
  const { addresses, portGroup } = port
  const group = definition.portGroups.find(({ name }) => name === portGroup)
  const guards = (['ipv4', 'ipv6'] as const).filter((family) => {
    const own = subnets(definition).filter((subnet) => subnet.family === family)
    const isKept = (subnet: IpSubnet) =>
      addresses.map(parseIp).some((address) => address && contains(subnet, address))
    if (own.length > 0) return own.every(isKept)
    // The network does not know the family: its guests need not either, unless it is asked for.
    return addresses.length > 0 && !(family === 'ipv6' && definition.ipv6 === true)
  })
  return {
    ...{ ...port, guards, outbound: group?.bandwidth?.outbound },
    isTrusted: definition.trustGuestRxFilters === true,
  }
}

export interface RuledNetwork {
  readonly definition: CompleteNetwork
  readonly ports: readonly GuardedPort[]
}

/** Replaces both tables. */
export function formatRules(
  table: string,
  networks: readonly RuledNetwork[],
  published: readonly PublishedPort[] = [],
): string {
  const bridged = networks.filter(({ definition }) => definition.bridge !== undefined)
  // A bridge that was there before is the host's: what it forwards is not ours to say.
  const ruled = bridged.filter(({ definition }) => hasOwnBridge(definition) && hasRules(definition))
  return `${removeRules(table)}
table inet ${table} {
${[
  ...limits(networkLimits(networks)),
  ...ruled.flatMap(({ definition }) => networkChains(definition)),
  chain('forward', 'type filter hook forward priority filter; policy accept;', [
    ...dispatch('oifname', 'to', ruled),
    ...dispatch('iifname', 'from', ruled),
  ]),
  // The host's own loopback is nobody's business: see `allowLoopback`.
  chain('loopback', 'type filter hook prerouting priority raw; policy accept;', [
    ...guardLoopback(ruled),
    ...limitRules(bridged),
  ]),
  chain('input', 'type filter hook input priority filter; policy accept;', closed(ruled, 'iifname')),
  chain('output', 'type filter hook output priority filter; policy accept;', closed(ruled, 'oifname')),
  chain('postrouting', 'type nat hook postrouting priority srcnat; policy accept;', [
    ...ruled.flatMap(({ definition }) => masquerade(definition)),
    ...(published.length > 0 ? hairpin(ruled) : []),
  ]),
  ...publishing(published),
].join('\n')}
}
${guardTable(table, bridged)}`
}

/** Removes both tables, whether they are there or not. */
export function removeRules(table: string): string {
  return ['inet', 'bridge']
    .map((family) => `table ${family} ${table} {}\ndelete table ${family} ${table}`)
    .join('\n')
}

/** Adds an interface to what is guarded, or takes it out. */
export function formatPortRules(table: string, change: 'add' | 'delete', port: GuardedPort): string {
  const elements = guardElements(port).map(
    ([set, element]) => `${change} element bridge ${table} ${set} { ${element} }`,
  )
  const { link, outbound } = port
  if (outbound?.average === undefined) return elements.join('\n')
  const name = limitName(link)
  const lines =
    change === 'add'
      ? [`add limit bridge ${table} ${name} { ${rateOf(outbound)} ; }`]
      : [`delete limit bridge ${table} ${name}`]
  const entry = `${change} element bridge ${table} outbound { ${quoted(link)} : "${name}" }`
  return [...elements, ...(change === 'add' ? [...lines, entry] : [entry, ...lines])].join('\n')
}

/** A link, and how much may come from it. */
type LimitedLink = readonly [link: string, rate: Rate]

const networkLimits = (networks: readonly RuledNetwork[]): LimitedLink[] =>
  networks.flatMap(({ definition }): LimitedLink[] => {
    const rate = definition.bandwidth?.outbound
    return rate?.average === undefined || definition.bridge === undefined ? [] : [[definition.bridge, rate]]
  })

const limitName = (link: string) => `out_${plainName(link)}`

/** The least that may pass at once: a guest may leave the cutting of segments to the host. */
const leastBurst = 128 * 1024

/** Kilobytes are 1000 bytes, as for tc(8), and those of a burst 1024. */
function rateOf({ average = 0, burst }: Rate): string {
  const bytes = Math.max(burst === undefined ? average * 1000 : burst * 1024, leastBurst)
  return `rate over ${average * 1000} bytes/second burst ${bytes} bytes`
}

/** What is beyond a limit is lost, which slows down who sends; each packet is looked up once. */
function limits(limited: readonly LimitedLink[]): string[] {
  const elements = limited.map(([link]) => `${quoted(link)} : "${limitName(link)}"`)
  return [
    ...limited.map(([link, rate]) => `  limit ${limitName(link)} { ${rateOf(rate)} ; }`),
    [
      '  map outbound {',
      '    type ifname : limit',
      ...(elements.length > 0 ? [`    elements = { ${elements.join(', ')} }`] : []),
      '  }',
    ].join('\n'),
  ]
}

/**
 * What guests send to this host and through it. Among each other they are free, though the kernel may ask here about
 * what bridges forward too (br_netfilter).
 */
const limitRules = (networks: readonly RuledNetwork[]): string[] =>
  networks.flatMap(({ definition }) => {
    const { bridge = '', bandwidth } = definition
    if (bandwidth?.outbound?.average === undefined) return []
    const [from, drop] = [`iifname ${quoted(bridge)}`, `limit name "${limitName(bridge)}" drop`]
    const away = (['ipv4', 'ipv6'] as const).flatMap((family) => {
      const own = subnets(definition).filter((subnet) => subnet.family === family)
      const [first] = own
      return first ? [`${from} ${word(first)} daddr != { ${own.map(formatSubnet).join(', ')} } ${drop}`] : []
    })
    return [`${from} fib daddr type local ${drop}`, ...away]
  })

const hasRules = (definition: CompleteNetwork) => networkMode(definition) !== 'open'

/** Guests that this host neither reaches nor is reached by. */
const isClosed = (definition: CompleteNetwork) => ['internal', 'vxlan'].includes(networkMode(definition))

const subnets = ({ addresses }: CompleteNetwork): IpSubnet[] =>
  addresses.map(subnetOfAddress).filter((subnet) => subnet !== undefined)

const word = ({ family }: IpSubnet) => (family === 'ipv4' ? 'ip' : 'ip6')
const quoted = (text: string | undefined) => `"${text}"`

function chain(name: string, hook: string | undefined, rules: readonly string[]): string {
  return [`  chain ${name} {`, ...(hook ? [hook] : []), ...rules, '  }']
    .map((line, index, all) => (index === 0 || index === all.length - 1 ? line : `    ${line}`))
    .join('\n')
}

const dispatch = (key: string, direction: string, networks: readonly RuledNetwork[]): string[] =>
  networks.length === 0
    ? []
    : [
        `${key} vmap { ${networks
          .map(
            ({ definition }) => `${quoted(definition.bridge)} : jump ${direction}_${chainName(definition)}`,
          )
          .join(', ')} }`,
      ]

/** Of the bridge's name, with nothing that nft would read otherwise. */
const chainName = ({ bridge = '' }: CompleteNetwork) => plainName(bridge)

const plainName = (link: string) =>
  link.replace(/[^a-zA-Z0-9]/gu, (char) => `_${char.codePointAt(0)?.toString(16)}_`)

function closed(networks: readonly RuledNetwork[], key: string): string[] {
  const names = networks
    .filter(({ definition }) => isClosed(definition))
    .map(({ definition }) => quoted(definition.bridge))
  return names.length === 0 ? [] : [`${key} { ${names.join(', ')} } drop`]
}

function guardLoopback(networks: readonly RuledNetwork[]): string[] {
  const names = networks.map(({ definition }) => quoted(definition.bridge))
  return names.length === 0 ? [] : [`iifname { ${names.join(', ')} } ip daddr 127.0.0.0/8 drop`]
}

const refuse = 'reject with icmpx admin-prohibited'

/** What may be forwarded to a network and from it. */
function networkChains(definition: CompleteNetwork): string[] {
  const { bridge, forward } = definition
  const mode = networkMode(definition)
  const name = chainName(definition)
  const within = `iifname ${quoted(bridge)} return`
  const through = forward?.dev === undefined ? '' : `iifname ${quoted(forward.dev)} `
  const out = forward?.dev === undefined ? '' : `oifname ${quoted(forward.dev)} `
  const own = subnets(definition)
  if (mode === 'nat')
    return [
      chain(`to_${name}`, undefined, [
        within,
        'ct state established,related return',
        'ct status dnat return',
        refuse,
      ]),
      chain(`from_${name}`, undefined, [
        `oifname ${quoted(bridge)} return`,
        ...own.map((subnet) => `${out}${word(subnet)} saddr ${formatSubnet(subnet)} return`),
        'ct state established,related return',
        refuse,
      ]),
    ]
  if (mode === 'route')
    return [
      chain(`to_${name}`, undefined, [
        within,
        ...own.map((subnet) => `${through}${word(subnet)} daddr ${formatSubnet(subnet)} return`),
        refuse,
      ]),
      chain(`from_${name}`, undefined, [
        `oifname ${quoted(bridge)} return`,
        ...own.map((subnet) => `${out}${word(subnet)} saddr ${formatSubnet(subnet)} return`),
        refuse,
      ]),
    ]
  return [
    chain(`to_${name}`, undefined, [within, refuse]),
    chain(`from_${name}`, undefined, [`oifname ${quoted(bridge)} return`, refuse]),
  ]
}

/** Packets that leave for elsewhere are sent as this host's own. */
function masquerade(definition: CompleteNetwork): string[] {
  const { forward } = definition
  if (networkMode(definition) !== 'nat') return []
  const { nat } = forward ?? {}
  const out = forward?.dev === undefined ? '' : `oifname ${quoted(forward.dev)} `
  return subnets(definition)
    .filter(({ family }) => family === 'ipv4' || nat?.ipv6)
    .flatMap((subnet) => {
      const ip = word(subnet)
      const range = formatSubnet(subnet)
      const local = subnet.family === 'ipv4' ? '{ 224.0.0.0/24, 255.255.255.255 }' : '{ ff02::/16 }'
      const from = `${out}${ip} saddr ${range} ${ip} daddr != ${range}`
      const start = nat?.addressStart
      const target =
        subnet.family === 'ipv4' && start !== undefined
          ? `snat ip to ${start}${nat?.addressEnd === undefined ? '' : `-${nat.addressEnd}`}`
          : 'masquerade'
      const ports = `:${nat?.portStart ?? 1024}-${nat?.portEnd ?? 65_535}`
      return [
        `${ip} saddr ${range} ${ip} daddr ${local} return`,
        `${from} meta l4proto { tcp, udp } ${target}${target === 'masquerade' ? ` to ${ports}` : ports}`,
        `${from} ${target}`,
      ]
    })
}

/** Guests that a port leads to must answer by way of this host, wherever they think the question is from. */
const hairpin = (networks: readonly RuledNetwork[]): string[] =>
  networks.flatMap(({ definition }) => [
    // By their addresses: of what is bridged the kernel does not say here where it came in.
    ...subnets(definition).map(
      (subnet) =>
        `${word(subnet)} saddr ${formatSubnet(subnet)} oifname ${quoted(definition.bridge)} ct status dnat masquerade`,
    ),
    `ip saddr 127.0.0.0/8 oifname ${quoted(definition.bridge)} masquerade`,
  ])

/** Ports of this host that lead to guests: for packets from elsewhere, from guests and from the host itself. */
function publishing(published: readonly PublishedPort[]): string[] {
  if (published.length === 0) return []
  const sets = new Map<string, string[]>()
  for (const { proto, address, port, target, to } of published) {
    const family = target.includes(':') ? 'ip6' : 'ip'
    const name = `${address === undefined ? 'any' : 'one'}_${family}_${proto}`
    const key = address === undefined ? `${port}` : `${address} . ${port}`
    sets.set(name, [...(sets.get(name) ?? []), `${key} : ${target} . ${to}`])
  }
  const maps = [...sets].map(([name, elements]) => {
    const [kind, family] = name.split('_')
    const type = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
    return [
      `  map ${name} {`,
      `    type ${kind === 'one' ? `${type} . ` : ''}inet_service : ${type} . inet_service`,
      `    elements = { ${elements.join(', ')} }`,
      '  }',
    ].join('\n')
  })
  const rules = [...sets.keys()].map((name) => {
    const [kind, family, proto] = name.split('_')
    const key = kind === 'one' ? `${family} daddr . ${proto} dport` : `${proto} dport`
    return `fib daddr type local dnat ${family} to ${key} map @${name}`
  })
  return [
    ...maps,
    chain('prerouting', 'type nat hook prerouting priority dstnat; policy accept;', rules),
    chain('local', 'type nat hook output priority -100; policy accept;', rules),
  ]
}

/** What guests may send: only as who they are. */
function guardTable(table: string, networks: readonly RuledNetwork[]): string {
  const ports = networks.flatMap((one) => one.ports)
  const elements = ports.flatMap(guardElements)
  const limited = ports.flatMap(({ link, outbound }): LimitedLink[] =>
    outbound?.average === undefined ? [] : [[link, outbound]],
  )
  const set = (name: string, type: string) => {
    const own = elements.filter(([of]) => of === name).map(([, element]) => element)
    return [
      `  set ${name} {`,
      `    type ${type}`,
      ...(own.length > 0 ? [`    elements = { ${own.join(', ')} }`] : []),
      '  }',
    ].join('\n')
  }
  return `table bridge ${table} {
${[
  ...limits(limited),
  set('guarded', 'ifname'),
  set('guarded4', 'ifname'),
  set('guarded6', 'ifname'),
  set('macs', 'ifname . ether_addr'),
  set('ipv4', 'ifname . ipv4_addr'),
  set('ipv6', 'ifname . ipv6_addr'),
  chain('guard', 'type filter hook prerouting priority -300; policy accept;', [
    'limit name iifname map @outbound drop',
    'iifname @guarded iifname . ether saddr != @macs drop',
    // Who has no address yet asks for one, and whether it is free.
    'ether type arp arp saddr ip != 0.0.0.0 iifname @guarded4 iifname . arp saddr ip != @ipv4 drop',
    'ip saddr 0.0.0.0 udp dport 67 accept',
    'ether type ip iifname @guarded4 iifname . ip saddr != @ipv4 drop',
    'ip6 saddr { ::, fe80::/10 } accept',
    'ether type ip6 iifname @guarded6 iifname . ip6 saddr != @ipv6 drop',
  ]),
].join('\n')}
}
`
}

function guardElements({
  link,
  mac,
  addresses,
  guards,
  isTrusted,
  filterParameters = [],
}: GuardedPort): (readonly [string, string])[] {
  if (isTrusted) return []
  const told = filterParameters.flatMap(({ name, value }) => {
    const parsed = name === 'IP' || name === 'IPV6' ? parseIp(value) : undefined
    return parsed ? [formatIp(parsed)] : []
  })
  const of = quoted(link)
  return [
    ['guarded', of],
    ['macs', `${of} . ${mac}`],
    ...guards.map((family) => [family === 'ipv4' ? 'guarded4' : 'guarded6', of] as const),
    ...[...new Set([...addresses, ...told])].map(
      (address) => [address.includes(':') ? 'ipv6' : 'ipv4', `${of} . ${address}`] as const,
    ),
  ]
}
