/** What is known here of the addresses of a guest, by who says so. */
import type { GuestCard } from '../driver/index.ts'
import { formatIp, type GuestInterfaceAddress, type NetworkLease, parseIp } from '../model/index.ts'
import type { Neighbour } from './neighbours.ts'
import type { Port } from './ports.ts'

type Source = GuestInterfaceAddress['sources'][number]

/** Of a card on a network: what was given, what is kept, who answered for it. */
export function knownAddresses(
  port: Port,
  leases: readonly NetworkLease[],
  neighbours: readonly Neighbour[],
): GuestInterfaceAddress[] {
  const given = leases.filter(({ mac }) => mac === port.mac)
  const heard = neighbours.filter(({ mac }) => mac === port.mac)
  const said: readonly (readonly [Source, readonly string[]])[] = [
    ['lease', given.map(({ address }) => address)],
    ['arp', heard.map(({ address }) => address)],
    ['reservation', port.addresses],
  ]
  return mergeSources(said).map(({ address, sources }) => {
    const lease = given.find((one) => canonical(one.address) === address)
    return {
      ...{ interface: port.link, mac: port.mac, address, family: familyOf(address) },
      ...(lease ? { prefix: lease.prefix } : {}),
      ...{ network: port.network, sources },
    }
  })
}

/** Of a card on no network of ours: who answered for it. */
export function heardAddresses(
  { mac, link }: GuestCard,
  neighbours: readonly Neighbour[],
): GuestInterfaceAddress[] {
  if (mac === undefined) return []
  const heard = neighbours.filter((one) => one.mac === mac)
  return mergeSources([['arp', heard.map(({ address }) => address)]]).map(({ address, sources }) => ({
    ...{ interface: link ?? heard[0]?.link ?? '', mac, address, family: familyOf(address), sources },
  }))
}

function mergeSources(said: readonly (readonly [Source, readonly string[]])[]) {
  const found = new Map<string, Source[]>()
  for (const [source, addresses] of said)
    for (const address of new Set(addresses.map(canonical)))
      found.set(address, [...(found.get(address) ?? []), source])
  return [...found].map(([address, sources]) => ({ address, sources }))
}

function canonical(address: string): string {
  const parsed = parseIp(address)
  return parsed ? formatIp(parsed) : address
}

const familyOf = (address: string) => parseIp(address)?.family ?? 'ipv4'
