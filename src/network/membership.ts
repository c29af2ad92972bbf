/** Guests on networks: who is let on, what is kept for whom, what each may send. */
import type { EventHub, GuestNetworks, Log, NetworkAccess, PortFilter, PortRequest } from '../driver/index.ts'
import { VisorError } from '../model/index.ts'
import type { CompleteNetwork } from './complete.ts'
import type { DefinedNetwork } from './defined.ts'
import { devicePool } from './device-pool.ts'
import { explainPath } from './explain/index.ts'
import type { KeptFilters } from './filters/open.ts'
import { heardAddresses } from './guest-addresses.ts'
import type { KeptAddresses } from './kept-addresses.ts'
import { isolatePort, limitPort, reflectPort } from './links.ts'
import { type LiveNetworks, notActive } from './live.ts'
import { readNeighbours } from './neighbours.ts'
import type { NetworkPlaces } from './places.ts'
import { addressesOfPorts } from './port-addresses.ts'
import type { Port, Ports } from './ports.ts'
import type { KeptPublications } from './publications.ts'

export interface MembershipContext {
  readonly places: NetworkPlaces
  readonly live: LiveNetworks
  readonly kept: KeptAddresses
  readonly ports: Ports
  readonly published: KeptPublications
  readonly filters: KeptFilters
  readonly hub: EventHub
  readonly log: Log
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
  /** Fails with `not-found`. */
  readonly find: (network: string) => Promise<DefinedNetwork>
  readonly start: (network: DefinedNetwork) => Promise<void>
}

export function membership(context: MembershipContext): GuestNetworks {
  const { places, live, kept, ports, published, filters, hub, log, alone, find, start } = context
  const pool = devicePool(ports.all)

  /** What an interface gets from its network and port group. */
  async function admit(request: PortRequest): Promise<NetworkAccess> {
    const found = await find(request.network)
    const { uuid, name } = found.definition
    if (!live.get(uuid)) {
      if (!found.autostart && name !== 'default') throw notActive(name)
      await alone(async () => live.get(uuid) ?? start(found))
    }
    const definition = live.get(uuid)?.definition ?? found.definition
    const group = groupOf(definition, request)
    refuseFilter(definition, request)
    refuseLimits(definition, group)
    return {
      network: name,
      ...(await alone(() => pool.choose(definition, request))),
      ...(definition.mtu === undefined ? {} : { mtu: definition.mtu }),
      join: (link) => alone(() => join(definition, request, link, group)),
    }
  }

  async function join(
    definition: CompleteNetwork,
    { domain, name, driver, mac, filter, filterParameters = [] }: PortRequest,
    link: string,
    group: ReturnType<typeof groupOf>,
  ): Promise<void> {
    refuseOddLink(link, mac)
    const addresses = await kept.of(definition, { name, mac })
    const isolated = group?.isolated ?? definition.isolated ?? false
    const port: Port = {
      ...{
        uuid: definition.uuid,
        network: definition.name,
        domain,
        name,
        driver,
        link,
        mac,
        addresses,
        isolated,
      },
      ...(group ? { portGroup: group.name } : {}),
      ...(filter === undefined ? {} : { filter }),
      filterParameters: [...filterParameters],
    }
    if (filter !== undefined) await filters.check(port, definition)
    await ports.put(port)
    const setUp = async () => {
      if (definition.bridge === undefined) return
      if (isolated) await isolatePort(link)
      await limitPort(link, group?.bandwidth?.inbound)
      await live.applyRules()
      if (published.has(domain)) await reflectPort(link)
    }
    pool.forget(domain, mac)
    try {
      await Promise.all([setUp(), live.tellService(definition.uuid)])
    } catch (error) {
      await ports.remove(link)
      throw error
    }
    hub.emit({ kind: 'network', type: 'changed', uuid: definition.uuid, name: definition.name })
  }

  async function leave(port: Port): Promise<void> {
    await ports.remove(port.link)
    const definition = live.get(port.uuid)?.definition
    if (!definition) return
    const change = definition.bridge === undefined ? undefined : live.applyRules()
    await change?.catch((error: unknown) =>
      log.warn(
        { network: port.network, link: port.link, error: String(error) },
        'Rules of a guest could not be removed.',
      ),
    )
    await live.tellService(port.uuid)
    hub.emit({ kind: 'network', type: 'changed', uuid: port.uuid, name: port.network })
  }

  return {
    admit,
    leave: (domain, mac) =>
      alone(async () => {
        pool.forget(domain, mac)
        for (const port of ports.all())
          if (port.domain === domain && (mac === undefined || port.mac === mac)) await leave(port)
      }).catch((error: unknown) =>
        log.warn({ domain, error: String(error) }, 'A guest could not leave its networks.'),
      ),
    setFilter: (domain, mac, { filter, filterParameters = [] }) =>
      alone(async () => {
        const before = ports.all().find((port) => port.domain === domain && port.mac === mac)
        const definition = before && live.get(before.uuid)?.definition
        if (!before || !definition) return
        refuseFilter(definition, { filter })
        const { filter: _, ...rest } = before
        const next: Port = {
          ...rest,
          ...(filter === undefined ? {} : { filter }),
          filterParameters: [...filterParameters],
        }
        if (filter !== undefined) await filters.check(next, definition)
        await ports.put(next)
        try {
          await live.applyRules()
        } catch (error) {
          await ports.put(before)
          throw error
        }
      }),
    explain: (request) => explainPath({ places, live, ports }, request),
    async addressesOf(domain, cards = []) {
      const own = ports.all().filter((port) => port.domain === domain)
      const neighbours = await readNeighbours()
      const found = await addressesOfPorts({ places, live }, own, neighbours)
      const others = cards.filter(({ mac }) => own.every((port) => port.mac !== mac))
      return [...found.flat(), ...others.flatMap((card) => heardAddresses(card, neighbours))]
    },
  }
}

/** Fails with `unsupported-config` for what rules would read otherwise than as a name. */
function refuseOddLink(link: string, mac: string): void {
  if (/^(?![.-])[\w.@+~-]{1,15}$/u.test(link) && /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/u.test(mac)) return
  throw new VisorError('unsupported-config', `A card on a network cannot have the link '${link}'.`, {
    remedy: 'Give its target a name of letters, digits and . _ - + @ ~, or none: one is found then.',
  })
}

/** Fails with `unsupported-config` for a filter where packets pass no bridge. */
function refuseFilter({ name, bridge }: CompleteNetwork, { filter }: PortFilter): void {
  if (filter === undefined || bridge !== undefined) return
  throw new VisorError('unsupported-config', `Filter '${filter}' cannot be in force on network '${name}'.`, {
    object: { kind: 'network', name },
    remedy: 'Packets of its guests pass no bridge of this host: choose a network that has one.',
  })
}

/** Fails with `unsupported-config` for what a bridge does, where there is none. */
function refuseLimits({ name, bridge, isolated }: CompleteNetwork, group: ReturnType<typeof groupOf>): void {
  if (bridge !== undefined) return
  const { average } = group?.bandwidth?.inbound ?? group?.bandwidth?.outbound ?? {}
  const asked = average !== undefined ? 'bandwidth' : (group?.isolated ?? isolated) ? 'isolated' : undefined
  if (asked === undefined) return
  throw new VisorError(
    'unsupported-config',
    `Network '${name}' gives its guests macvtap links, on which '${asked}' of ${group ? `the port group '${group.name}'` : 'the network'} would do nothing.`,
    {
      object: { kind: 'network', name },
      remedy: 'Leave it out, or choose a network with a bridge.',
    },
  )
}

/** The port group that an interface names, or the one of who names none. */
function groupOf({ name, portGroups }: CompleteNetwork, { portGroup }: PortRequest) {
  const found = portGroups.find((group) =>
    portGroup === undefined ? group.default : group.name === portGroup,
  )
  if (portGroup !== undefined && !found)
    throw new VisorError('unsupported-config', `Network '${name}' has no port group '${portGroup}'.`, {
      object: { kind: 'network', name },
      remedy: `It has: ${portGroups.map((group) => group.name).join(', ') || 'none'}.`,
    })
  return found
}
