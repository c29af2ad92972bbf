/** A running QEMU: its process, its monitor, its consoles and its state. */
import { lstat, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../../driver/index.ts'
import {
  type ConsoleLog,
  connectGuestSocket,
  type GuestProcess,
  guestOutputName,
  openConsoleLog,
} from '../../../host/index.ts'
import type { DomainStateReason, Timeline } from '../../../model/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { consoleSocket, isBound, loggedPorts, logOf, portsOf } from '../devices/ports/ports.ts'
import { removeOverlays } from '../disks/transient.ts'
import type { GuestPaths } from '../paths.ts'
import { type QmpClient, type QmpEvent, qmpClient } from '../qmp/index.ts'
import { type ConsolePort, consolePort } from './console.ts'
import { afterEvent, type MachineState, type StateEvent } from './machine-state.ts'

/** What a later daemon must know of a running guest. */
export interface GuestDetails {
  readonly definition: CompleteDefinition
  readonly id: number
  readonly startedAt: string
  /** Seconds its clock was off when QEMU was started, once the guest has set it. */
  readonly clockBase?: number
  /** Whether it is to stay stopped: else one whose processors never ran was not started completely. */
  readonly paused: boolean
  /** It comes from the saved state of this save, which is not used up yet. */
  readonly restoring?: string
  /** A save under way: what to look for, and whether the guest goes on when it failed. */
  readonly saving?: {
    readonly id: string
    readonly file: string
    readonly partial: string
    readonly resume: boolean
  }
  /** It was asked to power off in order to be started again. */
  readonly rebooting?: boolean
  /** It is off or has crashed, and is being started anew in the same QEMU. */
  readonly restarting?: boolean
  /** Its processors stand still only while its disks change over to other files. */
  readonly still?: boolean
  /** A device that is being plugged in: what the machine is when it is there, and which files are made for it. */
  readonly plugging?: { readonly definition: CompleteDefinition; readonly made?: readonly string[] }
  /** A change of the machine and its definition: what both were before. */
  readonly changing?: { readonly definition: CompleteDefinition; readonly live: CompleteDefinition }
  /** A device that is being changed: what the machine is then, and which of its devices it is. */
  readonly updating?: {
    readonly definition: CompleteDefinition
    readonly kind: string
    readonly alias: string
  }
  /** Devices that the guest was asked to let go, by alias. */
  readonly unplugging?: readonly string[]
  /** A core dump under way: the file to remove when nobody finishes it. */
  readonly dumping?: { readonly partial: string }
  /** How its start went. */
  readonly timeline?: Timeline
  /** Its file systems are frozen, and are to be thawed. */
  readonly frozen?: boolean
  /** What it has to do with a template: holds its memory while that is written, waits in its pool, is a clone. */
  readonly template?: {
    readonly id: string
    readonly role: 'capture' | 'spare' | 'clone'
    /** It has not been told yet who it is. */
    readonly pending?: boolean
  }
  /** A template is being made of it; whether it goes on when that failed. */
  readonly capturing?: { readonly resume: boolean }
  /** It comes from another host by this migration, and does not run before it was handed over. */
  readonly arriving?: { readonly id: string }
  /** It goes to another host. */
  readonly leaving?: Leaving
}

/** A migration to another host under way; the phases stand above `migration/leave.ts`. */
export interface Leaving {
  readonly id: string
  /** URI of the other host's visord, and the token it wants. */
  readonly to: string
  readonly token?: string
  readonly phase: 'preparing' | 'sending' | 'handed-over' | 'gone'
  /** Whether it goes on here when this fails. */
  readonly resume: boolean
  /** Left stopped there. */
  readonly paused: boolean
  readonly postcopy: boolean
  /** What its memory goes over. */
  readonly channel?: { readonly transport: 'tcp' | 'unix'; readonly address?: string | undefined }
  /** Forgotten here afterwards. */
  readonly undefine: boolean
}

/** Absent changes nothing, undefined removes. */
export type DetailChanges = { readonly [K in keyof GuestDetails]?: GuestDetails[K] | undefined }

export type Interceptor = (event: QmpEvent) => boolean

export interface MachineEnd {
  readonly reason: DomainStateReason
  readonly message?: string
}

export interface Machine {
  readonly guest: GuestProcess
  readonly details: GuestDetails
  readonly state: MachineState
  readonly consoles: ReadonlyMap<string, ConsolePort>
  /** Resolves when the process is gone and all of it is removed. */
  readonly ended: Promise<MachineEnd>
  /** Fails with `unavailable` when QEMU cannot be talked to. */
  readonly monitor: QmpClient
  /** Asked about each event first; true: it was taken care of. */
  readonly interceptors: Set<Interceptor>
  /** End the processes beside it; each is done once it has ended, before all of it is removed. */
  readonly companions: Set<() => Promise<void>>
  setState(state: MachineState): void
  /** Tells whoever listens for events of it. */
  tell(event: StateEvent): void
  /** Talks over this monitor from now on. */
  useMonitor(monitor: QmpClient): void
  /** Records `changes` for a later daemon. */
  record(changes: DetailChanges): Promise<void>
  /** Ends it; `reason` is what its end will be put down to. */
  kill(reason: DomainStateReason): Promise<void>
  /** What will be said of its end when it ends by itself. */
  expectEnd(reason: DomainStateReason): void
  /** Lets go of it; it goes on. Nothing about it is written any more once this has resolved. */
  forget(): Promise<void>
}

export interface MachineOptions {
  readonly guest: GuestProcess
  readonly details: GuestDetails
  readonly state: MachineState
  readonly paths: GuestPaths
  readonly log: Log
  readonly tell: (event: StateEvent, machine: Machine) => void
}

/** A machine, and where the events of its monitor are to go. */
export function openMachine(
  options: MachineOptions,
): Machine & { readonly onEvent: (event: QmpEvent) => void } {
  const { guest, details, paths, log, tell } = options
  const interceptors = new Set<Interceptor>()
  const companions = new Set<() => Promise<void>>()
  let { state } = options
  let monitor: QmpClient | undefined
  let current = details
  let expected: DomainStateReason | undefined
  let forgotten = false
  const consoles = openConsoles(details.definition, paths, guest)
  const ended = guest.exited.then(async (exit): Promise<MachineEnd> => {
    monitor?.close()
    for (const port of consoles.values()) port.end()
    const said = await lastOutput(guest.directory)
    await removeSockets(current.definition)
    for (const end of companions)
      await end().catch((error) =>
        log.warn({ error: String(error) }, 'A process beside a guest did not end.'),
      )
    await removeOverlays(paths)
    await guest
      .release()
      .catch((error) => log.warn({ error: String(error) }, 'A guest left something behind.'))
    const reason = expected ?? state.ending ?? (exit.code === 0 ? 'shutdown' : undefined)
    if (reason) return { reason, ...(state.message ? { message: state.message } : {}) }
    const how = exit.signal
      ? `by ${exit.signal}`
      : exit.code === undefined
        ? ''
        : `with exit code ${exit.code}`
    return {
      reason: 'crashed',
      message: `QEMU ended unexpectedly${how === '' ? '' : ` ${how}`}${said === '' ? '.' : `: ${said}`}`,
    }
  })

  function watchMonitor(client: QmpClient): void {
    void client.closed.then(async (error) => {
      if (forgotten || client !== monitor) return
      monitor = undefined
      if (error) log.warn({ domain: current.definition.name, error: error.message }, 'A monitor broke.')
      guest.check()
      // The process has usually ended; if it goes on, so does the talk, over the other monitor.
      const gone = await Promise.race([guest.exited.then(() => true), delay(500)])
      if (gone || forgotten) return
      const again = await connectMonitor(paths.monitor, machine, machine.onEvent).catch(() => undefined)
      if (!again || forgotten) return again?.close()
      monitor = again
      watchMonitor(again)
    })
  }

  const machine = {
    guest,
    consoles,
    ended,
    interceptors,
    companions,
    get details() {
      return current
    },
    get state() {
      return state
    },
    get monitor() {
      if (!monitor)
        throw new VisorError(
          'unavailable',
          `The QEMU of domain '${current.definition.name}' does not answer.`,
          {
            remedy: 'Destroy the domain if this lasts.',
          },
        )
      return monitor
    },
    setState(next: MachineState) {
      state = next
    },
    tell: (event: StateEvent) => tell(event, machine),
    async record(changes: DetailChanges) {
      current = { ...current, ...changes } as GuestDetails
      await guest.confirm(current)
    },
    async kill(reason: DomainStateReason) {
      expected = reason
      await guest.kill()
      await ended
    },
    useMonitor(client: QmpClient) {
      monitor = client
      watchMonitor(client)
    },
    expectEnd(reason: DomainStateReason) {
      expected = reason
    },
    async forget() {
      forgotten = true
      monitor?.close()
      for (const port of consoles.values()) port.end()
      await guest.forget()
    },
    onEvent(event: QmpEvent) {
      for (const intercept of interceptors) if (intercept(event)) return
      const next = afterEvent(state, event)
      state = next.state
      if (next.tell) tell(next.tell, machine)
    },
  }
  return machine
}

function delay(timeoutMs: number): Promise<false> {
  return new Promise((resolve) => setTimeout(resolve, timeoutMs, false).unref())
}

function openConsoles(
  { devices }: CompleteDefinition,
  paths: GuestPaths,
  guest: GuestProcess,
): Map<string, ConsolePort> {
  return new Map(
    loggedPorts(devices).map((port) => {
      const { alias = '', type, logFile } = port
      const log: ConsoleLog = openConsoleLog(logOf(port, paths))
      // A file that a person named is theirs to keep small.
      const kept: ConsoleLog = logFile === undefined ? log : { ...log, trim: async () => {} }
      return [alias, consolePort(kept, { path: consoleSocket(port, paths), alias, type }, guest.identity)]
    }),
  )
}

/** Removes the sockets that the definition wants elsewhere than in the guest's own directory, which goes anyway. */
async function removeSockets({ devices }: CompleteDefinition): Promise<void> {
  const paths = [
    ...portsOf(devices).map((port) => (port.type === 'unix' && isBound(port) ? port.path : undefined)),
    ...devices.graphics.map(({ socket, listens }) => socket ?? listens[0]?.socket),
  ]
  for (const path of paths) {
    const there = path === undefined ? undefined : await lstat(path).catch(() => undefined)
    if (path !== undefined && there?.isSocket()) await rm(path, { force: true })
  }
}

/** What the program printed last, for people. */
export async function lastOutput(directory: string): Promise<string> {
  const file = await open(join(directory, guestOutputName), 'r').catch(() => undefined)
  if (!file) return ''
  try {
    const { size } = await file.stat()
    const buffer = Buffer.alloc(Math.min(size, 4096))
    await file.read(buffer, 0, buffer.length, size - buffer.length)
    const lines = buffer.toString('utf8').trim().split('\n')
    return lines
      .filter((line) => !line.includes('warning:'))
      .slice(-2)
      .map((line) => line.replace(/^\S*qemu[^\s:]*: /u, ''))
      .join(' ')
  } finally {
    await file.close()
  }
}

/** Connects the monitor of a guest that runs already. */
export async function connectMonitor(
  path: string,
  { guest, details }: Pick<Machine, 'guest' | 'details'>,
  onEvent: (event: QmpEvent) => void,
): Promise<QmpClient> {
  const { name } = details.definition
  const socket = await connectGuestSocket(path, guest.identity).catch((cause: Error) => {
    throw new VisorError('unavailable', `The monitor of domain '${name}' is not there: ${cause.message}.`, {
      cause,
    })
  })
  const client = qmpClient(socket, { name, onEvent, timeoutMs: 5_000 })
  await client.greeting
  return client
}
