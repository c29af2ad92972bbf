/** From a definition to a machine whose processors run, or nothing at all. */
import type { FileHandle } from 'node:fs/promises'
import { readFile } from 'node:fs/promises'
import { type FileAccess, type GuestUser, spawnGuest } from '../../../host/index.ts'
import { type Progress, VisorError } from '../../../model/index.ts'
import { ensureVariables } from '../board/firmware.ts'
import { checkHostMemory } from '../board/memory/host-memory.ts'
import { clockParameter } from '../board/time-stamps.ts'
import type { Context } from '../context.ts'
import { buildCommandLine, incomingDescriptor, type MemoryFile } from '../definition/command-line.ts'
import { type CompleteDefinition, machineEmulator } from '../definition/definition.ts'
import { hostDeviceFiles, locksMemory } from '../devices/host-devices.ts'
import { setPasswords } from '../devices/screens/screen-passwords.ts'
import { checkOwners } from '../devices/shares/filesystems.ts'
import { startShares } from '../devices/shares/serve.ts'
import { startTpm } from '../devices/tpm.ts'
import { limitDisks } from '../disks/disk-throttle.ts'
import { refuseTransient, removeOverlays, withOverlays } from '../disks/transient.ts'
import { type Emulator, isAtLeast } from '../emulator/emulator.ts'
import { openHostSide } from '../network/host-side.ts'
import { withVhost } from '../network/taps.ts'
import { explainWaiting } from '../network/vhost-user.ts'
import { type QmpClient, type QmpEvent, qmpClient } from '../qmp/index.ts'
import { startClock, watchBoot } from '../usage/timeline.ts'
import { filesAtStart } from './access.ts'
import { endCompanion } from './companion.ts'
import {
  guestEnvironment,
  makeConsoleLogs,
  makeFile,
  makeMemoryFiles,
  makePortFiles,
  makeSecretFiles,
} from './guest-files.ts'
import { type GuestDetails, type Machine, type MachineEnd, openMachine } from './machine.ts'
import type { MachineState, StateEvent } from './machine-state.ts'
import { hostLimits } from './placement/host-limits.ts'
import { placeThreads, plugProcessors } from './placement/place-threads.ts'
import { limitMachineThreads } from './placement/thread-limits.ts'
import { preflight } from './preflight.ts'

export interface LaunchOptions {
  readonly definition: CompleteDefinition
  readonly id: number
  readonly paused: boolean
  readonly tell: (event: StateEvent, machine: Machine) => void
  /** A state to go on from. */
  readonly incoming?: IncomingState
  /** Makes it listen for what another host sends; it is not run then. */
  readonly listen?: (machine: Machine) => Promise<void>
  readonly memory?: MemoryFile
  /** More that a later daemon must know of it. */
  readonly details?: Pick<GuestDetails, 'template' | 'arriving'>
  /** Changes the arguments of QEMU. */
  readonly arrange?: (args: readonly string[]) => readonly string[]
  /** Files that QEMU opens beyond those of the definition. */
  readonly access?: readonly FileAccess[]
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((progress: Progress) => void) | undefined
}

export interface IncomingState {
  /** An open file at the place where QEMU's part begins, or the socket on which QEMU shall listen for it. */
  readonly source: FileHandle | string
  readonly sizeBytes: number
  /** Of a saved state that is used up. */
  readonly id?: string
  /** The main memory is not in it: it is in its file already. */
  readonly withoutMemory?: true
  /** Done when QEMU is there, before it reads. */
  readonly before?: (machine: Machine) => Promise<void>
  /** Done when QEMU listens: sends it the state. */
  readonly feed?: () => Promise<void>
  /** Its processors run the moment it is read, without another round trip: QEMU is told beforehand. */
  readonly runAtOnce?: true
}

/** Time for a QEMU to come up or to take over a saved state; it is far longer than any takes. */
const startTimeoutMs = 60_000

/**
 * Starts a machine. Resolves when its processors run (or, with `paused`, could) and it is recorded. Fails
 * with `failed` and what QEMU said, `cancelled`, or as `preflight` does; nothing of it is left then.
 */
export async function launch(context: Context, options: LaunchOptions): Promise<Machine> {
  const { definition, details, incoming } = options
  const { uuid } = definition
  const { confinement, hooks } = context
  // What is no domain, such as the process that makes a template, is nobody's business.
  const isDomain = details?.template === undefined || details.template.role === 'clone'
  const user = confinement.claim(uuid)
  try {
    if (isDomain) await hooks.ask('prepare', definition)
    if (isDomain && incoming?.id !== undefined) await hooks.ask('restore', definition)
    const machine = await launchAs(context, options, user)
    void machine.ended.then(() => confinement.release(uuid))
    if (isDomain) void hooks.tell('started', definition)
    return machine
  } catch (error) {
    await removeOverlays(context.paths.of(uuid))
    confinement.release(uuid)
    if (isDomain) void hooks.tell('release', definition, 'failed')
    throw error
  }
}

async function launchAs(
  context: Context,
  options: LaunchOptions,
  user: GuestUser | undefined,
): Promise<Machine> {
  const { definition, id, paused, incoming, listen, signal, memory, arrange } = options
  const clock = startClock()
  const paths = context.paths.of(definition.uuid)
  const emulator = await machineEmulator(context, definition)
  refuseFrozen(context, definition)
  const isRoot = user === undefined && process.getuid?.() === 0
  checkHostMemory(definition, !isRoot)
  checkOwners(definition, isRoot)
  if (incoming) refuseTransient(definition, 'continued from a saved state')
  const [found] = await Promise.all([
    preflight(definition, paths).finally(() => clock.mark('storage')),
    ensureVariables(definition, paths),
    makeMemoryFiles(definition),
    makeConsoleLogs(definition, paths, { fresh: !incoming && !listen, user }),
    makePortFiles(definition),
    makeSecretFiles(context, definition, paths),
    memory ? makeFile(memory.file, 'memory') : undefined,
  ])
  if (options.details?.template === undefined) await context.hooks.ask('start', definition)
  if (signal?.aborted)
    throw new VisorError('cancelled', `The start of domain '${definition.name}' was cancelled.`)
  const images = await withOverlays(definition, found, paths)
  clock.mark('preflight')
  const args = buildCommandLine({
    ...{ definition: withVhost(definition), emulator, paths, images, memory },
    kernelParameter: await clockParameter(definition, emulator),
    incoming: incoming !== undefined || listen !== undefined,
  })
  const tpm = await startTpm(context, definition, paths, user)
  const endTpm = async (error: unknown): Promise<never> => {
    if (tpm) await endCompanion(tpm)
    throw error
  }
  const shares = await startShares(context, definition, user).catch(endTpm)
  const endBeside = async (error: unknown): Promise<never> => {
    await shares.end()
    return endTpm(error)
  }
  const hostSide = await openHostSide(context, definition, user).catch(endBeside)
  const details = {
    definition: hostSide.definition,
    id,
    startedAt: new Date().toISOString(),
    paused,
    ...(incoming?.id === undefined ? {} : { restoring: incoming.id }),
    ...options.details,
  }
  const guest = await spawnGuest({
    directory: paths.directory,
    name: `qemu-${definition.uuid}`,
    program: emulator.path,
    args: arrange ? arrange(args) : args,
    env: guestEnvironment(definition, paths, user),
    sockets: 1,
    files: hostSide.filesWith(typeof incoming?.source === 'object' ? incoming.source.fd : undefined),
    cgroups: context.cgroups,
    cgroupLimits: hostLimits(definition),
    owner: context.owner,
    user,
    ...(definition.memoryBacking?.locked || locksMemory(definition.devices)
      ? { limits: { lockedBytes: Number.POSITIVE_INFINITY } }
      : {}),
    access: [
      ...filesAtStart(definition, images, paths),
      ...(await hostDeviceFiles(definition.devices)),
      ...(memory ? [memoryAccess(memory, emulator)] : []),
      ...(options.access ?? []),
    ],
    details,
  })
    .catch(async (error) => {
      await hostSide.end()
      return endBeside(error)
    })
    .finally(() => hostSide.close())
  clock.mark('spawn')
  const state: MachineState = paused
    ? { state: 'paused', reason: 'user' }
    : { state: 'running', reason: incoming ? 'restored' : 'booted' }
  const machine = openMachine({ guest, details, state, paths, log: context.log, tell: options.tell })
  if (tpm) machine.companions.add(() => endCompanion(tpm))
  hostSide.follow(machine)
  shares.keepWith(machine)
  try {
    const [socket] = guest.sockets
    const runAtOnce = !paused && incoming?.runAtOnce === true
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
    await plugProcessors(definition, monitor)
    await placeThreads(definition, guest.identity.pid, monitor)
    await limitMachineThreads(context.cgroups, { guest, definition, monitor })
    await setPasswords(definition.devices.graphics, monitor)
    if (listen) {
      await recorded
      await listen(machine)
      return machine
    }
    if (incoming) await receive(machine, monitor, incoming, options)
    await Promise.all([
      ...prepare(definition, monitor, signal),
      paused || runAtOnce ? undefined : run(monitor, signal),
      recorded,
    ])
    if (!paused) clock.mark('processors')
    watchBoot(machine, clock, !incoming)
    return machine
  } catch (error) {
    const cause = await shares.explain(error)
    const failure = explainWaiting(definition, await startFailure(machine, definition.name, error))
    throw cause === error ? failure : cause
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
  commands.push(limitDisks(monitor, devices.disks, options))
  for (const { link, alias } of interfaces)
    if (link === 'down') commands.push(monitor.execute('set_link', { name: alias, up: false }, options))
  return commands
}

/** Lets QEMU read a saved state. */
async function receive(
  machine: Machine,
  monitor: QmpClient,
  incoming: IncomingState,
  { signal, progress }: LaunchOptions,
): Promise<void> {
  const { source, sizeBytes, withoutMemory = false, before, feed, runAtOnce } = incoming
  const done = Promise.withResolvers<void>()
  let resumed = false
  const intercept = ({ event, data }: QmpEvent) => {
    resumed ||= event === 'RESUME'
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
  const onFile = typeof source === 'object'
  const timer = onFile && setInterval(() => void tellProgress(machine, sizeBytes, progress), 200)
  done.promise.catch(() => {})
  try {
    const capabilities = [
      { capability: 'events', state: true },
      { capability: 'x-ignore-shared', state: withoutMemory },
    ]
    const uri = onFile ? `fd:${incomingDescriptor}` : `unix:${source}`
    if (before) await Promise.race([monitor.greeting.then(() => before(machine)), done.promise])
    await Promise.all([
      monitor.execute('migrate-set-capabilities', { capabilities }),
      monitor.execute('migrate-incoming', { uri }, { timeoutMs: startTimeoutMs }).then(feed),
      // Before the end of that, it means: run then.
      runAtOnce && run(monitor, signal),
      done.promise,
    ])
    await Promise.all([
      withoutMemory && saveWhole(monitor),
      // A state that says that it was paused is not run by itself.
      runAtOnce && !resumed && run(monitor, signal),
    ])
  } finally {
    if (timer) clearInterval(timer)
    signal?.removeEventListener('abort', onAbort)
    machine.interceptors.delete(intercept)
  }
}

/** A save of it later has all of its memory, although it began without. */
export async function saveWhole(monitor: QmpClient): Promise<void> {
  await monitor.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'x-ignore-shared', state: false }],
  })
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

/** Before 8.2, QEMU opens memory for writing also where it never writes. */
function memoryAccess({ file, share }: MemoryFile, { version }: Emulator): FileAccess {
  return { path: file, write: share || !isAtLeast(version, '8.2'), what: 'memory' }
}

/** A disk that a template keeps as it is cannot be written to. */
function refuseFrozen({ frozen }: Context, { name, devices }: CompleteDefinition): void {
  for (const { file = '', device, readonly } of devices.disks) {
    const template = frozen.get(file)
    if (template !== undefined && device === 'disk' && !readonly)
      throw new VisorError('invalid-state', `Domain '${name}' would write to '${file}'.`, {
        object: { kind: 'domain', name },
        remedy: `The template '${template}' is based on it: use an overlay of it, or remove the template.`,
      })
  }
}
