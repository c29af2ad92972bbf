/**
 * What changes with who is there: what the sets and maps of the rules hold, and limits.
 * See `formatRules` for what is done by them.
 */
import type { ElementPart, NamedLimit, SetElement } from '../host/index.ts'
import {
  contains,
  formatIp,
  type IpFamily,
  type IpSubnet,
  type NetworkBandwidth,
  parseIp,
  subnetOfAddress,
} from '../model/index.ts'
import type { CompleteNetwork } from './complete.ts'
import type { PublishedPort } from './publications.ts'

export type RuleElement = SetElement | NamedLimit

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
export function guardedPort(definition: CompleteNetwork, port: OpenPort): GuardedPort {
  const known = knownPorts.get(port)
  if (known?.definition === definition) return known.guarded
  const guarded = guard(definition, port)
  knownPorts.set(port, { definition, guarded })
  return guarded
}

type OpenPort = Omit<GuardedPort, 'guards'> & { readonly portGroup?: string | undefined }

/** Neither definitions nor ports change: they are replaced. */
const knownPorts = new WeakMap<
  OpenPort,
  { readonly definition: CompleteNetwork; readonly guarded: GuardedPort }
>()

function guard(definition: CompleteNetwork, port: OpenPort): GuardedPort {
  const { addresses, portGroup } = port
  const group = definition.portGroups.find(({ name }) => name === portGroup)
  const guards = (['ipv4', 'ipv6'] as const).filter((family) => {
    const own = subnetsOf(definition).filter((subnet) => subnet.family === family)
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

/** All of it, each limit before what names it. */
export function elementsOf(
  networks: readonly RuledNetwork[],
  published: readonly PublishedPort[],
): RuleElement[] {
  const bridged = networks.filter(({ definition }) => definition.bridge !== undefined)
  return [
    ...bridged.flatMap(({ definition: { bridge, bandwidth }, ports }) => [
      ...limitElements('inet', bridge, bandwidth?.outbound),
      ...ports.flatMap(portElements),
    ]),
    ...published.map(publicationElement),
  ]
}

const knownElements = new WeakMap<GuardedPort, readonly RuleElement[]>()

/** Kept while the port is: of hundreds of them, one has changed. */
function portElements(port: GuardedPort): readonly RuleElement[] {
  const known = knownElements.get(port)
  if (known) return known
  const elements = [...guardElements(port), ...limitElements('bridge', port.link, port.outbound)]
  knownElements.set(port, elements)
  return elements
}

const knownKeys = new WeakMap<RuleElement, string>()

/** The same for elements that are alike. */
export function elementKey(element: RuleElement): string {
  const known = knownKeys.get(element)
  if (known !== undefined) return known
  const key = JSON.stringify(element)
  knownKeys.set(element, key)
  return key
}

function publicationElement({ proto, address, port, target, to }: PublishedPort): SetElement {
  const isIpv6 = target.includes(':')
  const type = isIpv6 ? 'ipv6_addr' : 'ipv4_addr'
  return {
    family: 'inet',
    set: `${address === undefined ? 'any' : 'one'}_${isIpv6 ? 'ip6' : 'ip'}_${proto}`,
    key: [...(address === undefined ? [] : [[type, address] as const]), ['inet_service', port]],
    data: [
      [type, target],
      ['inet_service', to],
    ],
  }
}

function guardElements({
  link,
  mac,
  addresses,
  guards,
  isTrusted,
  filterParameters = [],
}: GuardedPort): SetElement[] {
  if (isTrusted) return []
  const told = filterParameters.flatMap(({ name, value }) => {
    const parsed = name === 'IP' || name === 'IPV6' ? parseIp(value) : undefined
    return parsed ? [formatIp(parsed)] : []
  })
  const of = (set: string, ...more: ElementPart[]): SetElement => ({
    ...{ family: 'bridge', set, key: [['ifname', link], ...more] },
  })
  return [
    of('guarded'),
    of('macs', ['ether_addr', mac]),
    ...guards.map((family) => of(family === 'ipv4' ? 'guarded4' : 'guarded6')),
    ...[...new Set([...addresses, ...told])].map((address) =>
      address.includes(':') ? of('ipv6', ['ipv6_addr', address]) : of('ipv4', ['ipv4_addr', address]),
    ),
  ]
}

/** Of the limit of what comes from a link. */
export const limitName = (link: string) => `out_${plainName(link)}`

/** The least that may pass at once: a guest may leave the cutting of segments to the host. */
const leastBurst = 128 * 1024

/**
 * What may come from a link: what is beyond it is lost, which slows down who sends. Kilobytes are 1000 bytes, as for
 * tc(8), and those of a burst 1024.
 */
function limitElements(
  family: 'inet' | 'bridge',
  link: string | undefined,
  rate: Rate | undefined,
): RuleElement[] {
  if (link === undefined || rate?.average === undefined) return []
  const { average, burst } = rate
  const name = limitName(link)
  const burstBytes = Math.max(burst === undefined ? average * 1000 : burst * 1024, leastBurst)
  return [
    { family, name, bytesPerSecond: average * 1000, burstBytes },
    { family, set: 'outbound', key: [['ifname', link]], limit: name },
  ]
}

export const subnetsOf = ({ addresses }: CompleteNetwork): IpSubnet[] =>
  addresses.map(subnetOfAddress).filter((subnet) => subnet !== undefined)

/** A link's name with nothing that nft would read otherwise. */
export const plainName = (link: string) =>
  link.replace(/[^a-zA-Z0-9]/gu, (char) => `_${char.codePointAt(0)?.toString(16)}_`)
