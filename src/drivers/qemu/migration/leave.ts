/**
 * The sending side; it drives the whole.
 *
 *     begin        prepare (there)       perform                          finish (there)        confirm
 *   ---------> preparing ---------> sending --last of it sent--> handed-over -----------> gone --kill--> off
 *                  |                   |                              |
 *                  '---- failed, cancelled, found so later -----------+-- there it never runs: it goes on here
 *                            it goes on here                          '-- no answer: it stands still, and asks again
 *
 * The phase is on record before what it names begins. Until `handed-over` the destination was not told to run the
 * guest, and never runs it by itself: whatever fails, it goes on here, and the destination's copy is thrown away.
 * In `handed-over` only the destination's word counts (see `arrive.ts`): it runs there, or it never will. Without a
 * word the guest stands still here, so that it never runs twice, until the destination answers or a user decides.
 */
import { randomUUID } from 'node:crypto'
import type {
  AdjustMigrationOptions,
  CompleteConnection,
  Domains,
  MigrateOptions,
  PrepareMigrationOptions,
  SettleMigrationOptions,
} from '../../../driver/index.ts'
import { type MigrationSummary, toVisorError, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { giveUpSending, resumeAfterSending } from '../machine/give-up-sending.ts'
import type { Leaving, Machine } from '../machine/machine.ts'
import type { Registry } from '../registry.ts'
import { addCredentials, queryMigrate, resetCapabilities, setCapabilities, sleep } from './channel.ts'
import { copyDisks, dropCopies, setCopySpeed } from './disks.ts'
import { checkOptions, definitionThere, planMigration, refuseLosing } from './plan.ts'
import { resumePostcopy } from './postcopy.ts'
import { cancelled, sendMachine, untilCompleted } from './send.ts'
import { type Watch, watchMigration } from './watch.ts'

export interface DeparturesOptions {
  readonly context: Context
  readonly registry: Registry
  readonly undefine: (uuid: string) => Promise<void>
  /** How many snapshots a domain has; they stay here. */
  readonly snapshotsOf: (uuid: string) => number
}

export interface Departures {
  readonly domains: Required<Pick<Domains, 'migrate' | 'adjustMigration' | 'settleMigration'>>
  close(): void
}

/** How long the destination is asked at once unless the configuration says, and how often later. */
const insistSeconds = 20
const askAgainMs = 5_000
/** The destination gives up on who does not ask for minutes. */
const stillThereMs = 2_000
/** A destination that says nothing for so long may be cut off. */
const answerMs = 30_000

type Verdict = 'there' | 'here'

export function openDepartures(options: DeparturesOptions): Departures {
  const { context, registry, undefine, snapshotsOf } = options
  const closing = new AbortController()

  for (const [, machine] of registry.machines()) if (machine.details.leaving) void settleFound(machine)

  function connect(to: string, token: string | undefined): Promise<CompleteConnection> {
    if (!context.connect)
      throw new VisorError('unsupported', 'This visor was opened without a way to reach other hosts.')
    return context.connect(to, token === undefined ? {} : { token })
  }

  async function migrate(uuid: string, options: MigrateOptions): Promise<MigrationSummary> {
    checkOptions(options)
    refuseSnapshots(uuid, options)
    if (options.offline) return moveDefinition(uuid, options)
    const started = performance.now()
    const machine = registry.running(uuid, ['running', 'paused'])
    const peer = await connect(options.to, options.token)
    try {
      return await move(machine, peer, options, started)
    } finally {
      await peer.close()
    }
  }

  /** What is kept of its snapshots here would be forgotten with it. */
  function refuseSnapshots(uuid: string, { undefineSource = false }: MigrateOptions): void {
    const { name } = registry.definition(uuid)
    if (!undefineSource || snapshotsOf(uuid) === 0) return
    throw new VisorError(
      'invalid-state',
      `Domain '${name}' has snapshots, which stay here and would be forgotten.`,
      {
        object: { kind: 'domain', name },
        remedy: 'Remove its snapshots first, or leave --undefine-source out.',
      },
    )
  }

  async function move(
    machine: Machine,
    peer: CompleteConnection,
    options: MigrateOptions,
    started: number,
  ): Promise<MigrationSummary> {
    const { signal, progress, paused = false } = options
    const { definition } = machine.details
    const before = machine.state
    const entry = registry.defined.get(definition.uuid)
    const id = randomUUID()
    refuseLosing(definition, context.paths.of(definition.uuid).clone, options)
    const plan = await planMigration(machine, entry.definition, options, id, entry.autostart)
    progress?.({ phase: 'preparing' })
    await begin(machine, options, plan.request)
    const watch = watchMigration(machine, signal)
    try {
      const sent = await perform(machine, peer, options, plan, watch).catch(async (error: unknown) => {
        await goOn(machine).catch((failure: unknown) => throwUnlessEnded(machine, failure))
        machine.setState(before)
        // Not waited for: the guest runs, and a destination that does not answer throws it away by itself.
        void withdraw(machine, peer, options, id)
        throw signal?.aborted ? cancelled(machine) : await explain(machine, error)
      })
      const stillRuns = before.state === 'running' && machine.state.state === 'running'
      progress?.({ phase: 'switching over' })
      await handOver(machine, peer, paused || !stillRuns, before)
      const downtimeMs = performance.now() - (watch.stoppedAt ?? started)
      const last =
        sent.status === 'completed'
          ? await queryMigrate(machine)
          : await untilCompleted(machine, watch, progress).catch((error: unknown) =>
              waitForPeer(machine, error),
            )
      await depart(machine)
      return {
        totalMs: Math.round(performance.now() - started),
        downtimeMs: watch.stoppedAt === undefined ? 0 : Math.round(downtimeMs),
        memoryBytes: last.transferred,
        diskBytes: sent.diskBytes,
        passes: last.passes,
        postcopy: watch.postcopied,
      }
    } finally {
      watch.close()
    }
  }

  async function begin(
    machine: Machine,
    options: MigrateOptions,
    { id, transport, address }: PrepareMigrationOptions,
  ): Promise<void> {
    const { to, token, paused = false, postcopy = false, undefineSource: undefine = false } = options
    const resume = machine.state.state === 'running'
    await machine.record({
      leaving: {
        id,
        to,
        ...(token === undefined ? {} : { token }),
        phase: 'preparing',
        resume,
        paused: paused || !resume,
        postcopy,
        undefine,
        channel: { transport, address },
      },
    })
  }

  function setPhase(machine: Machine, phase: Leaving['phase']): Promise<void> {
    const { leaving } = machine.details
    return leaving ? machine.record({ leaving: { ...leaving, phase } }) : Promise.resolve()
  }

  async function perform(
    machine: Machine,
    peer: CompleteConnection,
    options: MigrateOptions,
    { request, copies }: Awaited<ReturnType<typeof planMigration>>,
    watch: Watch,
  ) {
    const prepared = await peer.migrations.prepare(request)
    const asking = keepAsking(peer, request.id, watch)
    try {
      if (options.signal?.aborted) throw cancelled(machine)
      await setPhase(machine, 'sending')
      await setCapabilities(machine, options, 'source')
      const credentials = options.tls ? await addCredentials(context, machine, 'client') : undefined
      const { bandwidthMiBps, progress, signal } = options
      if (copies.length > 0)
        await copyDisks(machine, copies, {
          ...{ received: prepared.disks, credentials, bandwidthMiBps, progress, signal },
          watch,
        })
      return await sendMachine(machine, {
        ...options,
        ...{ uri: prepared.uri, copies, watch },
        beforeSwitch: () => setPhase(machine, 'handed-over'),
      })
    } finally {
      clearInterval(asking)
    }
  }

  /** The destination was not told to run it: it throws it away. */
  async function withdraw(
    machine: Machine,
    peer: Pick<CompleteConnection, 'migrations'>,
    { to, token }: Pick<MigrateOptions, 'to' | 'token'>,
    id: string,
  ): Promise<void> {
    try {
      await peer.migrations.cancel(id)
    } catch {
      const again = await connect(to, token).catch(() => undefined)
      await again?.migrations
        .cancel(id)
        .catch((error: unknown) =>
          context.log.warn(
            { domain: machine.details.definition.name, error: String(error) },
            'A destination could not be told that a migration was given up; it will find out.',
          ),
        )
      await again?.close()
    }
  }

  /** Resolves when it runs there; else it goes on here, or, without an answer, stands still. */
  async function handOver(
    machine: Machine,
    peer: CompleteConnection,
    paused: boolean,
    before: Machine['state'],
  ): Promise<void> {
    const { leaving } = machine.details
    if (!leaving) throw new VisorError('internal', 'There is no migration.')
    if (paused !== leaving.paused) await machine.record({ leaving: { ...leaving, paused } })
    const deadline = performance.now() + (context.migration.insistSeconds ?? insistSeconds) * 1000
    for (let asked: CompleteConnection | undefined = peer; ; ) {
      const verdict = asked && (await askOnce(asked, machine))
      if (asked !== peer) await asked?.close()
      if (verdict === 'there') return
      if (typeof verdict === 'object' && verdict.here) {
        await goOn(machine)
        machine.setState(before)
        throw verdict.here
      }
      if (performance.now() > deadline) break
      await sleep(500)
      asked = await within(connect(leaving.to, leaving.token)).catch(() => undefined)
    }
    throw doubt(machine)
  }

  /** `there`; or why it goes on here; or nothing, when nobody knows. */
  async function askOnce(
    peer: Pick<CompleteConnection, 'migrations'>,
    machine: Machine,
  ): Promise<'there' | { readonly here: VisorError } | undefined> {
    const { leaving, definition } = machine.details
    if (!leaving) return { here: new VisorError('internal', `Domain '${definition.name}' does not leave.`) }
    const { id, paused } = leaving
    try {
      await within(peer.migrations.finish(id, { paused }))
      return 'there'
    } catch (cause) {
      const error = toVisorError(cause)
      if (error.code === 'not-found') return { here: error }
      // What it says may be half the truth; whether it can still be given up is all of it.
      try {
        await within(peer.migrations.cancel(id))
        return { here: error }
      } catch (second) {
        const { code } = toVisorError(second)
        if (code === 'not-found') return { here: error }
        return code === 'invalid-state' ? 'there' : undefined
      }
    }
  }

  /** Stands still and asks again until somebody knows. */
  function doubt(machine: Machine): VisorError {
    const { definition, leaving } = machine.details
    const message = `Domain '${definition.name}' was handed over to ${leaving?.to}, which does not say whether it runs it.`
    const remedy = `It stands still here, and the other host is asked again every ${askAgainMs / 1000} s. When you know, decide: 'visor migrate ${definition.name} --settle=here' or '--settle=there'.`
    machine.setState({ state: 'paused', reason: 'migrating', message: `${message} ${remedy}` })
    registry.tell(definition.uuid, { type: 'suspended', reason: 'migrating', message })
    void askLater(machine)
    return new VisorError('unavailable', message, {
      remedy,
      object: { kind: 'domain', name: definition.name },
    })
  }

  /** The rest of its memory goes when the other host is there again. */
  function waitForPeer(machine: Machine, error: unknown): never {
    if (error instanceof VisorError && error.code === 'unavailable') {
      const message = `${error.message} ${error.remedy ?? ''}`.trim()
      machine.setState({ state: 'paused', reason: 'migrating', message })
      registry.tell(machine.details.definition.uuid, { type: 'suspended', reason: 'migrating', message })
      void askLater(machine)
    }
    throw error
  }

  async function askLater(machine: Machine): Promise<void> {
    const inDoubt = () => machine.details.leaving?.phase === 'handed-over' && !closing.signal.aborted
    let gone = false
    void machine.ended.then(() => {
      gone = true
    })
    while (inDoubt() && !gone) {
      await sleepUnless(askAgainMs, closing.signal)
      if (!inDoubt() || gone) return
      await settleByPeer(machine).catch((error: unknown) =>
        context.log.debug(
          { domain: machine.details.definition.name, error: String(error) },
          'Still in doubt.',
        ),
      )
    }
  }

  /** Asks once; fails with `unavailable` when nobody knows. */
  async function settleByPeer(machine: Machine, token = machine.details.leaving?.token): Promise<Verdict> {
    const { leaving, definition } = machine.details
    if (!leaving) return 'here'
    const peer = await within(connect(leaving.to, token))
    try {
      const verdict = await askOnce(peer, machine)
      if (verdict === undefined)
        throw new VisorError(
          'unavailable',
          `${leaving.to} does not say whether it runs '${definition.name}'.`,
        )
      if (verdict === 'there') await leaveFor(machine, peer)
      else await stay(machine)
      return verdict === 'there' ? 'there' : 'here'
    } finally {
      await peer.close()
    }
  }

  /** It runs there: what is left of it here is ended. */
  async function leaveFor(machine: Machine, peer: CompleteConnection): Promise<void> {
    if (machine.details.leaving?.postcopy) {
      await resumePostcopy(machine, peer)
      const watch = watchMigration(machine, closing.signal)
      await untilCompleted(machine, watch).finally(() => watch.close())
    }
    await depart(machine)
  }

  /** It never runs there. */
  async function stay(machine: Machine): Promise<void> {
    const { uuid } = machine.details.definition
    const resume = machine.details.leaving?.resume ?? false
    await goOn(machine)
    machine.setState(resume ? { state: 'running', reason: 'resumed' } : { state: 'paused', reason: 'user' })
    if (resume) registry.tell(uuid, { type: 'resumed', reason: 'migrating' })
  }

  /** Lets the guest go on here as if nothing had been. */
  async function goOn(machine: Machine): Promise<void> {
    const { monitor, leaving } = gathered(machine)
    if (!monitor) return
    await giveUpSending(monitor)
    await dropCopies(machine)
    await resetCapabilities(machine)
    if (leaving?.resume) await resumeAfterSending(monitor)
    await machine.record({ leaving: undefined })
  }

  async function depart(machine: Machine): Promise<void> {
    const { definition, leaving } = machine.details
    const { uuid } = definition
    await setPhase(machine, 'gone')
    await machine.kill('migrated')
    if (leaving?.undefine) {
      await undefine(uuid).catch((error: unknown) =>
        context.log.warn(
          { domain: definition.name, error: String(error) },
          'A domain that has left stays defined.',
        ),
      )
      return
    }
    // It would start with this host while it runs at the other.
    const entry = registry.defined.find(uuid)
    if (entry?.autostart) await registry.defined.put({ ...entry, autostart: false })
  }

  /** What a daemon before has left behind. */
  async function settleFound(machine: Machine): Promise<void> {
    const { leaving, definition } = machine.details
    if (!leaving) return
    context.log.warn({ domain: definition.name, phase: leaving.phase }, 'A migration was cut off.')
    try {
      if (leaving.phase === 'gone') return await depart(machine)
      if (leaving.phase === 'handed-over') {
        machine.setState({ state: 'paused', reason: 'migrating' })
        await settleByPeer(machine).catch(() => doubt(machine))
        return
      }
      await stay(machine)
      const peer = await connect(leaving.to, leaving.token)
      await withdraw(machine, peer, leaving, leaving.id).finally(() => peer.close())
    } catch (error) {
      context.log.warn(
        { domain: definition.name, error: String(error) },
        'A migration that was cut off left something behind.',
      )
    }
  }

  async function adjustMigration(uuid: string, options: AdjustMigrationOptions): Promise<void> {
    const machine = registry.running(uuid)
    const { leaving, definition } = machine.details
    const { bandwidthMiBps, maxDowntimeMs, postcopy } = options
    if (!leaving) throw new VisorError('invalid-state', `Domain '${definition.name}' is not being migrated.`)
    if (postcopy && !leaving.postcopy)
      throw new VisorError(
        'invalid-state',
        `The migration of domain '${definition.name}' was begun without postcopy.`,
        {
          remedy: "Begin it with 'visor migrate --postcopy'.",
        },
      )
    const parameters = {
      ...(bandwidthMiBps === undefined ? {} : { 'max-bandwidth': bandwidthMiBps * 2 ** 20 }),
      ...(maxDowntimeMs === undefined ? {} : { 'downtime-limit': maxDowntimeMs }),
    }
    if (Object.keys(parameters).length > 0)
      await machine.monitor.execute('migrate-set-parameters', parameters)
    if (bandwidthMiBps !== undefined) await setCopySpeed(machine, bandwidthMiBps)
    if (postcopy) await machine.monitor.execute('migrate-start-postcopy')
  }

  async function settleMigration(uuid: string, options: SettleMigrationOptions = {}) {
    const { outcome = 'ask', token } = options
    const machine = registry.machine(uuid)
    const { name } = registry.definition(uuid)
    if (machine?.details.leaving?.phase !== 'handed-over')
      throw new VisorError('invalid-state', `There is no migration of domain '${name}' in doubt.`, {
        object: { kind: 'domain', name },
      })
    if (outcome === 'here') await stay(machine)
    else if (outcome === 'there') await depart(machine)
    else await settleByPeer(machine, token)
    return registry.defined.find(uuid) ? registry.domain(uuid) : describeGone(machine, name)
  }

  function describeGone({ details }: Machine, name: string) {
    const { uuid, type, vcpus, memoryKiB } = details.definition
    const counts = { vcpus, memoryKiB, maxMemoryKiB: memoryKiB }
    const flags = { persistent: false, autostart: false, saved: false }
    return {
      uuid,
      name,
      type,
      ...counts,
      ...flags,
      driver: 'qemu',
      state: 'shutoff',
      reason: 'migrated',
    } as const
  }

  /** Of a domain that is off: its definition, and nothing else. */
  async function moveDefinition(uuid: string, options: MigrateOptions): Promise<MigrationSummary> {
    const started = performance.now()
    const { definition } = registry.defined.get(uuid)
    const machine = registry.machine(uuid)
    if (machine || registry.isSaved(uuid))
      throw new VisorError(
        'invalid-state',
        `Domain '${definition.name}' ${machine ? 'runs' : 'has a saved state'}, so it cannot be moved as one that is off.`,
        {
          object: { kind: 'domain', name: definition.name },
          remedy: machine ? 'Leave --offline out.' : 'Start it, or drop the saved state.',
        },
      )
    if ((options.copyStorage ?? 'none') !== 'none')
      throw new VisorError('unsupported-config', 'The disks of a domain that is off are not copied.', {
        remedy: 'Start it and migrate it, or copy its disks before.',
      })
    const peer = await connect(options.to, options.token)
    try {
      const { emulator: _, ...devices } = definition.devices
      const there = definitionThere({ ...definition, devices } as CompleteDefinition, options)
      await peer.domains.define(there, { ifNoneMatch: '*' })
    } finally {
      await peer.close()
    }
    if (options.undefineSource) await undefine(uuid)
    return { totalMs: Math.round(performance.now() - started), downtimeMs: 0, postcopy: false }
  }

  return {
    domains: { migrate, adjustMigration, settleMigration },
    close: () => closing.abort(),
  }
}

/** Says that we are still there, and learns early that the destination is not. */
function keepAsking({ migrations }: CompleteConnection, id: string, watch: Watch): NodeJS.Timeout {
  const ask = () =>
    migrations.get(id).catch((error: unknown) => {
      if (error instanceof VisorError && error.code === 'not-found')
        watch.fail(
          new VisorError('failed', 'The destination has given the migration up: its QEMU has ended.'),
        )
    })
  return setInterval(() => void ask(), stillThereMs).unref()
}

/** What a peer answers in time; fails with `timeout` when it says nothing. */
async function within<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new VisorError('timeout', `The other visord said nothing for ${answerMs / 1000} s.`)),
      answerMs,
    )
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Of a machine whose QEMU has ended nothing can go on. */
async function throwUnlessEnded({ ended }: Machine, failure: unknown): Promise<void> {
  if (!(await Promise.race([ended.then(() => true), sleep(1_000).then(() => false)]))) throw failure
}

/** A machine that ended meanwhile says more than what its monitor's end looked like. */
async function explain({ details, ended }: Machine, error: unknown): Promise<unknown> {
  if (!(error instanceof VisorError) || error.code !== 'unavailable') return error
  const end = await Promise.race([ended, sleep(500).then(() => undefined)])
  if (!end) return error
  const { name } = details.definition
  return new VisorError(
    'failed',
    `Domain '${name}' ended while it was migrated. ${end.message ?? ''}`.trim(),
    {
      cause: error,
      object: { kind: 'domain', name },
    },
  )
}

/** The monitor of a machine, if it still has one. */
function gathered(machine: Machine) {
  const { leaving } = machine.details
  try {
    return { monitor: machine.monitor, leaving }
  } catch {
    return { monitor: undefined, leaving }
  }
}

async function sleepUnless(timeoutMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, timeoutMs).unref()
  const onAbort = () => resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await promise
  clearTimeout(timer)
  signal.removeEventListener('abort', onAbort)
}
