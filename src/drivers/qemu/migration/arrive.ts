/**
 * The receiving side.
 *
 *     prepare            finish
 *   ----------> waiting ---------> told (durable) --cont--> runs, an ordinary domain
 *                  |
 *                  '--- cancel, QEMU ends, nobody asks for long, or found so by a later daemon ---> nothing is left
 *
 * Only `told` decides: before it the guest never ran here and never will unless told, so whoever asks for a
 * migration that is not known here gets `not-found`, and may let the guest go on where it came from. From `told` on
 * it is never run anywhere else, also when this host fails a moment later.
 */
import { rm } from 'node:fs/promises'
import type { Migrations, PrepareMigrationOptions, RecoverMigrationOptions } from '../../../driver/index.ts'
import { bootId } from '../../../host/index.ts'
import { type Migration, notFound, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import { type CompleteDefinition, completeDefinition } from '../definition/definition.ts'
import { makeSecretFiles } from '../machine/guest-files.ts'
import { launch } from '../machine/launch.ts'
import type { Machine } from '../machine/machine.ts'
import type { Registry } from '../registry.ts'
import { queryMigrate, sleep } from './channel.ts'
import { checkCpuFeatures } from './cpu-features.ts'
import { checkDisks, makeDisks, pairDisks, removeDisks } from './destination-disks.ts'
import { checkGuestAbi } from './guest-abi.ts'
import { type Listening, listen, listenForMemory } from './listen.ts'
import { tellOfBreaks } from './postcopy.ts'
import { type ArrivalRecord, openArrivalRecords } from './records.ts'

/** A source that does not ask for so long has given up; it asks every few seconds. */
const leaseMs = 300_000
const contTimeoutMs = 60_000

export interface Arrivals {
  readonly migrations: Required<Migrations>
  close(): void
}

/** Opens them: finishes what was handed over to a daemon before, and removes the rest. */
export async function openArrivals(context: Context, registry: Registry): Promise<Arrivals> {
  const records = await openArrivalRecords(context.store)
  const waiting = new Map<string, { machine: Machine; where: Listening; askedAt: number }>()
  /** Names and uuids of domains whose preparation is under way. */
  const reserved = new Set<string>()

  for (const machine of registry.takeArrivals()) await settleFound(machine)
  for (const record of records.all()) {
    if (record.phase === 'waiting') await forget(record)
    else if (!record.done) await keepDomain(record)
  }

  /** One that a daemon before has left behind. */
  async function settleFound(machine: Machine): Promise<void> {
    const record = records.find(machine.details.arriving?.id ?? '')
    if (record?.phase !== 'told') return machine.kill('failed')
    try {
      await run(machine, record)
    } catch (error) {
      context.log.error(
        { domain: record.name, error: String(error) },
        'A domain that was handed over to this host does not run.',
      )
      await machine.kill('failed')
    }
  }

  /** Told, and no more known of it: it was cut short here, and has left its source. */
  async function keepDomain(record: ArrivalRecord): Promise<void> {
    const { definition, autostart, uuid } = record
    if (!registry.defined.find(uuid)) await registry.defined.put({ definition, autostart })
    await records.put({ ...record, done: true })
  }

  async function forget({ id, files }: ArrivalRecord): Promise<void> {
    waiting.delete(id)
    await removeDisks(files)
    await records.remove(id)
  }

  async function prepare(options: PrepareMigrationOptions): Promise<Migration> {
    const altered = await context.hooks.alter('migrate', options.definition)
    if (altered !== options.definition)
      checkGuestAbi(options.definition, altered, 'The hook for migration at the destination')
    const definition = await completeHere(context, { ...altered, name: options.definition.name })
    const inactive = options.inactive && (await completeHere(context, options.inactive))
    if (records.find(options.id))
      throw new VisorError('already-exists', `There is already a migration ${options.id}.`)
    refuseTaken(registry, definition)
    const places = [definition.name, definition.uuid]
    if (places.some((place) => reserved.has(place))) throw takenName(definition.name)
    for (const place of places) reserved.add(place)
    try {
      return await receive(options, definition, inactive)
    } finally {
      for (const place of places) reserved.delete(place)
    }
  }

  async function receive(
    options: PrepareMigrationOptions,
    definition: CompleteDefinition,
    inactive: CompleteDefinition | undefined,
  ): Promise<Migration> {
    const { id, boot, unsafe = false, signal } = options
    const disks = pairDisks({ ...options, definition })
    const paths = context.paths.of(definition.uuid)
    await checkDisks(context, disks, boot === bootId(), unsafe)
    const record: ArrivalRecord = {
      id,
      uuid: definition.uuid,
      name: definition.name,
      phase: 'waiting',
      createdAt: new Date().toISOString(),
      files: disks.flatMap(({ path, asked }) => (asked.copy === 'none' ? [] : [path])),
      definition: inactive ?? definition,
      autostart: options.autostart ?? false,
    }
    await records.put(record)
    try {
      await makeSecretFiles(context, definition, paths)
      await makeDisks(disks, paths)
      let where: Listening = { uri: '', disks: [] }
      const machine = await launch(context, {
        definition,
        id: registry.nextId(),
        paused: true,
        tell: registry.tellFrom(definition.uuid),
        details: { arriving: { id } },
        signal,
        listen: async (listening) => {
          await checkCpuFeatures(listening, options.cpuFeatures ?? [])
          where = await listen(context, listening, options, disks)
        },
      })
      machine.setState({ state: 'paused', reason: 'migrating' })
      registry.hold(definition.uuid, machine)
      waiting.set(id, { machine, where, askedAt: performance.now() })
      void machine.ended.then(() => giveUp(id, machine))
      return describe(record)
    } catch (error) {
      await rm(paths.directory, { recursive: true, force: true })
      await forget(record)
      throw error
    }
  }

  /** Its QEMU has ended before it was handed over. */
  async function giveUp(id: string, machine: Machine): Promise<void> {
    const record = records.find(id)
    if (record?.phase !== 'waiting' || waiting.get(id)?.machine !== machine || closed) return
    await forget(record).catch((error: unknown) =>
      context.log.warn({ domain: record.name, error: String(error) }, 'A migration left something behind.'),
    )
  }

  async function finish(id: string, { paused = false }: { readonly paused?: boolean } = {}): Promise<void> {
    const record = records.find(id)
    if (!record) throw notFound('migration', id)
    if (record.phase === 'told') return
    const { machine } = waiting.get(id) ?? {}
    if (!machine) throw notFound('migration', id)
    await received(machine, record)
    const other = registry.defined.findByName(record.name)
    if (other && other.definition.uuid !== record.uuid) throw takenName(record.name)
    const told: ArrivalRecord = { ...record, phase: 'told', ...(paused ? { paused } : {}) }
    await records.put(told)
    waiting.delete(id)
    try {
      await run(machine, told)
    } catch (error) {
      // QEMU said no, so it has not run. Of one that says nothing nobody knows.
      const refused = error instanceof VisorError && error.code === 'failed'
      await machine.kill('failed')
      if (refused) await forget(told)
      else registry.noteFailure(record.uuid, error)
      throw error
    }
  }

  /** From here on it is an ordinary domain of this host. */
  async function run(machine: Machine, record: ArrivalRecord): Promise<void> {
    const { uuid, definition, autostart, paused = false } = record
    const { monitor } = machine
    tellOfBreaks(machine, registry)
    const stopServing = monitor.execute('nbd-server-stop').catch(() => {})
    const going = paused ? undefined : monitor.execute('cont', undefined, { timeoutMs: contTimeoutMs })
    await Promise.all([stopServing, going])
    machine.setState(
      paused ? { state: 'paused', reason: 'migrated' } : { state: 'running', reason: 'migrated' },
    )
    await Promise.all([
      machine.record({ arriving: undefined, paused, startedAt: new Date().toISOString() }),
      registry.defined.put({ ...registry.defined.find(uuid), definition, autostart }),
    ])
    await records.put({ ...record, done: true })
    registry.tell(uuid, { type: 'defined', reason: 'migrated' })
    registry.admit(uuid, machine, { type: 'started', reason: 'migrated' })
    if (paused) registry.tell(uuid, { type: 'suspended', reason: 'migrated' })
  }

  async function cancel(id: string): Promise<void> {
    const record = records.find(id)
    if (!record) return
    if (record.phase === 'told')
      throw new VisorError('invalid-state', `Domain '${record.name}' was handed over to this host already.`)
    const machine = waiting.get(id)?.machine
    waiting.delete(id)
    await machine?.kill('failed')
    await forget(record)
  }

  async function recover(id: string, options: RecoverMigrationOptions): Promise<Migration> {
    const record = records.find(id)
    if (!record) throw notFound('migration', id)
    const machine = registry.machine(record.uuid)
    if (!machine || record.phase !== 'told') throw notFound('migration', id)
    const { status } = await queryMigrate(machine)
    if (status !== 'postcopy-paused')
      throw new VisorError(
        'invalid-state',
        `The migration of domain '${record.name}' is not broken: ${status}.`,
        {
          object: { kind: 'domain', name: record.name },
        },
      )
    tellOfBreaks(machine, registry)
    const uri = await listenForMemory(context, machine, options, 'migrate-recover').catch(
      (error: unknown) => {
        // Somebody asked before, and then did not come.
        const known = recovering.get(machine)
        if (known === undefined || !/triggered already/iu.test(String(error))) throw error
        return known
      },
    )
    recovering.set(machine, uri)
    return { ...(await describe(record)), uri }
  }
  const recovering = new WeakMap<Machine, string>()

  async function describe(record: ArrivalRecord): Promise<Migration> {
    const { id, uuid, name, createdAt } = record
    const { machine, where } = waiting.get(id) ?? {}
    return {
      id,
      domain: uuid,
      name,
      createdAt,
      phase: record.phase === 'told' ? 'finished' : machine ? await phaseOf(machine) : 'prepared',
      uri: where?.uri ?? '',
      disks: [...(where?.disks ?? [])],
    }
  }

  let closed = false
  const lease = setInterval(() => {
    for (const [id, { askedAt, machine }] of waiting) {
      if (performance.now() - askedAt < leaseMs) continue
      context.log.warn(
        { domain: machine.details.definition.name },
        'The source of a migration does not ask for it any more: it is given up.',
      )
      void cancel(id).catch(() => {})
    }
  }, leaseMs / 10).unref()

  return {
    migrations: {
      prepare,
      finish,
      recover,
      cancel,
      list: () =>
        Promise.all(
          records
            .all()
            .filter(({ phase }) => phase === 'waiting')
            .map(describe),
        ),
      async get(id) {
        const record = records.find(id)
        if (!record) throw notFound('migration', id)
        const entry = waiting.get(id)
        if (entry) entry.askedAt = performance.now()
        return describe(record)
      },
    },
    close() {
      closed = true
      clearInterval(lease)
    },
  }
}

/** As a define here would; with the emulator of this host where that of the source is not here. */
async function completeHere(
  context: Context,
  definition: PrepareMigrationOptions['definition'],
): Promise<CompleteDefinition> {
  const { devices, os } = definition
  const found = await context.findEmulator(os.arch ?? 'x86_64', devices.emulator)
  const { emulator: _, ...others } = devices
  return completeDefinition(found ? definition : { ...definition, devices: others }, context)
}

function refuseTaken(registry: Registry, { uuid, name }: CompleteDefinition): void {
  const machine = registry.machine(uuid)
  if (machine)
    throw new VisorError(
      'invalid-state',
      `Domain '${name}' is ${machine.state.state} at the destination already.`,
      {
        object: { kind: 'domain', name },
      },
    )
  const other = registry.defined.findByName(name)
  if (other && other.definition.uuid !== uuid) throw takenName(name)
  if (registry.isSaved(uuid))
    throw new VisorError('invalid-state', `The destination has a saved state of domain '${name}'.`, {
      object: { kind: 'domain', name },
      remedy: `Drop it there first: 'visor discard-saved ${name}'.`,
    })
}

function takenName(name: string): VisorError {
  return new VisorError('already-exists', `There is already another domain '${name}' at the destination.`, {
    object: { kind: 'domain', name },
    remedy: "Give it another name there: 'visor migrate --name NAME'.",
  })
}

/** Resolves when the state is here, whole or, after the switch of a postcopy, as far as it takes to run. */
async function received(machine: Machine, { name }: ArrivalRecord): Promise<void> {
  const ended = machine.ended.then(({ message }) => {
    throw new VisorError(
      'failed',
      `The destination could not take domain '${name}' over. ${message ?? ''}`.trim(),
    )
  })
  ended.catch(() => {})
  for (;;) {
    const answer = await Promise.race([ended, machine.monitor.execute('query-status').catch(() => ended)])
    const { status } = (answer ?? {}) as { status?: string }
    if (status !== 'inmigrate' && status !== 'prelaunch') return
    await Promise.race([ended, sleep(1)])
  }
}

async function phaseOf(machine: Machine): Promise<Migration['phase']> {
  const { status } = await queryMigrate(machine).catch(() => ({ status: 'failed' }))
  if (status === 'completed' || status === 'postcopy-active') return 'received'
  return status === 'failed' ? 'failed' : status === 'active' ? 'receiving' : 'prepared'
}
