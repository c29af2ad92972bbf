/** What is told to people who ask for a name, or for who has an address. */
import { type GuestName, parseIp, suggest, VisorError } from '../../model/index.ts'
import type { CompleteNetwork } from '../complete.ts'
import type { GuestNames, NamedHost } from './guest-names.ts'
import { domainOf, hostName } from './host-name.ts'

/** A network that is known, and who had an address on it once, by name. */
export interface KnownNetwork {
  readonly definition: CompleteNetwork
  readonly active: boolean
  readonly kept: ReadonlyMap<string, readonly string[]>
}

/**
 * All that have the name or the address. Fails with `not-found`, naming what is near; with `invalid-state` when no
 * address is known of who has it.
 */
export async function resolveName(
  asked: string,
  names: GuestNames,
  networks: () => readonly KnownNetwork[],
): Promise<GuestName[]> {
  const address = parseIp(asked)
  if (address) {
    const found = await names.withAddress(address)
    if (found.length > 0) return mergeCards(found)
    throw nobody(
      `Nobody on a network of this host has the address ${asked}.`,
      asked,
      "'visor network list' shows their subnets, 'visor network show NETWORK' who is on one.",
    )
  }
  const name = asked.toLowerCase().replace(/\.$/u, '')
  const known = names.all()
  const wanted = name.includes('.') ? [name] : known.filter((one) => one.split('.', 1)[0] === name)
  const found = mergeCards((await Promise.all(wanted.map((one) => names.withName(one)))).flat())
  const [first] = found
  if (!first) throw refuseUnknown(asked, name, names, networks())
  if (found.some(({ addresses }) => addresses.length > 0)) return found
  throw new VisorError('invalid-state', `No address of '${first.name}' is known yet.`, {
    object: { kind: 'network', name: first.network },
    remedy: `Wait until the guest has taken one: 'visor wait ${first.guest ?? first.name} --for ip'.`,
  })
}

/** A guest may have several cards on a network. */
function mergeCards(hosts: readonly NamedHost[]): GuestName[] {
  const merged = new Map<string, NamedHost>()
  for (const host of hosts) {
    const key = `${host.name} ${host.network}`
    const addresses = [...new Set([...(merged.get(key)?.addresses ?? []), ...host.addresses])]
    merged.set(key, { ...host, addresses })
  }
  return [...merged.values()].map(({ name, network, guest, addresses }) => ({
    ...{ name, network },
    ...(guest === undefined ? {} : { guest }),
    addresses: [...addresses],
  }))
}

/** Why nobody has the name: who had it is off, it is meant otherwise, or it is of no network here. */
function refuseUnknown(
  asked: string,
  name: string,
  names: GuestNames,
  networks: readonly KnownNetwork[],
): VisorError {
  for (const { definition, active, kept } of networks) {
    const domain = domainOf(definition).toLowerCase()
    for (const guest of kept.keys()) {
      const label = hostName(guest)
      if (label === undefined || (name !== label && name !== `${label}.${domain}`)) continue
      const [problem, remedy] = active
        ? [
            `The guest '${guest}' is not on network '${definition.name}' now.`,
            `'visor start ${guest}' if it is off.`,
          ]
        : [
            `Network '${definition.name}' is not active.`,
            `Start it: 'visor network start ${definition.name}'.`,
          ]
      return nobody(`Nobody has the name '${asked}': ${lowerFirst(problem)}`, asked, remedy)
    }
  }
  const known = names.all()
  const near = name.includes('.')
    ? suggest(name, known)
    : suggest(name, [...new Set(known.map((one) => one.split('.', 1)[0] ?? ''))])
  const domains = names.domains()
  const remedy = near
    ? `Did you mean '${near}'?`
    : domains.length > 0
      ? `Names are GUEST.DOMAIN, with the domains ${domains.slice(0, 5).join(', ')}; 'visor network show NETWORK' lists who is there.`
      : "No network is active: 'visor network list'."
  return nobody(`Nobody on a network of this host has the name '${asked}'.`, asked, remedy)
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1)

const nobody = (message: string, name: string, remedy: string) =>
  new VisorError('not-found', message, { object: { kind: 'name', name }, remedy })
