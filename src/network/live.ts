/**
 * Networks that are there. What each is made of is on record before it is made, so that a later daemon finds all
 * of it, and either goes on with it or removes it:
 *
 *   off --record--> starting --links, rules, service, record--> running
 *    ^                 |                                           |
 *    '---- undone, by this daemon or the next ----'---- stopped ---'
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import {
  adoptGuests,
  type GuestProcess,
  limitLink,
  readJsonFile,
  type Undo,
  unlessMissing,
  withUndo,
  writeFileAtomic,
} from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import { appliedRules } from './applied-rules.ts'
import { type CompleteNetwork, hasOwnBridge, refuseConflicts } from './complete.ts'
import { formatConfig, wantsService } from './dnsmasq-config.ts'
import type { FilterRules } from './filters/open.ts'
import { isOfLan, listenOn } from './heard.ts'
import { type KeptService, keepService } from './kept-service.ts'
import {
  allowForwarding,
  allowLoopback,
  checkHostLinks,
  linkLimit,
  linksOf,
  makeLinks,
  removeLinks,
} from './links.ts'
import { otherFirewalls } from './other-firewalls/index.ts'
import type { Ports } from './ports.ts'
import type { PublishedPort } from './publications.ts'
import { guardedPort } from './rule-elements.ts'
import { endService, type ServiceContext } from './service.ts'
import { takenSubnets } from './subnets.ts'

interface Running {
  definition: CompleteNetwork
  readonly service: KeptService
}

export interface LiveNetworks {
  get(
    uuid: string,
  ): { readonly definition: CompleteNetwork; readonly message?: string | undefined } | undefined
  all(): readonly CompleteNetwork[]
  /** Fails as its parts do; nothing of it is left then. */
  start(definition: CompleteNetwork): Promise<void>
  stop(uuid: string): Promise<void>
  /** Makes it what this definition says, of the same links. On failure it is as before. */
  update(definition: CompleteNetwork): Promise<void>
  /** Sets rules to what is there now. */
  applyRules(): Promise<void>
  /** Sets rules again that somebody else took away. */
  keepRules(): Promise<void>
  /** Who is on it has changed. */
  tellService(uuid: string): Promise<void>
  /** Finds those that a daemon before started. */
  adopt(): Promise<void>
  close(): Promise<void>
}

export function liveNetworks(
  context: ServiceContext,
  ports: Ports,
  published: () => readonly PublishedPort[],
  filters: () => Promise<FilterRules>,
): LiveNetworks {
  const { places, log } = context
  const networks = new Map<string, Running>()
  const rules = appliedRules(places.table)
  const firewalls = otherFirewalls(places.table, log)

  const portsOf = (uuid: string) => ports.of(uuid)

  async function applyRules(): Promise<void> {
    const ruled = [...networks.values()].map(({ definition }) => ({
      definition,
      ports: portsOf(definition.uuid).map((port) => guardedPort(definition, port)),
    }))
    await rules.become(ruled, published(), await filters())
    await firewalls.become(ruled.map(({ definition }) => definition))
    await listen()
  }

  /** To guests whose addresses the LAN gives; what a daemon before listened to is not known. */
  let listened: string | undefined
  async function listen(): Promise<void> {
    const lan = [...networks.values()].filter(({ definition }) => isOfLan(definition))
    const links = lan.flatMap(({ definition }) => portsOf(definition.uuid).map(({ link }) => link))
    const isNews = listened === undefined ? lan.length > 0 : links.join() !== listened
    if (!isNews) return
    await listenOn(places.table, links)
    listened = links.join()
  }

  async function make(definition: CompleteNetwork, undo: Undo): Promise<void> {
    const { uuid } = definition
    const own = places.of(uuid)
    const running: Running = { definition, service: keepService(context, portsOf) }
    await mkdir(own.folder, { recursive: true, mode: 0o755 })
    undo.push(() => rm(own.folder, { recursive: true, force: true }))
    const record = (phase: string) =>
      writeFileAtomic(own.record, JSON.stringify({ phase, definition }), { durable: false })
    await record('starting')
    networks.set(uuid, running)
    undo.push(async () => {
      networks.delete(uuid)
      await applyRules()
    })
    // Rules are of names of links, also of such that are still to come; guests come when all is there.
    await together([hasOwnBridge(definition) ? makeHost(running, undo) : undefined, applyRules()])
    if (hasOwnBridge(definition)) await allowLoopback(definition)
    await record('running')
  }

  /** Links, and what answers on them. */
  async function makeHost(running: Running, undo: Undo): Promise<void> {
    const { definition } = running
    const links = await makeLinks(definition)
    undo.push(() => removeLinks(links))
    await allowForwarding(definition)
    await limitBridge(definition)
    undo.push(running.service.stop)
    await running.service.start(definition)
  }

  async function change(running: Running, definition: CompleteNetwork): Promise<void> {
    const { uuid } = definition
    await writeFileAtomic(places.of(uuid).record, JSON.stringify({ phase: 'running', definition }), {
      durable: false,
    })
    const isNews = serviceConfig(running.definition) !== serviceConfig(definition)
    running.definition = definition
    await applyRules()
    // It reads its settings only when it starts; leases stay, and guests ask again.
    await (isNews ? running.service.start(definition) : running.service.tell(definition))
  }

  /** What is on its command line, so to say, without who is known by name. */
  const serviceConfig = (definition: CompleteNetwork) =>
    wantsService(definition)
      ? formatConfig(definition, places.of(definition.uuid), { link: linksOf(definition).serves, user: '' })
      : ''

  async function takeDown({ definition, service }: Running): Promise<void> {
    await service.stop()
    networks.delete(definition.uuid)
    await applyRules()
    if (hasOwnBridge(definition)) await removeLinks(linksOf(definition))
    await rm(places.of(definition.uuid).folder, { recursive: true, force: true })
  }

  return {
    get(uuid) {
      const found = networks.get(uuid)
      return found && { definition: found.definition, message: found.service.message }
    },
    all: () => [...networks.values()].map(({ definition }) => definition),
    applyRules,
    async keepRules() {
      if (networks.size === 0) return
      if (await rules.areThere()) return firewalls.keep()
      log.warn(
        { table: places.table },
        'The rules of the networks were taken away by another program, such as `nft flush ruleset`; they are set again.',
      )
      await applyRules()
    },
    async start(definition) {
      checkHostLinks(definition)
      await mkdir(places.leases, { recursive: true, mode: 0o755 })
      if (definition.addresses.length > 0 && hasOwnBridge(definition))
        refuseConflicts(definition, await takenSubnets())
      await withUndo(
        (undo) => make(definition, undo),
        (error) =>
          log.warn(
            { network: definition.name, error: String(error) },
            'A start could not be undone in full.',
          ),
      )
    },
    async stop(uuid) {
      const running = networks.get(uuid)
      if (running) await takeDown(running)
    },
    async update(definition) {
      const running = networks.get(definition.uuid)
      if (!running) return
      const before = running.definition
      try {
        await change(running, definition)
      } catch (error) {
        await change(running, before)
        throw error
      }
    },
    async tellService(uuid) {
      const running = networks.get(uuid)
      await running?.service.tell(running.definition)
    },
    async adopt() {
      const services = new Map<string, GuestProcess>()
      for (const service of await adoptGuests(places.services, context.owner))
        services.set(uuidOf(service), service)
      const found: { readonly running: Running; readonly sound: boolean }[] = []
      for (const uuid of (await unlessMissing(readdir(places.live))) ?? []) {
        const { phase, definition } = readRecord(await readJsonFile(places.of(uuid).record))
        if (!definition) {
          await rm(places.of(uuid).folder, { recursive: true, force: true })
          continue
        }
        const { bridge } = linksOf(definition)
        const sound =
          phase === 'running' && (!hasOwnBridge(definition) || existsSync(`/sys/class/net/${bridge}`))
        const running: Running = { definition, service: keepService(context, portsOf) }
        const service = services.get(uuid)
        services.delete(uuid)
        if (service) running.service.adopt(definition, service)
        if (sound) networks.set(uuid, running)
        found.push({ running, sound })
      }
      if (found.length > 0) await applyRules()
      for (const { running, sound } of found) {
        const { definition, service } = running
        if (!sound) {
          log.warn({ network: definition.name }, 'A network was found half made, and is removed.')
          await takeDown(running)
          continue
        }
        // Of guests that have ended meanwhile; one that has ended itself is started.
        if (service.isThere) await service.tell(definition)
        else if (hasOwnBridge(definition))
          await service.start(definition).catch((error: unknown) => {
            log.error(
              { network: definition.name, error: String(error) },
              'DHCP and DNS could not be started again.',
            )
          })
      }
      for (const service of services.values()) await endService(service)
    },
    async close() {
      await Promise.all([...networks.values()].map(({ service }) => service.forget()))
    },
  }
}

/** Waits for all of them, also when one fails: what undoes it needs the others at rest. */
async function together(works: readonly (Promise<void> | undefined)[]): Promise<void> {
  const ends = await Promise.allSettled(works)
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/** What guests of the network get from the host and through it waits for its turn; the limit goes with the bridge. */
async function limitBridge({ bridge, bandwidth }: CompleteNetwork): Promise<void> {
  const inbound = linkLimit(bandwidth?.inbound)
  if (bridge !== undefined && inbound) await limitLink(bridge, { inbound })
}

function uuidOf({ details }: GuestProcess): string {
  const { uuid } = (details ?? {}) as { readonly uuid?: unknown }
  return typeof uuid === 'string' ? uuid : ''
}

function readRecord(value: unknown): { readonly phase?: string; readonly definition?: CompleteNetwork } {
  const { phase, definition } = (value ?? {}) as { phase?: unknown; definition?: { uuid?: unknown } }
  const isSound = typeof phase === 'string' && typeof definition?.uuid === 'string'
  return isSound ? { phase, definition: definition as unknown as CompleteNetwork } : {}
}

/** The error for a network that is needed and not there. */
export function notActive(name: string): VisorError {
  return new VisorError('invalid-state', `Network '${name}' is not active.`, {
    object: { kind: 'network', name },
    remedy: `Start it: 'visor network start ${name}'.`,
  })
}
