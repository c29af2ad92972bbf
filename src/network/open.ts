/** The networks of this host: what is defined, what is there, and who is on it. */
import { mkdir, rm } from 'node:fs/promises'
import { eventHub, type HostNetworks, type Log, type Networks, type Store } from '../driver/index.ts'
import {
  changeNetwork,
  checkHonoured,
  checkNetworkDefinition,
  formatSubnet,
  type Network,
  type NetworkChange,
  type NetworkDefinition,
  networkMode,
  notFound,
  parse,
  NetworkDefinition as Schema,
  subnetOfAddress,
  VisorError,
} from '../model/index.ts'
import { type CompleteNetwork, completeNetwork, defaultNetwork, offerSubnet } from './complete.ts'
import { type DefinedNetwork, openDefinedNetworks } from './defined.ts'
import { openGroups } from './filters/groups.ts'
import { openFilters } from './filters/open.ts'
import { honouredNetwork } from './honoured.ts'
import { hostBridges } from './host-bridge/open.ts'
import { openKeptAddresses } from './kept-addresses.ts'
import { watchLeases } from './lease-events.ts'
import { readLeases } from './leases.ts'
import { linkNames } from './links.ts'
import { liveNetworks, notActive } from './live.ts'
import { membership } from './membership.ts'
import { domainOf } from './names/host-name.ts'
import { type NameAddress, openNames } from './names/index.ts'
import { resolveName } from './names/resolve.ts'
import { readNeighbours } from './neighbours.ts'
import { networkPlaces } from './places.ts'
import { addressesOfPorts } from './port-addresses.ts'
import { openPorts, type Port } from './ports.ts'
import { openPublications } from './publications.ts'
import { takenSubnets } from './subnets.ts'

export interface NetworksOptions {
  readonly stateDirectory: string
  readonly runtimeDirectory: string
  readonly store: Store
  readonly log: Log
  /** Where names of guests are answered to programs of this host; nowhere without it. */
  readonly names?: NameAddress | undefined
}

/** How often it is looked whether our rules are still there. */
const keepRulesMs = 5_000

/**
 * Opens them: finds what a daemon before started, and settles what it left half done. Undefined where this process
 * may not make any: networks need root.
 */
export async function openNetworks(options: NetworksOptions): Promise<HostNetworks | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const { stateDirectory, runtimeDirectory, store, log } = options
  const places = networkPlaces(stateDirectory, runtimeDirectory)
  const hub = eventHub()
  const defined = await openDefinedNetworks(store)
  const kept = await openKeptAddresses(store)
  const ports = await openPorts(places.ports)
  const live = liveNetworks(
    { places, owner: stateDirectory, log },
    ports,
    () => published.inForce(),
    () => filters.rules(),
  )

  let queue: Promise<unknown> = Promise.resolve()
  /** Changes of what there is happen one after another: they share links, rules and addresses. */
  function alone<T>(work: () => Promise<T>): Promise<T> {
    const done = queue.then(work, work)
    queue = done.catch(() => {})
    return done
  }

  const published = await openPublications({
    ...{ store, alone },
    ports: ports.all,
    refuses: ({ uuid, network }) => {
      const mode = networkMode(live.get(uuid)?.definition ?? {})
      return ['nat', 'route', 'open'].includes(mode)
        ? undefined
        : `Network '${network}' of mode '${mode}' has no way in from this host.`
    },
    apply: live.applyRules,
  })
  const groups = await openGroups({ store, alone, apply: live.applyRules })
  const filters = await openFilters({
    ...{ store, hub, table: places.table, groups, alone },
    ports: () =>
      ports.all().flatMap((port) => {
        const network = live.get(port.uuid)?.definition
        return network?.bridge === undefined ? [] : [[port, network] as const]
      }),
    apply: live.applyRules,
  })
  const bridges = hostBridges({
    ...{ folder: places.hostBridges, log, alone },
    usersOf: (bridge) => live.all().flatMap((network) => (network.bridge === bridge ? [network.name] : [])),
  })
  await bridges.adopt()
  await live.adopt()
  await mkdir(places.leases, { recursive: true, mode: 0o755 })
  const leaseWatch = await watchLeases(
    { places, hub, log, find: (uuid) => live.get(uuid)?.definition, portsOf: ports.of },
    live.all(),
  )

  const names = await openNames({
    listenAt: options.names,
    log,
    networks: live.all,
    ports: ports.of,
    listen: async (silent) => {
      const neighbours = await readNeighbours()
      const found = await addressesOfPorts({ places, live }, silent, neighbours)
      return found.map((one) => one.map(({ address }) => address))
    },
  })

  // What starts with the host, or an administrator, may flush all rules there are, and ours with them.
  const keeping = setInterval(
    () =>
      void alone(live.keepRules).catch((error: unknown) =>
        log.error({ error: String(error) }, 'Rules of networks could not be looked at.'),
      ),
    keepRulesMs,
  ).unref()

  let defaultMade: Promise<void> | undefined
  /** The network `default` is there without being made, until somebody removes it. */
  function makeDefault(): Promise<void> {
    if (defined.knowsDefault) return Promise.resolve()
    defaultMade ??= alone(async () => {
      const definition = defaultNetwork(await takenSubnets())
      if (definition) await defined.put({ definition: await complete(definition), autostart: false })
    }).catch((error: unknown) => {
      defaultMade = undefined
      log.warn({ error: String(error) }, "The network 'default' could not be made.")
    })
    return defaultMade
  }

  async function complete(definition: NetworkDefinition): Promise<CompleteNetwork> {
    const names = await linkNames()
    for (const { definition: other } of defined.all()) if (other.bridge) names.add(other.bridge)
    return completeNetwork(definition, names)
  }

  async function find(network: string): Promise<DefinedNetwork> {
    await makeDefault()
    const found = defined.find(network)
    if (!found) throw notFound('network', network)
    return found
  }

  function tell(type: string, { uuid, name }: CompleteNetwork): void {
    hub.emit({ kind: 'network', type, uuid, name })
    names.tell()
  }

  function describe({ definition, autostart }: DefinedNetwork): Network {
    const there = live.get(definition.uuid)
    const now = there?.definition ?? definition
    return {
      uuid: definition.uuid,
      name: definition.name,
      ...(definition.title === undefined ? {} : { title: definition.title }),
      mode: networkMode(now),
      active: there !== undefined,
      autostart,
      ...(now.bridge === undefined ? {} : { bridge: now.bridge }),
      subnets: now.addresses.flatMap((one) => {
        const subnet = subnetOfAddress(one)
        return subnet ? [formatSubnet(subnet)] : []
      }),
      ...(now.addresses.length > 0 ? { domain: domainOf(now) } : {}),
      guests: ports.of(definition.uuid).length,
      ...(there?.message === undefined ? {} : { message: there.message }),
    }
  }

  async function start({ definition }: DefinedNetwork): Promise<void> {
    await live.start(definition)
    tell('started', definition)
  }

  /** Guests get the address that is kept for them now when they ask next; until then they have the one before. */
  async function readdress(definition: CompleteNetwork): Promise<void> {
    let isNews = false
    for (const port of ports.of(definition.uuid)) {
      const reserved = definition.addresses.flatMap(({ dhcp }) => dhcp?.hosts ?? [])
      if (!reserved.some(({ mac, name }) => mac === port.mac || (mac === undefined && name === port.name)))
        continue
      const wanted = await kept.of(definition, port)
      if (wanted.every((address) => port.addresses.includes(address))) continue
      await ports.put({ ...port, addresses: [...new Set([...wanted, ...port.addresses])] })
      isNews = true
    }
    if (!isNews) return
    await live.applyRules()
    await live.tellService(definition.uuid)
  }

  const networks: Networks = {
    async list() {
      await makeDefault()
      return defined.all().map(describe)
    },
    get: async (network) => describe(await find(network)),
    async describe(network, { inactive = false } = {}) {
      const { definition } = await find(network)
      const there = inactive ? undefined : live.get(definition.uuid)
      return structuredClone(there?.definition ?? definition)
    },
    async define(given) {
      await makeDefault()
      return alone(async () => {
        // Checked and completed with its defaults by who calls.
        const definition = given as NetworkDefinition
        checkHonoured(Schema, definition, honouredNetwork, 'networks of this host')
        const before = defined.find(definition.uuid ?? definition.name)
        refuseTaken(definition, defined.all(), before?.definition.uuid)
        const merged = before
          ? {
              bridge: before.definition.bridge,
              mac: before.definition.mac,
              ...definition,
              uuid: before.definition.uuid,
            }
          : definition
        const whole = await complete(merged as NetworkDefinition)
        const network = { definition: whole, autostart: before?.autostart ?? false }
        await defined.put(network)
        tell('defined', whole)
        return describe(network)
      })
    },
    async undefine(network) {
      const { definition } = await find(network)
      await alone(async () => {
        if (live.get(definition.uuid))
          throw new VisorError('invalid-state', `Network '${definition.name}' is active.`, {
            object: { kind: 'network', name: definition.name },
            remedy: `Stop it first: 'visor network stop ${definition.name}'.`,
          })
        await defined.remove(definition.uuid)
        await kept.forget(definition.uuid)
        await rm(places.of(definition.uuid).leases, { force: true })
        tell('undefined', definition)
      })
    },
    async start(network) {
      const found = await find(network)
      await alone(async () => {
        if (live.get(found.definition.uuid))
          throw new VisorError('invalid-state', `Network '${found.definition.name}' is active already.`, {
            object: { kind: 'network', name: found.definition.name },
          })
        await start(found)
      })
    },
    async destroy(network, { force = false } = {}) {
      const { definition } = await find(network)
      await alone(async () => {
        if (!live.get(definition.uuid)) throw notActive(definition.name)
        const guests = ports.of(definition.uuid)
        if (guests.length > 0 && !force)
          throw new VisorError(
            'invalid-state',
            `Guests are on network '${definition.name}': ${[...new Set(guests.map(({ name }) => name))].slice(0, 5).join(', ')}.`,
            {
              object: { kind: 'network', name: definition.name },
              remedy: 'Stop them first, or force it: they are cut off then.',
            },
          )
        for (const { link } of guests) await ports.remove(link)
        await live.stop(definition.uuid)
        tell('stopped', definition)
      })
    },
    async update(network, { live: isLive, config, ...change }) {
      const found = await find(network)
      const { uuid } = found.definition
      await alone(async () => {
        const there = live.get(uuid)?.definition
        if (isLive && !there) throw notActive(found.definition.name)
        const affectsLive = isLive ?? (config ? false : there !== undefined)
        const affectsConfig = config ?? !affectsLive
        // Both are looked at before either is changed.
        const next = affectsConfig ? changed(found.definition, change) : undefined
        const now = affectsLive && there ? changed(there, change) : undefined
        if (now) {
          refuseKept(now, ports.of(uuid))
          await live.update(now)
          await readdress(now)
        }
        if (next) await defined.put({ definition: next, autostart: found.autostart })
        tell('changed', found.definition)
      })
    },
    async setAutostart(network, { enabled }) {
      const { definition } = await find(network)
      await alone(() => defined.put({ definition, autostart: enabled }))
    },
    async leases(network) {
      const { definition } = await find(network)
      const there = live.get(definition.uuid)?.definition ?? definition
      return readLeases(places.of(definition.uuid).leases, there, ports.of(definition.uuid))
    },
    async findSubnet() {
      const own = defined.all().flatMap(({ definition }) =>
        definition.addresses.flatMap((one) => {
          const subnet = subnetOfAddress(one)
          return subnet ? [{ subnet, link: definition.bridge ?? '' }] : []
        }),
      )
      const found = offerSubnet([...(await takenSubnets()), ...own])
      if (!found) throw new VisorError('unavailable', 'No subnet is free for another network on this host.')
      return found
    },
    async ports(network) {
      const { definition } = await find(network)
      return ports.of(definition.uuid).map(({ uuid: _, isolated: __, ...port }) => port)
    },
    resolve: ({ name }) =>
      resolveName(name, names.names, () =>
        defined.all().map(({ definition }) => ({
          definition,
          active: live.get(definition.uuid) !== undefined,
          kept: kept.all(definition),
        })),
      ),
  }

  return {
    names: names.service,
    networks,
    nwfilters: filters.operations,
    hostBridges: bridges.operations,
    groups: groups.operations,
    publications: published.operations,
    guests: membership({ places, live, kept, ports, published, filters, hub, log, alone, find, start }),
    events: (eventOptions) => hub.listen(eventOptions),
    async autostart() {
      for (const network of defined.all())
        if (network.autostart && !live.get(network.definition.uuid))
          await alone(() => start(network)).catch((error: unknown) =>
            log.error(
              { network: network.definition.name, error: String(error) },
              'A network could not be started with the host.',
            ),
          )
    },
    async close() {
      clearInterval(keeping)
      await queue
      leaseWatch.close()
      await names.close()
      bridges.close()
      await live.close()
      hub.close()
    },
  }
}

/** The definition with a change, as a whole checked as a new one is. */
function changed(definition: CompleteNetwork, change: NetworkChange): CompleteNetwork {
  const next = parse(Schema, changeNetwork(definition, change))
  checkNetworkDefinition(next)
  checkHonoured(Schema, next, honouredNetwork, 'networks of this host')
  return { ...next, uuid: definition.uuid }
}

/** Fails with `invalid-state` when an address shall be somebody's that a guest has now. */
function refuseKept({ addresses, name }: CompleteNetwork, guests: readonly Port[]): void {
  for (const { address, mac, name: owner } of addresses.flatMap(({ dhcp }) => dhcp?.hosts ?? [])) {
    const other = guests.find((port) => address !== undefined && port.addresses.includes(address))
    if (!other || other.mac === mac || (mac === undefined && other.name === owner)) continue
    throw new VisorError('invalid-state', `The guest '${other.name}' has the address ${address} now.`, {
      object: { kind: 'network', name },
      remedy: 'Choose another address, or stop that guest first.',
    })
  }
}

/** Fails with `already-exists` when another network has the bridge of this one. */
function refuseTaken(
  { bridge, forward, name }: NetworkDefinition,
  others: readonly DefinedNetwork[],
  own: string | undefined,
): void {
  if (bridge === undefined || forward?.mode === 'bridge') return
  const twin = others.find(({ definition }) => definition.uuid !== own && definition.bridge === bridge)
  if (twin)
    throw new VisorError(
      'already-exists',
      `Network '${twin.definition.name}' has the bridge '${bridge}' already.`,
      {
        object: { kind: 'network', name },
        remedy: 'Choose another name for the bridge, or none: one is found then.',
      },
    )
}
