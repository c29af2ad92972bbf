/** The domains of an open driver: what is defined, what runs, and how what ran ended. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DefinedDomains, EventHub } from '../../driver/index.ts'
import { adoptGuests, type GuestProcess, listDirectory } from '../../host/index.ts'
import {
  type Domain,
  type DomainState,
  type DomainStateReason,
  notFound,
  VisorError,
} from '../../model/index.ts'
import type { Context } from './context.ts'
import type { CompleteDefinition } from './definition/definition.ts'
import { adoptShares, lostShares } from './devices/shares/serve.ts'
import { adoptTpms } from './devices/tpm.ts'
import { removeStaleOverlays } from './disks/transient.ts'
import { giveUpSending, resumeAfterSending } from './machine/give-up-sending.ts'
import {
  connectMonitor,
  type GuestDetails,
  type Machine,
  type MachineEnd,
  openMachine,
} from './machine/machine.ts'
import { fromStatus, type StateEvent } from './machine/machine-state.ts'
import { identifySavedState } from './machine/saved-state.ts'
import { adoptDirect } from './network/direct.ts'
import { adoptPassts } from './network/passt.ts'
import { isRecord, type QmpClient } from './qmp/index.ts'
import { settleCapture } from './templates/capture.ts'

export interface Registry {
  readonly defined: DefinedDomains
  machine(uuid: string): Machine | undefined
  machines(): Iterable<[string, Machine]>
  /** The machine; fails with `not-found`, or `invalid-state` when it does not run. */
  running(uuid: string, states?: readonly DomainState[]): Machine
  /** Fails with `not-found`. */
  definition(uuid: string): CompleteDefinition
  domain(uuid: string): Domain
  isSaved(uuid: string): boolean
  setSaved(uuid: string, saved: boolean): void
  /** Told each machine that is admitted or adopted, before anything happens to it. */
  readonly watchers: Set<(machine: Machine) => void>
  nextId(): number
  /** Domains that are clones, with the template they depend on. */
  readonly clones: Map<string, string>
  /** Copies of templates that were found waiting in a pool; whoever takes them sees to them. */
  takeSpares(): Machine[]
  /** Machines that were found on their way from another host; whoever takes them sees to them. */
  takeArrivals(): Machine[]
  /** Machines that ended while no visord ran, or by {@link adopt}; whoever takes them tells of it. */
  takeGone(): GoneMachine[]
  /** Keeps the place of a machine that arrives: nothing else is started in it. */
  hold(uuid: string, machine: Machine): void
  /** Takes in a machine that was started, and tells. */
  admit(uuid: string, machine: Machine, event: StateEvent): void
  /** What goes on the record when a start failed. */
  noteFailure(uuid: string, error: unknown): void
  forget(uuid: string): void
  /** `name` for a domain that is no longer there. */
  tell(uuid: string, event: StateEvent, name?: string): void
  tellFrom(uuid: string): (event: StateEvent, machine: Machine) => void
  /** Finds the guests that run, and settles what was half done. */
  adopt(): Promise<void>
  close(): Promise<void>
}

export interface GoneMachine {
  readonly definition: CompleteDefinition
  readonly reason: DomainStateReason
  /** Nobody was told yet that it had started. */
  readonly halfStarted: boolean
}

export function openRegistry(context: Context, defined: DefinedDomains, hub: EventHub): Registry {
  const machines = new Map<string, Machine>()
  const ends = new Map<string, MachineEnd>()
  const saved = new Set<string>()
  const watchers = new Set<(machine: Machine) => void>()
  const clones = new Map<string, string>()
  const spares: Machine[] = []
  const arrivals: Machine[] = []
  const gone: GoneMachine[] = []
  const { paths, log } = context
  let lastId = 0
  let closed = false

  function definition(uuid: string): CompleteDefinition {
    return defined.get(uuid).definition as CompleteDefinition
  }

  function tell(uuid: string, { type, reason, message }: StateEvent, name?: string): void {
    if (closed) return
    hub.emit({
      kind: 'domain',
      type,
      uuid,
      name: name ?? (machines.get(uuid)?.details ?? defined.find(uuid))?.definition.name ?? uuid,
      driver: 'qemu',
      ...(reason ? { reason } : {}),
      ...(message ? { message } : {}),
    })
  }

  function tellFrom(uuid: string) {
    // What QEMU says before the start has been told comes with the start.
    return (event: StateEvent, machine: Machine) => {
      if (machines.get(uuid) === machine) tell(uuid, event)
    }
  }

  function watch(uuid: string, machine: Machine): void {
    machines.set(uuid, machine)
    for (const watcher of watchers) watcher(machine)
    void machine.ended.then((end) => {
      if (machines.get(uuid) !== machine || closed) return
      const { name } = machine.details.definition
      ends.set(uuid, end)
      if (end.message) log.warn({ domain: name, reason: end.reason }, end.message)
      tell(uuid, { type: 'stopped', reason: end.reason, ...(end.message ? { message: end.message } : {}) })
      machines.delete(uuid)
    })
  }

  const registry: Registry = {
    defined,
    definition,
    tell,
    tellFrom,
    machine: (uuid) => machines.get(uuid),
    machines: () => [...machines].filter(([, { details }]) => !details.arriving),
    running(uuid, states = ['running', 'paused', 'pmsuspended', 'shutdown', 'crashed']) {
      const { name } = definition(uuid)
      const machine = machines.get(uuid)
      const state = machine?.state.state ?? 'shutoff'
      if (machine) refuseMigrating(machine, states)
      if (machine && states.includes(state)) return machine
      throw new VisorError(
        'invalid-state',
        `Domain '${name}' is ${state}, not ${states.slice(0, 2).join(' or ')}.`,
        {
          object: { kind: 'domain', name },
          remedy: machine
            ? 'See its state, and resume or destroy it first.'
            : `Start it: 'visor start ${name}'.`,
        },
      )
    },
    domain(uuid) {
      const entry = defined.find(uuid)
      if (!entry) throw notFound('domain', uuid)
      return describeDomain(entry.definition as CompleteDefinition, {
        autostart: entry.autostart,
        protectedFrom: entry.protectedFrom ?? [],
        saved: saved.has(uuid),
        machine: machines.get(uuid),
        end: ends.get(uuid),
      })
    },
    isSaved: (uuid) => saved.has(uuid),
    setSaved(uuid, isSaved) {
      if (isSaved) saved.add(uuid)
      else saved.delete(uuid)
    },
    watchers,
    nextId: () => ++lastId,
    clones,
    takeSpares: () => spares.splice(0),
    takeArrivals: () => arrivals.splice(0),
    takeGone: () => gone.splice(0),
    hold(uuid, machine) {
      machines.set(uuid, machine)
      void machine.ended.then(() => {
        if (machines.get(uuid) === machine && machine.details.arriving) machines.delete(uuid)
      })
    },
    admit(uuid, machine, event) {
      ends.delete(uuid)
      watch(uuid, machine)
      tell(uuid, event)
    },
    noteFailure(uuid, error) {
      const message = error instanceof Error ? error.message : String(error)
      ends.set(uuid, { reason: 'failed', message })
    },
    forget(uuid) {
      ends.delete(uuid)
      saved.delete(uuid)
      clones.delete(uuid)
    },
    async adopt() {
      await Promise.all(
        // Guests pass through the one to their own folders, and have nothing to do with the other.
        [
          mkdir(paths.guests, { recursive: true, mode: 0o711 }),
          mkdir(paths.saved, { recursive: true, mode: 0o700 }),
        ],
      )
      const guests = await adoptGuests(paths.guests, context.owner, ({ phase, details }) =>
        noteGone(parseDetails(details), phase === 'running' ? 'unknown' : 'failed'),
      )
      await removeStaleOverlays(
        paths.transient,
        new Set(guests.flatMap(({ details }) => parseDetails(details)?.definition.uuid ?? [])),
      )
      for (const name of await listDirectory(paths.saved)) {
        const uuid = /^(.{36})\.visor-state$/u.exec(name)?.[1]
        if (uuid && defined.find(uuid)) saved.add(uuid)
        else await rm(join(paths.saved, name), { force: true })
      }
      // Of domains whose undefinition was cut short.
      const running = new Set(guests.map(({ details }) => parseDetails(details)?.definition.uuid))
      for (const uuid of await listDirectory(paths.consoles))
        if (!defined.find(uuid) && !running.has(uuid))
          await rm(join(paths.consoles, uuid), { recursive: true, force: true })
      await Promise.all(
        guests.map((guest) =>
          adoptOne(guest).catch((error: unknown) => {
            log.error(
              { pid: guest.identity.pid, error: String(error) },
              'A running guest could not be taken over.',
            )
          }),
        ),
      )
      await adoptTpms(context, (uuid) => machines.get(uuid))
      await adoptPassts(context, (uuid) => machines.get(uuid))
      await adoptDirect(context, (uuid) => machines.get(uuid))
      await adoptShares(context, machines)
      await removeOrphans(paths.nvram, (name) => defined.find(name.replace(/\.qcow2$/u, '')) !== undefined)
    },
    async close() {
      closed = true
      await Promise.all([...machines.values()].map((machine) => machine.forget()))
    },
  }

  function noteGone(details: GuestDetails | undefined, reason: DomainStateReason): void {
    const { definition: was, template, arriving } = details ?? {}
    // What is no domain, such as the process that makes a template, is nobody's business.
    if (!was || arriving || (template && template.role !== 'clone')) return
    gone.push({ definition: was, reason, halfStarted: reason === 'failed' })
  }

  async function adoptOne(guest: GuestProcess): Promise<void> {
    const details = parseDetails(guest.details)
    if (!details)
      return log.warn(
        { pid: guest.identity.pid },
        'A guest was found whose record is broken; it is left alone.',
      )
    const { definition: live, template } = details
    const isDomain = template?.role !== 'capture' && template?.role !== 'spare'
    const unfinished = template?.pending && !defined.find(live.uuid)
    // Such as with a store from before it was defined: the guest must not be lost for that.
    if (isDomain && !unfinished && !details.arriving && !defined.find(live.uuid))
      await defined.put({ definition: live, autostart: false })
    lastId = Math.max(lastId, details.id)
    context.confinement.note(live.uuid, guest.user)
    const machine = openMachine({
      guest,
      details,
      state: { state: 'running', reason: 'adopted' },
      paths: paths.of(live.uuid),
      log,
      tell: tellFrom(live.uuid),
    })
    void machine.ended.then(() => context.confinement.release(live.uuid))
    if (template?.role === 'capture' || (isDomain && unfinished)) return machine.kill('failed')
    let gone = false
    const exited = guest.exited.then(() => {
      gone = true
    })
    const monitor = await reach(machine, paths.of(live.uuid).monitor, () => gone)
    if (template?.role === 'spare') return adoptSpare(machine, monitor)
    if (details.arriving) {
      if (monitor) machine.useMonitor(monitor)
      arrivals.push(machine)
      return
    }
    if (monitor && !(await takeOver(machine, monitor))) return
    watch(live.uuid, machine)
    // Who is ending is not seen as running: its process may last a moment longer than its monitor.
    if (!monitor) await Promise.race([exited, sleep(500)])
    if (gone) await machine.ended
    else log.info({ domain: live.name, pid: guest.identity.pid }, 'Found a running guest again.')
    if (!monitor && !gone) void reachLater(machine, () => gone || closed)
  }

  /** Goes on with a machine that a daemon before had; false when it is ended, as it never ran or has been saved. */
  async function takeOver(machine: OpenMachine, monitor: QmpClient): Promise<boolean> {
    const { details } = machine
    machine.useMonitor(monitor)
    const status = await monitor.execute('query-status').catch(() => undefined)
    const { prelaunch, ...state } = fromStatus(status)
    machine.setState(state)
    const neverRan = prelaunch || (details.restoring !== undefined && state.state === 'paused')
    if (!neverRan || details.paused || details.restarting) return settle(machine)
    log.warn({ domain: details.definition.name }, 'A guest was found half started, and ended.')
    noteGone(details, 'failed')
    await machine.kill('failed')
    return false
  }

  /** A QEMU that hangs, such as for a file system that does, may answer when that does again. */
  async function reachLater(machine: OpenMachine, isOver: () => boolean): Promise<void> {
    const { name, uuid } = machine.details.definition
    log.warn({ domain: name }, 'The QEMU of a guest that was found does not answer; it is asked again.')
    while (!isOver()) {
      await sleep(1_000)
      const monitor = await connectMonitor(paths.of(uuid).monitor, machine, machine.onEvent).catch(
        () => undefined,
      )
      if (!monitor) continue
      if (isOver()) return monitor.close()
      await takeOver(machine, monitor)
      return log.info({ domain: name }, 'The QEMU of a guest answers again.')
    }
  }

  async function adoptSpare(machine: Machine, monitor: QmpClient | undefined): Promise<void> {
    if (!monitor) return machine.kill('failed')
    machine.useMonitor(monitor)
    const { prelaunch } = fromStatus(await monitor.execute('query-status').catch(() => undefined))
    if (prelaunch) return machine.kill('failed')
    await monitor.execute('stop')
    spares.push(machine)
  }

  /** Ends or undoes what the daemon before was doing with it; false when the guest is ended by that. */
  async function settle(machine: Machine): Promise<boolean> {
    const { saving, restoring, dumping, capturing, definition: live } = machine.details
    // QEMU goes on writing, and with the guest, but the name the file was to get is known to nobody.
    if (dumping) {
      await rm(dumping.partial, { force: true })
      await machine.record({ dumping: undefined })
    }
    if (capturing) await settleCapture(machine)
    const file = paths.of(live.uuid).saved
    if (restoring !== undefined && (await identifySavedState(file)) === restoring) {
      // It has run on from the saved state, which must not be used again.
      await rm(file, { force: true })
      saved.delete(live.uuid)
    }
    if (restoring !== undefined) await machine.record({ restoring: undefined })
    if (saving) {
      await rm(saving.partial, { force: true })
      if ((await identifySavedState(saving.file)) === saving.id) {
        if (saving.file === file) saved.add(live.uuid)
        await machine.kill('saved')
        noteGone(machine.details, 'saved')
        ends.set(live.uuid, { reason: 'saved' })
        return false
      }
      if (saving.resume) {
        await giveUpSending(machine.monitor)
        await resumeAfterSending(machine.monitor)
        machine.setState({ state: 'running', reason: 'resumed' })
      }
      await machine.record({ saving: undefined })
    }
    return true
  }

  return registry
}

/** While nobody knows on which of two hosts it runs, it must not be run, nor saved so that it could be. */
function refuseMigrating({ details }: Machine, states: readonly DomainState[]): void {
  const { arriving, leaving, definition } = details
  // What works on machines in any state, such as a destroy, does not run one.
  if (states.includes('shutdown') || (!arriving && leaving?.phase !== 'handed-over')) return
  throw new VisorError(
    'invalid-state',
    arriving
      ? `Domain '${definition.name}' is on its way here from another host, and was not handed over yet.`
      : `Domain '${definition.name}' was handed over to ${leaving?.to}, which has not said whether it runs it.`,
    {
      object: { kind: 'domain', name: definition.name },
      remedy: arriving
        ? 'Wait for the migration, or destroy the domain here: it goes on at its source.'
        : `Ask again: 'visor migrate ${definition.name} --settle'.`,
    },
  )
}

/** What is left of domains whose undefinition was cut short. */
async function removeOrphans(directory: string, isWanted: (name: string) => boolean): Promise<void> {
  for (const name of await listDirectory(directory))
    if (!isWanted(name)) await rm(join(directory, name), { recursive: true, force: true })
}

type OpenMachine = ReturnType<typeof openMachine>

/** The monitor of a guest that may still be coming up; undefined when it does not answer. */
async function reach(machine: OpenMachine, path: string, isGone: () => boolean) {
  const deadline = performance.now() + 5_000
  let monitor: QmpClient | undefined
  while (!monitor && !isGone() && performance.now() < deadline) {
    monitor = await connectMonitor(path, machine, machine.onEvent).catch(() => undefined)
    if (!monitor) await sleep(20)
  }
  return monitor
}

const sleep = (timeoutMs: number) => new Promise<void>((resolve) => setTimeout(resolve, timeoutMs))

function parseDetails(value: unknown): GuestDetails | undefined {
  const sound =
    isRecord(value) &&
    typeof value.id === 'number' &&
    isRecord(value.definition) &&
    isRecord(value.definition.devices)
  return sound ? (value as unknown as GuestDetails) : undefined
}

interface Known {
  readonly autostart: boolean
  readonly protectedFrom: readonly ('undefine' | 'start')[]
  readonly saved: boolean
  readonly machine: Machine | undefined
  readonly end: MachineEnd | undefined
}

function describeDomain(definition: CompleteDefinition, known: Known): Domain {
  const { autostart, protectedFrom, saved, machine, end } = known
  const live = machine?.details.definition ?? definition
  const common = {
    uuid: definition.uuid,
    name: definition.name,
    driver: 'qemu',
    type: live.type,
    persistent: true,
    autostart,
    ...(protectedFrom.length > 0 ? { protectedFrom: [...protectedFrom] } : {}),
    saved,
    ...(definition.title === undefined ? {} : { title: definition.title }),
    vcpus: live.currentVcpus ?? live.vcpus,
    maxMemoryKiB: live.memoryKiB,
  }
  if (!machine)
    return {
      ...common,
      state: 'shutoff',
      reason: end?.reason ?? (saved ? 'saved' : 'unknown'),
      ...(end?.message ? { message: end.message } : {}),
      memoryKiB: live.currentMemoryKiB ?? live.memoryKiB,
    }
  const { state, details, guest } = machine
  const message = state.message ?? lostShares(machine)
  return {
    ...common,
    state: state.state,
    reason: state.reason,
    ...(message ? { message } : {}),
    memoryKiB: state.memoryKiB ?? live.memoryKiB,
    id: details.id,
    startedAt: details.startedAt,
    pid: guest.identity.pid,
  }
}
