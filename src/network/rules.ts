/**
 * The rules of all networks, as a script of nft(8) that replaces what there was at once.
 *
 * What each packet meets does not grow with the number of networks and guests: it is looked up in maps and sets
 * by its link. Source: nft(8), libvirt's rules as its "Virtual networking" page gives them.
 */

import type { ElementPart, SetElement } from '../host/index.ts'
import { formatSubnet, type IpSubnet, networkMode } from '../model/index.ts'
import { type CompleteNetwork, hasOwnBridge } from './complete.ts'
import { limitName, plainName, type RuledNetwork, type RuleElement, subnetsOf } from './rule-elements.ts'

/** Both tables, with what is in their sets and maps; {@link removeRules} goes before it where there may be any. */
export function formatRules(
  table: string,
  networks: readonly RuledNetwork[],
  elements: readonly RuleElement[] = [],
): string {
  const bridged = networks.filter(({ definition }) => definition.bridge !== undefined)
  // A bridge that was there before is the host's: what it forwards is not ours to say.
  const ruled = bridged.filter(({ definition }) => hasOwnBridge(definition) && hasRules(definition))
  return `table inet ${table} {
${[
  ...limits('inet', elements),
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
    ...hairpin(ruled),
  ]),
  ...publishing(elements),
].join('\n')}
}
${guardTable(table, elements)}`
}

/** Removes both tables, whether they are there or not. */
export function removeRules(table: string): string {
  return ['inet', 'bridge']
    .map((family) => `table ${family} ${table} {}\ndelete table ${family} ${table}`)
    .join('\n')
}

/** Each packet is looked up once. */
function limits(family: 'inet' | 'bridge', elements: readonly RuleElement[]): string[] {
  const own = elements.filter((element) => element.family === family)
  return [
    ...own.flatMap((element) =>
      'set' in element
        ? []
        : [
            `  limit ${element.name} { rate over ${element.bytesPerSecond} bytes/second burst ${element.burstBytes} bytes ; }`,
          ],
    ),
    formatSet('map', 'outbound', 'ifname : limit', own),
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
      const own = subnetsOf(definition).filter((subnet) => subnet.family === family)
      const [first] = own
      return first ? [`${from} ${word(first)} daddr != { ${own.map(formatSubnet).join(', ')} } ${drop}`] : []
    })
    return [`${from} fib daddr type local ${drop}`, ...away]
  })

const hasRules = (definition: CompleteNetwork) => networkMode(definition) !== 'open'

/** Guests that this host neither reaches nor is reached by. */
const isClosed = (definition: CompleteNetwork) => ['internal', 'vxlan'].includes(networkMode(definition))

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
  const own = subnetsOf(definition)
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
  return subnetsOf(definition)
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
    ...subnetsOf(definition).map(
      (subnet) =>
        `${word(subnet)} saddr ${formatSubnet(subnet)} oifname ${quoted(definition.bridge)} ct status dnat masquerade`,
    ),
    `ip saddr 127.0.0.0/8 oifname ${quoted(definition.bridge)} masquerade`,
  ])

const publicationMaps = (['any', 'one'] as const).flatMap((kind) =>
  (['ip', 'ip6'] as const).flatMap((family) =>
    (['tcp', 'udp'] as const).map((proto) => ({ name: `${kind}_${family}_${proto}`, kind, family, proto })),
  ),
)

/** Ports of this host that lead to guests: for packets from elsewhere, from guests and from the host itself. */
function publishing(elements: readonly RuleElement[]): string[] {
  const maps = publicationMaps.map(({ name, kind, family }) => {
    const type = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
    return formatSet(
      'map',
      name,
      `${kind === 'one' ? `${type} . ` : ''}inet_service : ${type} . inet_service`,
      elements,
    )
  })
  const rules = publicationMaps.map(({ name, kind, family, proto }) => {
    const key = kind === 'one' ? `${family} daddr . ${proto} dport` : `${proto} dport`
    // From there the kernel has no way: who tries it first is to be refused at once, and take the other family.
    const notLoopback = family === 'ip6' ? 'ip6 daddr != ::1 ' : ''
    return `${notLoopback}fib daddr type local dnat ${family} to ${key} map @${name}`
  })
  return [
    ...maps,
    chain('prerouting', 'type nat hook prerouting priority dstnat; policy accept;', rules),
    chain('local', 'type nat hook output priority -100; policy accept;', rules),
  ]
}

/** What guests may send: only as who they are. */
function guardTable(table: string, elements: readonly RuleElement[]): string {
  const set = (name: string, type: string) => formatSet('set', name, type, elements)
  return `table bridge ${table} {
${[
  ...limits('bridge', elements),
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

function formatSet(
  kind: 'set' | 'map',
  name: string,
  type: string,
  elements: readonly RuleElement[],
): string {
  const own = elements.flatMap((element) =>
    'set' in element && element.set === name ? [formatElement(element)] : [],
  )
  return [
    `  ${kind} ${name} {`,
    `    type ${type}`,
    ...(own.length > 0 ? [`    elements = { ${own.join(', ')} }`] : []),
    '  }',
  ].join('\n')
}

function formatElement({ key, data, limit }: SetElement): string {
  const parts = (all: readonly ElementPart[]) =>
    all.map(([type, value]) => (type === 'ifname' ? quoted(value) : value)).join(' . ')
  const mapped = data ? parts(data) : limit && quoted(limit)
  return mapped ? `${parts(key)} : ${mapped}` : parts(key)
}
