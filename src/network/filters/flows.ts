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
  /** How long silence may last: as long as keepalives of TCP let it (tcp(7)), as conntrack for the others. */
  readonly timeout: string
}
const kinds: readonly FlowKind[] = [
  { name: 'tcp', ports: 'tcp', timeout: '2h10m' },
  { name: 'udp', ports: 'udp', timeout: '3m' },
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
  const name = protocol.replace('-ipv6', '')
  const own = kinds.filter((kind) =>
    name === 'all'
      ? true
      : name === kind.name || (kind.ports === undefined && !kinds.some((one) => one.name === name)),
  )
  return own.map((kind) => {
    const key = keyOf(kind, ip, way)
    const set = `@${kind.name}${ip === 'ip' ? 4 : 6}`
    const also =
      name !== 'all'
        ? ''
        : kind.ports === undefined
          ? `meta l4proto != { ${numbers.tcp}, ${numbers.udp} }`
          : `meta l4proto ${numbers[kind.name]}`
    return {
      also,
      known: `${key} ${set}`,
      unknown: `${key} != ${set}`,
      remember: `update ${set} { ${key} }`,
    }
  })
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
  kinds.flatMap(({ name, ports, timeout }) =>
    (['4', '6'] as const).map((version) => {
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
