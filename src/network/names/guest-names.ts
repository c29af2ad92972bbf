/** Who is called how on the networks that are there: the names that dnsmasq of each network tells its guests. */
import {
  contains,
  formatIp,
  type IpAddress,
  networkMode,
  parseIp,
  subnetOfAddress,
} from '../../model/index.ts'
import type { CompleteNetwork } from '../complete.ts'
import type { Port } from '../ports.ts'
import { domainOf, hostName, isLocalDomain, rootDomain } from './host-name.ts'
import { reversedAddress, reverseZone } from './reverse.ts'

/** Names below `apex` are those of networks here; `isLocal`: nobody else has any of them. */
export interface Zone {
  readonly apex: string
  readonly isLocal: boolean
}

/** What is known of a name. */
export interface Found {
  readonly zone: Zone
  /** Whether there is such a name, though perhaps without anything of the kind that is asked for. */
  readonly exists: boolean
  readonly addresses: readonly string[]
  /** Of the address that it stands for. */
  readonly names: readonly string[]
}

/** A name, whole, and who has it. */
export interface NamedHost {
  readonly name: string
  readonly network: string
  readonly guest?: string
  readonly addresses: readonly string[]
}

export interface GuestNames {
  /** By a whole name in lower case, without the dot at its end; undefined when it is in no zone of ours. */
  find(name: string): Promise<Found | undefined>
  /** All that have the name. */
  withName(name: string): Promise<NamedHost[]>
  /** All that have the address. */
  withAddress(address: IpAddress): Promise<NamedHost[]>
  /** Every name there is. */
  all(): readonly string[]
  /** Domains of the networks that are there. */
  domains(): readonly string[]
}

export interface NameSources {
  /** That are there now. */
  readonly networks: () => readonly CompleteNetwork[]
  readonly ports: (uuid: string) => readonly Port[]
  /** What is known of cards that no address is kept for, a list for each. */
  readonly listen: (ports: readonly Port[]) => Promise<readonly (readonly string[])[]>
  /** Where these names are answered. */
  readonly serverAddress: string
}

/** The name of who answers. */
export const serverName = `ns.${rootDomain}`
/** So long it is not asked again who was heard. */
const listenedMs = 1_000
/** Modes in which the subnet is this network's and nobody else's, as far as this host reaches. */
const ownSubnets = ['nat', 'route', 'open', 'isolated']

interface Entry extends NamedHost {
  /** Its card, where no address is kept for it. */
  readonly silent?: Port
}

export function guestNames(sources: NameSources): GuestNames {
  const named = () => sources.networks().filter(({ dns }) => dns?.enabled !== false)
  const entries = () =>
    named()
      .flatMap((network) => entriesOf(network, sources.ports(network.uuid)))
      .filter(({ name }) => canBeAsked(name))
  const heard = rememberHeard(sources, () => entries().flatMap(({ silent }) => silent ?? []))

  const complete = async (found: readonly Entry[]): Promise<NamedHost[]> => {
    const known = found.some(({ silent }) => silent) ? await heard() : undefined
    return found.map(({ silent, ...entry }) => ({
      ...entry,
      addresses: silent ? (known?.get(silent.link) ?? []) : entry.addresses,
    }))
  }

  const withName = (name: string) => complete(entries().filter((entry) => entry.name === name))

  async function withAddress(address: IpAddress): Promise<NamedHost[]> {
    const text = formatIp(address)
    const all = entries()
    const has = ({ addresses }: NamedHost) => addresses.includes(text)
    const kept = all.filter(has)
    if (kept.length > 0) return complete(kept)
    return (await complete(all.filter(({ silent }) => silent))).filter(has)
  }

  async function findForward(name: string, zone: Zone): Promise<Found> {
    const hosts = await withName(name)
    const own = name === serverName ? [sources.serverAddress] : []
    const above = [...entries().map((entry) => entry.name), ...zones().map(({ apex }) => apex)]
    const exists =
      hosts.length > 0 || own.length > 0 || name === zone.apex || above.some((one) => isBelow(one, name))
    return {
      zone,
      exists,
      addresses: [...new Set([...own, ...hosts.flatMap((host) => host.addresses)])],
      names: [],
    }
  }

  async function findReverse(name: string): Promise<Found | undefined> {
    const subnets = ownSubnetsOf(sources.networks())
    const address = reversedAddress(name)
    if (!address) {
      // Part of the name of an address.
      const subnet = subnets.find((one) => name === reverseZone(one) || isBelow(name, reverseZone(one)))
      return subnet && { zone: reverseOf(subnet), exists: true, addresses: [], names: [] }
    }
    const subnet = subnets.find((one) => contains(one, address))
    const hosts = await withAddress(address)
    if (!subnet && hosts.length === 0) return undefined
    return {
      zone: subnet ? reverseOf(subnet) : { apex: name, isLocal: false },
      exists: hosts.length > 0,
      addresses: [],
      names: [...new Set(hosts.map((host) => host.name))],
    }
  }

  const zones = (): Zone[] => [
    { apex: rootDomain, isLocal: true },
    ...sources.networks().map((network) => ({
      apex: domainOf(network).toLowerCase(),
      isLocal: isLocalDomain(network),
    })),
  ]

  return {
    withName,
    withAddress,
    all: () => [...new Set(entries().map(({ name }) => name))],
    domains: () => [...new Set(named().map((network) => domainOf(network).toLowerCase()))],
    async find(name) {
      const zone = zones()
        .filter(({ apex }) => name === apex || isBelow(name, apex))
        .reduce<Zone | undefined>(
          (best, one) => (best && best.apex.length > one.apex.length ? best : one),
          undefined,
        )
      return zone ? findForward(name, zone) : findReverse(name)
    },
  }
}

/** Of a network: its guests, the host, and whom its definition names. */
function entriesOf(network: CompleteNetwork, ports: readonly Port[]): Entry[] {
  const domain = domainOf(network).toLowerCase()
  const entry = (label: string, addresses: readonly string[]): Entry => ({
    name: `${label}.${domain}`,
    network: network.name,
    addresses: addresses.map(canonical),
  })
  const inDomain = (name: string) => {
    if (!name.includes('.')) return name
    return isBelow(name, domain) ? name.slice(0, -domain.length - 1) : undefined
  }
  return [
    ...ports.flatMap((port) => {
      const label = hostName(port.name)
      if (label === undefined) return []
      const silent = port.addresses.length === 0 ? { silent: port } : {}
      return [{ ...entry(label, port.addresses), guest: port.name, ...silent }]
    }),
    ...network.addresses.map(({ address }) => entry('host', [address])),
    ...(network.dns?.hosts ?? []).flatMap(({ address, names }) =>
      names.flatMap((name) => {
        const label = inDomain(name.toLowerCase())
        return label === undefined ? [] : [entry(label, [address])]
      }),
    ),
  ]
}

/** Who was heard, by link; asked at most once in {@link listenedMs}, however many want to know. */
function rememberHeard({ listen }: NameSources, silent: () => readonly Port[]) {
  let last:
    | { readonly at: number; readonly found: Promise<ReadonlyMap<string, readonly string[]>> }
    | undefined
  return () => {
    if (last && performance.now() - last.at < listenedMs) return last.found
    const ports = silent()
    const found = listen(ports).then(
      (lists) => new Map(ports.map(({ link }, index) => [link, (lists[index] ?? []).filter(isRoutable)])),
    )
    last = { at: performance.now(), found }
    return found
  }
}

const ownSubnetsOf = (networks: readonly CompleteNetwork[]) =>
  networks
    .filter((network) => ownSubnets.includes(networkMode(network)))
    .flatMap(({ addresses }) => addresses.flatMap((one) => subnetOfAddress(one) ?? []))

/** The zones of reverse look-ups of a network whose subnets are its own. */
export const reverseZonesOf = (network: CompleteNetwork): string[] => ownSubnetsOf([network]).map(reverseZone)

const reverseOf = (subnet: Parameters<typeof reverseZone>[0]): Zone => ({
  apex: reverseZone(subnet),
  isLocal: true,
})

/** Source: RFC 1035 (2.3.4). */
const canBeAsked = (name: string): boolean =>
  name.length <= 253 && name.split('.').every((label) => label.length > 0 && label.length <= 63)

const isBelow = (name: string, domain: string): boolean => name.endsWith(`.${domain}`)

/** Those of a link say nothing without the link. */
const isRoutable = (address: string): boolean => !/^fe[89ab]/iu.test(address)

function canonical(address: string): string {
  const parsed = parseIp(address)
  return parsed ? formatIp(parsed) : address
}
