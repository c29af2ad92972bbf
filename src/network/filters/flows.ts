/**
 * Who talks to whom through a port of a bridge, remembered in sets: not every kernel follows connections of bridges
 * (nf_conntrack_bridge), and all can do this. Rules that accept remember; answers are what is remembered.
 */
import type { FilterProtocol } from '../../model/index.ts'
import { ipWord, numbers } from './matches.ts'

/** As the guest sees it. */
export type Way = 'in' | 'out'

interface FlowKind {
  readonly name: string
  readonly ports: string | undefined
  /** Whose flows are kept with its own: protocols without ports. */
  readonly set?: string
  /** How long silence may last: as long as keepalives of TCP let it (tcp(7)), as conntrack for the others. */
  readonly timeout: string
}
const kinds: readonly FlowKind[] = [
  { name: 'tcp', ports: 'tcp', timeout: '2h10m' },
  { name: 'udp', ports: 'udp', timeout: '3m' },
  { name: 'icmp', ports: undefined, timeout: '3m', set: 'other' },
  { name: 'other', ports: undefined, timeout: '3m' },
]

/** How many are remembered of a kind. */
const mostFlows = 1_048_576

/** What a rule says of flows, for each kind that packets of the protocol may be of. */
export interface FlowWords {
  /** Which packets they are, where the rule does not say it. */
  readonly also: string
  readonly known: string
  readonly unknown: string
  readonly remember: string
}

export function flowsOf(protocol: FilterProtocol, way: Way): FlowWords[] {
  const ip = ipWord(protocol)
  const name = protocol.replace('-ipv6', '').replace('icmpv6', 'icmp')
  const own = kinds.filter((kind) => kind.name === name)
  const meant = name === 'all' ? kinds : own.length > 0 ? own : kinds.filter((kind) => kind.name === 'other')
  return meant.map((kind) => {
    const key = keyOf(kind, ip, way)
    const set = `@${kind.set ?? kind.name}${ip === 'ip' ? 4 : 6}`
    const asks = kind.name !== 'icmp' ? undefined : ip === 'ip' ? icmpQuestions : icmpv6Questions
    return {
      also: name === 'all' ? protocolOf(kind, ip) : '',
      known: `${asks ? `${asks[0]} != ${asks[1]} ` : ''}${key} ${set}`,
      unknown: asks ? `${asks[0]} ${asks[1]}` : `${key} != ${set}`,
      remember: `update ${set} { ${key} }`,
    }
  })
}

// They have no ports by which a question could be told from an answer. Sources: RFC 792, RFC 950, RFC 4443.
const icmpQuestions = ['icmp type', '{ 8, 13, 15, 17 }'] as const
const icmpv6Questions = ['icmpv6 type', '{ 128, 139 }'] as const

const icmpNumber = (ip: 'ip' | 'ip6') => numbers[ip === 'ip' ? 'icmp' : 'icmpv6']

function protocolOf({ name }: FlowKind, ip: 'ip' | 'ip6'): string {
  if (name === 'other') return `meta l4proto != { ${numbers.tcp}, ${numbers.udp}, ${icmpNumber(ip)} }`
  return `meta l4proto ${name === 'icmp' ? icmpNumber(ip) : numbers[name]}`
}

/** The guest's side comes first in either direction. */
function keyOf({ ports }: FlowKind, ip: 'ip' | 'ip6', way: Way): string {
  const [link, own, other] = way === 'out' ? ['iifname', 's', 'd'] : ['oifname', 'd', 's']
  const pair = `${link} . ${ip} ${own}addr . ${ip} ${other}addr`
  return ports === undefined
    ? `${pair} . meta l4proto`
    : `${pair} . ${ports} ${own}port . ${ports} ${other}port`
}

/** The sets, in which nothing is forgotten when rules change. */
export const flowSets = (): string[] =>
  kinds.flatMap(({ name, ports, timeout, set }) =>
    (set === undefined ? (['4', '6'] as const) : []).map((version) => {
      const address = `ipv${version}_addr`
      const rest = ports === undefined ? 'inet_proto' : 'inet_service . inet_service'
      return [
        `  set ${name}${version} {`,
        `    type ifname . ${address} . ${address} . ${rest}`,
        `    size ${mostFlows}`,
        '    flags dynamic,timeout',
        `    timeout ${timeout}`,
        '  }',
      ].join('\n')
    }),
  )
