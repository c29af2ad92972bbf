/** From a definition to a machine whose processors run, or nothing at all. */
import type { FileHandle } from 'node:fs/promises'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { spawnGuest } from '../../host/index.ts'
import { type Progress, VisorError } from '../../model/index.ts'
import { buildCommandLine, incomingDescriptor } from './command-line.ts'
import type { Context } from './context.ts'
import type { CompleteDefinition } from './definition.ts'
import { type Machine, type MachineEnd, openMachine } from './machine.ts'
import type { MachineState, StateEvent } from './machine-state.ts'
import type { GuestPaths } from './paths.ts'
import { preflight } from './preflight.ts'
import { type QmpClient, type QmpEvent, qmpClient } from './qmp/index.ts'
import { startClock, watchBoot } from './timeline.ts'

export interface LaunchOptions {
  readonly definition: CompleteDefinition
  readonly id: number
  readonly paused: boolean
  readonly tell: (event: StateEvent, machine: Machine) => void
  /** A saved state to go on from: an open file at the place where QEMU's part begins. */
  readonly incoming?: { readonly file: FileHandle; readonly id: string; readonly sizeBytes: number }
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((progress: Progress) => void) | undefined
}

/** Time for a QEMU to come up or to take over a saved state; it is far longer than any takes. */
const startTimeoutMs = 60_000

/**
 * Starts a machine. Resolves when its processors run (or, with `paused`, could) and it is recorded. Fails
 * with `failed` and what QEMU said, `cancelled`, or as `preflight` does; nothing of it is left then.
 */
export async function launch(context: Context, options: LaunchOptions): Promise<Machine> {
  const { definition, id, paused, incoming, signal } = options
  const clock = startClock()
  const paths = context.paths.of(definition.uuid)
  const emulator = await context.findEmulator(definition.os.arch ?? 'x86_64', definition.devices.emulator)
  if (!emulator)
    throw new VisorError('unavailable', `The emulator of domain '${definition.name}' is not installed.`, {
      remedy: `Install '${definition.devices.emulator}', or change the definition.`,
    })
  const [images] = await Promise.all([
    preflight(definition, paths).finally(() => clock.mark('storage')),
    makeConsoleLogs(definition, paths, !incoming),
  ])
  if (signal?.aborted)
    throw new VisorError('cancelled', `The start of domain '${definition.name}' was cancelled.`)
  clock.mark('preflight')
  const details = {
    definition,
    id,
    startedAt: new Date().toISOString(),
    paused,
    ...(incoming ? { restoring: incoming.id } : {}),
  }
  const guest = await spawnGuest({
    directory: paths.directory,
    name: `qemu-${definition.uuid}`,
    program: emulator.path,
    args: buildCommandLine({ definition, emulator, paths, images, incoming: incoming !== undefined }),
    env: guestEnvironment(),
    sockets: 1,
    files: incoming ? [incoming.file.fd] : [],
    cgroups: context.cgroups,
    owner: context.owner,
    details,
  })
  clock.mark('spawn')
  const state: MachineState = paused
    ? { state: 'paused', reason: 'user' }
    : { state: 'running', reason: incoming ? 'restored' : 'booted' }
  const machine = openMachine({ guest, details, state, paths, log: context.log, tell: options.tell })
  try {
    const [socket] = guest.sockets
    if (!socket) throw new VisorError('internal', 'There is no socket to the monitor.')
    const monitor = qmpClient(socket, {
      name: definition.name,
      onEvent: machine.onEvent,
      timeoutMs: startTimeoutMs,
    })
    machine.useMonitor(monitor)
    void monitor.greeting.then(
      () => clock.mark('monitor'),
      () => {},
    )
    // Written while QEMU comes up.
    const recorded = machine.record({})
    recorded.catch(() => {})
    if (incoming) await receive(machine, monitor, options)
    await Promise.all([
      ...prepare(definition, monitor, signal),
      paused ? undefined : run(monitor, signal),
      recorded,
    ])
    if (!paused) clock.mark('processors')
    watchBoot(machine, clock, !incoming)
    return machine
  } catch (error) {
    throw await startFailure(machine, definition.name, error)
  }
}

function run(monitor: QmpClient, signal: AbortSignal | undefined): Promise<unknown> {
  return monitor.execute('cont', undefined, { timeoutMs: startTimeoutMs, ...(signal ? { signal } : {}) })
}

/** What can only be set once QEMU is there. */
function prepare(definition: CompleteDefinition, monitor: QmpClient, signal: AbortSignal | undefined) {
  const options = { timeoutMs: startTimeoutMs, ...(signal ? { signal } : {}) }
  const { memoryKiB, currentMemoryKiB = memoryKiB, devices } = definition
  const { memballoon: balloon, interfaces } = devices
  const hasBalloon = balloon !== undefined && balloon.model !== 'none'
  const commands: Promise<unknown>[] = []
  if (hasBalloon && currentMemoryKiB < memoryKiB)
    commands.push(monitor.execute('balloon', { value: currentMemoryKiB * 1024 }, options))
  if (hasBalloon && balloon.statsPeriodSeconds)
    commands.push(
      monitor.execute(
        'qom-set',
        {
          path: `/machine/peripheral/${balloon.alias}`,
          property: 'guest-stats-polling-interval',
          value: balloon.statsPeriodSeconds,
        },
        options,
      ),
    )
  for (const { link, alias } of interfaces)
    if (link === 'down') commands.push(monitor.execute('set_link', { name: alias, up: false }, options))
  return commands
}

/** Lets QEMU read a saved state. */
async function receive(
  machine: Machine,
  monitor: QmpClient,
  { incoming, signal, progress }: LaunchOptions,
): Promise<void> {
  const done = Promise.withResolvers<void>()
  const intercept = ({ event, data }: QmpEvent) => {
    if (event !== 'MIGRATION') return false
    if (data.status === 'completed') done.resolve()
    if (data.status === 'failed')
      done.reject(new VisorError('failed', 'QEMU could not read the saved state.'))
    return true
  }
  machine.interceptors.add(intercept)
  const onAbort = () => done.reject(new VisorError('cancelled', 'The restore was cancelled.'))
  signal?.addEventListener('abort', onAbort, { once: true })
  void monitor.closed.then((error) => done.reject(error ?? new VisorError('failed', 'QEMU ended.')))
  const timer = setInterval(() => void tellProgress(machine, incoming?.sizeBytes ?? 0, progress), 200)
  done.promise.catch(() => {})
  try {
    await Promise.all([
      monitor.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] }),
      monitor.execute('migrate-incoming', { uri: `fd:${incomingDescriptor}` }, { timeoutMs: startTimeoutMs }),
      done.promise,
    ])
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', onAbort)
    machine.interceptors.delete(intercept)
  }
}

/** How far QEMU has read: the position of its file, proc(5). */
async function tellProgress(
  { guest }: Machine,
  total: number,
  progress: LaunchOptions['progress'],
): Promise<void> {
  if (!progress) return
  const info = await readFile(`/proc/${guest.identity.pid}/fdinfo/${incomingDescriptor}`, 'latin1').catch(
    () => '',
  )
  const done = Number(/^pos:\s*(\d+)/mu.exec(info)?.[1] ?? 0)
  progress({ phase: 'reading memory', done: Math.min(done, total), total, unit: 'bytes' })
}

/** Ends what was started, and says why it failed. */
async function startFailure(machine: Machine, name: string, error: unknown): Promise<unknown> {
  const cancelled = error instanceof VisorError && (error.code === 'cancelled' || error.code === 'timeout')
  const ended = cancelled ? undefined : await Promise.race([machine.ended, pause(1_000)])
  await machine.kill('failed')
  if (!ended) return error
  const said = (ended as MachineEnd).message ?? 'it ended at once'
  return new VisorError('failed', `Domain '${name}' could not be started: ${said.replace(/\.?$/u, '.')}`, {
    cause: error,
    object: { kind: 'domain', name },
  })
}

function pause(timeoutMs: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(resolve, timeoutMs, undefined).unref())
}

/** What QEMU gets of our environment: nothing that is only ours. */
function guestEnvironment(): Record<string, string> {
  const kept = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TMPDIR', 'XDG_RUNTIME_DIR', 'LD_LIBRARY_PATH']
  return Object.fromEntries(kept.flatMap((key) => (process.env[key] ? [[key, process.env[key]]] : [])))
}

/** Empty logs for a new start; a machine that goes on goes on with its logs. */
async function makeConsoleLogs(
  definition: CompleteDefinition,
  paths: GuestPaths,
  fresh: boolean,
): Promise<void> {
  const { serials, consoles } = definition.devices
  const ports = [...serials, ...consoles.filter(({ target }) => target === 'virtio')]
  if (ports.length === 0) return
  await mkdir(paths.consoleDirectory, { recursive: true, mode: 0o700 })
  const flag = fresh ? 'w' : 'a'
  await Promise.all(
    ports.map(({ alias = '' }) => writeFile(paths.consoleLog(alias), '', { flag, mode: 0o600 })),
  )
}
