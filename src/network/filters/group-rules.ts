/** Security groups as chains of nft(8): one of each group for each direction, that the chains of its guests ask. */
import { type GroupRule, parseIp, parseSubnet, type SecurityGroup } from '../../model/index.ts'
import { flowsOf, type Way } from './flows.ts'

export type Chains = readonly (readonly [name: string, rules: readonly string[]])[]

const families = [
  { word: 'ip', all: 'all', icmp: 'icmp', isV6: false },
  { word: 'ip6', all: 'all-ipv6', icmp: 'icmpv6', isV6: true },
] as const
type Family = (typeof families)[number]

const joined = (...parts: readonly string[]) => parts.filter((part) => part !== '').join(' ')
// Of neither a link nor a filter: those begin with their direction.
const plain = (name: string) =>
  name.replace(/[^a-zA-Z0-9]/gu, (char) => `_${char.codePointAt(0)?.toString(16)}_`)
const chainOf = (way: Way, name: string) => `group_${plain(name)}_${way}`

/**
 * The chains of all groups. `addressesOf`: of the guests that belong to a group and are on networks now.
 */
export function groupChains(
  groups: readonly SecurityGroup[],
  addressesOf: (group: string) => readonly string[],
): Chains {
  return [
    ['groups_in', [...alwaysIn, ...answers('in')]],
    ['groups_out', [...alwaysOut, ...answers('out')]],
    ['groups_any', anything],
    ...groups.flatMap(({ name, rules }) =>
      (['in', 'out'] as const).map(
        (way) =>
          [
            chainOf(way, name),
            rules
              .filter(({ direction }) => direction === way)
              .flatMap((rule) => ruleLines(rule, addressesOf)),
          ] as const,
      ),
    ),
  ]
}

/** What a guest of these groups is asked, in the chain that the rest of its rules end in. */
export function memberRules(groups: readonly SecurityGroup[], way: Way): string[] {
  const jumps = groups.map(({ name }) => `jump ${chainOf(way, name)}`)
  if (way === 'in') return ['jump groups_in', ...jumps, 'drop']
  const isNarrow = groups.some(({ rules }) => rules.some(({ direction }) => direction === 'out'))
  return ['jump groups_out', ...(isNarrow ? [...jumps, 'drop'] : ['goto groups_any'])]
}

// Without these no guest has addresses or finds its neighbours; errors are told to who is not let in, too.
const arp = 'ether type { 0x0806, 0x8035 } accept'
const neighbours =
  'ether type ip6 icmpv6 type { 1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 137, 143 } accept'
const errors = 'ether type ip icmp type { 3, 11, 12 } accept'
const alwaysIn = [
  ...[arp, neighbours, errors],
  'ether type ip udp sport 67 udp dport 68 accept',
  'ether type ip6 udp sport 547 udp dport 546 accept',
]
const alwaysOut = [
  ...[arp, neighbours, errors],
  'ether type ip udp sport 68 udp dport 67 accept',
  'ether type ip6 udp sport 546 udp dport 547 accept',
]

const answers = (way: Way): string[] =>
  families.flatMap(({ word, all }) =>
    flowsOf(all, way).map(({ also, known, remember }) =>
      joined(`ether type ${word}`, also, known, remember, 'accept'),
    ),
  )

const anything: readonly string[] = [
  ...families.flatMap(({ word, all }) =>
    flowsOf(all, 'out').map(({ also, remember }) => joined(`ether type ${word}`, also, remember, 'accept')),
  ),
  'accept',
]

function ruleLines(rule: GroupRule, addressesOf: (group: string) => readonly string[]): string[] {
  return families.flatMap((family) => {
    const peers = peersOf(rule, family, addressesOf)
    if (peers === undefined) return []
    const protocol = rule.proto === 'any' ? family.all : rule.proto === 'icmp' ? family.icmp : rule.proto
    const number = { tcp: 'meta l4proto 6', udp: 'meta l4proto 17', any: '', icmp: '' }[rule.proto]
    const icmp = rule.proto === 'icmp' ? `meta l4proto ${family.isV6 ? 58 : 1}` : ''
    const kind =
      family.isV6 && (protocol === 'tcp' || protocol === 'udp') ? (`${protocol}-ipv6` as const) : protocol
    return flowsOf(kind, rule.direction).map(({ also, remember }) =>
      joined(`ether type ${family.word}`, peers, number, icmp, also, portsOf(rule), remember, 'accept'),
    )
  })
}

function portsOf({ proto, start, end }: GroupRule): string {
  if (start === undefined) return ''
  return `${proto} dport ${end === undefined || end === start ? start : `${start}-${end}`}`
}

/** Whom it is about, of one family; undefined where there is nobody. */
function peersOf(
  { peer, direction }: GroupRule,
  { word, isV6 }: Family,
  addressesOf: (group: string) => readonly string[],
): string | undefined {
  if (peer === undefined) return ''
  const own = isAddress(peer) ? [peer] : addressesOf(peer)
  const fitting = own.filter((one) => one.includes(':') === isV6)
  const side = direction === 'in' ? 'saddr' : 'daddr'
  return fitting.length === 0 ? undefined : `${word} ${side} { ${fitting.join(', ')} }`
}

/** Whether a peer is an address or a subnet, not a group. */
export const isAddress = (peer: string): boolean => /[.:/]/u.test(peer)

/** Whether there is such an address or subnet. */
export const isSoundAddress = (peer: string): boolean =>
  peer.includes('/') ? parseSubnet(peer) !== undefined : parseIp(peer) !== undefined
