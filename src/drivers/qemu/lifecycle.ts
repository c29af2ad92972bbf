/** Define, start, stop: what changes what there is and what runs. */
import { rm } from 'node:fs/promises'
import type {
  CallOptions,
  DestroyOptions,
  Domains,
  RestoreOptions,
  StartOptions,
  UndefineOptions,
} from '../../driver/index.ts'
import type { Domain, DomainDefinitionInput } from '../../model/index.ts'
import { VisorError } from '../../model/index.ts'
import { newGeneration, withGeneration } from './board/generation-id.ts'
import { refuseLinkedBases } from './clone/linked.ts'
import type { Context } from './context.ts'
import { completeDefinition } from './definition/definition.ts'
import { refuseUsedImages } from './disks/disk-locks.ts'
import { locateVolumes } from './disks/volume-disks.ts'
import { launch } from './machine/launch.ts'
import type { Machine } from './machine/machine.ts'
import { startAgain } from './machine/power.ts'
import { openSavedState } from './machine/saved-state.ts'
import type { Registry } from './registry.ts'

type Lifecycle = Required<
  Pick<
    Domains,
    | 'define'
    | 'undefine'
    | 'start'
    | 'destroy'
    | 'setProtection'
    | 'reset'
    | 'suspend'
    | 'resume'
    | 'setAutostart'
    | 'restore'
    | 'discardSaved'
  >
>

export function lifecycle(context: Context, registry: Registry): Lifecycle {
  const { paths } = context

  async function define(input: DomainDefinitionInput): Promise<Domain> {
    const same = input.uuid ? undefined : registry.defined.findByName(input.name)
    const identified = same ? Object.assign(input, { uuid: same.definition.uuid }) : input
    const definition = await completeDefinition(identified, context)
    const before = registry.defined.find(definition.uuid)
    if (before && before.definition.name !== definition.name && registry.machine(definition.uuid))
      throw new VisorError(
        'invalid-state',
        `Domain '${before.definition.name}' runs, so it cannot be renamed to '${definition.name}'.`,
        { remedy: 'Shut it down first.' },
      )
    await registry.defined.put({ autostart: false, ...before, definition })
    registry.tell(definition.uuid, { type: 'defined', reason: before ? 'updated' : 'added' })
    return registry.domain(definition.uuid)
  }

  async function undefine(uuid: string, { savedState = false }: UndefineOptions = {}): Promise<void> {
    const { name, devices } = registry.definition(uuid)
    if (registry.machine(uuid))
      throw new VisorError('invalid-state', `Domain '${name}' runs, so it cannot be undefined.`, {
        remedy: `Stop it first: 'visor destroy ${name}'.`,
      })
    refuseProtected(uuid, 'undefine')
    await refuseLinkedBases(context, registry, registry.definition(uuid), 'undefined')
    if (registry.isSaved(uuid) && !savedState)
      throw new VisorError('invalid-state', `Domain '${name}' has a saved state.`, {
        remedy: 'Start it to use the state up, or undefine it together with its saved state.',
      })
    const { saved, consoleDirectory, clone, nvram, tpm } = paths.of(uuid)
    const keepsTpm = devices.tpms.some(({ persistentState }) => persistentState)
    await registry.defined.remove(uuid)
    registry.forget(uuid)
    const whole = { recursive: true, force: true }
    await Promise.all([rm(saved, { force: true }), rm(consoleDirectory, whole), rm(clone, whole)])
    await Promise.all([rm(nvram, whole), keepsTpm ? undefined : rm(tpm, whole)])
    registry.tell(uuid, { type: 'undefined' }, name)
  }

  function refuseProtected(uuid: string, verb: 'undefine' | 'start'): void {
    const { definition, protectedFrom } = registry.defined.get(uuid)
    if (!protectedFrom?.includes(verb)) return
    const { name } = definition
    const what = verb === 'start' ? 'started' : 'undefined'
    throw new VisorError('invalid-state', `Domain '${name}' is protected from being ${what}.`, {
      object: { kind: 'domain', name },
      remedy: `Take the protection away first: 'visor protect ${name} --no-${verb}'.`,
    })
  }

  function refuseRunning(uuid: string): void {
    const { name } = registry.definition(uuid)
    const machine = registry.machine(uuid)
    if (machine)
      throw new VisorError('invalid-state', `Domain '${name}' is ${machine.state.state}, not shutoff.`, {
        object: { kind: 'domain', name },
        remedy: 'It runs already.',
      })
  }

  async function start(uuid: string, options: StartOptions = {}): Promise<void> {
    const { paused = false, discardSaved = false, signal, progress } = options
    refuseRunning(uuid)
    refuseProtected(uuid, 'start')
    const { saved } = paths.of(uuid)
    if (registry.isSaved(uuid) && !discardSaved)
      return restore(uuid, {
        ...(options.paused ? { paused } : {}),
        ...(signal ? { signal } : {}),
        ...(progress ? { progress } : {}),
      })
    if (registry.isSaved(uuid)) {
      await rm(saved, { force: true })
      registry.setSaved(uuid, false)
    }
    const definition = await locateVolumes(context, registry.definition(uuid))
    await refuseLinkedBases(context, registry, definition, 'started')
    await refuseUsedImages(definition, registry.machines())
    const request = { definition, id: registry.nextId(), paused, signal, tell: registry.tellFrom(uuid) }
    const machine = await launch(context, request).catch((error: unknown) => {
      registry.noteFailure(uuid, error)
      throw error
    })
    registry.admit(uuid, machine, { type: 'started', reason: 'booted' })
    if (paused) registry.tell(uuid, { type: 'suspended', reason: 'user' })
  }

  async function restore(
    uuid: string,
    { file, paused, signal, progress }: RestoreOptions = {},
  ): Promise<void> {
    refuseRunning(uuid)
    refuseProtected(uuid, 'start')
    await refuseLinkedBases(context, registry, registry.definition(uuid), 'started')
    const { name } = registry.definition(uuid)
    const own = paths.of(uuid).saved
    if (file === undefined && !registry.isSaved(uuid)) throw nothingSaved(name)
    const saved = await openSavedState(file ?? own)
    try {
      if (saved.machine.definition.uuid !== uuid)
        throw new VisorError(
          'invalid-argument',
          `'${file}' is the saved state of '${saved.machine.definition.name}', not of '${name}'.`,
        )
      const before = { ...saved.machine.definition, name }
      const generation = newGeneration()
      // A file stays, and may be gone on from once more.
      const definition = file === undefined ? before : withGeneration(before, generation)
      const machine = await launch(context, {
        definition,
        id: registry.nextId(),
        paused: paused ?? saved.machine.paused,
        incoming: { source: saved.file, id: saved.machine.id, sizeBytes: saved.sizeBytes },
        signal,
        progress,
        tell: registry.tellFrom(uuid),
      })
      if (file === undefined) registry.setSaved(uuid, false)
      if (file !== undefined) await keepGeneration(uuid, generation)
      registry.admit(uuid, machine, { type: 'started', reason: 'restored' })
      if (file === undefined) await rm(own, { force: true })
      // Only now: a daemon that finds the mark removes the state, which is used up.
      await machine.record({ restoring: undefined })
    } finally {
      await saved.file.close()
    }
  }

  /** The next start is not of the generation of before. */
  async function keepGeneration(uuid: string, generation: string): Promise<void> {
    const entry = registry.defined.get(uuid)
    const definition = withGeneration(entry.definition, generation)
    if (definition !== entry.definition) await registry.defined.put({ ...entry, definition })
  }

  async function destroy(uuid: string, { graceful = false }: DestroyOptions = {}): Promise<void> {
    const machine = registry.running(uuid)
    if (graceful) await quit(machine)
    await machine.kill('destroyed')
  }

  return {
    define,
    undefine,
    start,
    restore,
    destroy,
    async reset(uuid) {
      const machine = registry.running(uuid)
      const { state } = machine.state
      // One that was kept when its run had ended begins a new one.
      if (state === 'shutdown' || state === 'crashed') return startAgain(machine)
      await machine.monitor.execute('system_reset')
    },
    async suspend(uuid: string, _options?: CallOptions) {
      const machine = registry.running(uuid, ['running'])
      await machine.monitor.execute('stop')
    },
    async resume(uuid: string, _options?: CallOptions) {
      const machine = registry.running(uuid, ['paused', 'pmsuspended'])
      const { monitor, state } = machine
      await monitor.execute(state.state === 'pmsuspended' ? 'system_wakeup' : 'cont')
      if (machine.details.paused) await machine.record({ paused: false })
    },
    async discardSaved(uuid) {
      const { name } = registry.definition(uuid)
      if (!registry.isSaved(uuid)) throw nothingSaved(name)
      await rm(paths.of(uuid).saved, { force: true })
      registry.setSaved(uuid, false)
      registry.tell(uuid, { type: 'changed', reason: 'saved-state-discarded' })
    },
    async setProtection(uuid, { undefine: fromUndefine, start: fromStart }) {
      const entry = registry.defined.get(uuid)
      const before = new Set(entry.protectedFrom)
      const after = (['undefine', 'start'] as const).filter((verb) => {
        const wanted = verb === 'start' ? fromStart : fromUndefine
        return wanted ?? before.has(verb)
      })
      if (after.length === before.size && after.every((verb) => before.has(verb))) return
      await registry.defined.put({ ...entry, protectedFrom: after })
      registry.tell(uuid, { type: 'changed', reason: 'protection' })
    },
    async setAutostart(uuid, { enabled }) {
      const entry = registry.defined.get(uuid)
      if (entry.autostart === enabled) return
      await registry.defined.put({ ...entry, autostart: enabled })
      registry.tell(uuid, { type: 'changed', reason: 'autostart' })
    },
  }
}

function nothingSaved(name: string): VisorError {
  return new VisorError('invalid-state', `Domain '${name}' has no saved state.`, {
    remedy: `Save it while it runs: 'visor save ${name}'; or restore from the file of a saved state.`,
  })
}

/** Lets QEMU write out what it holds; whether it did or not, it is killed afterwards. */
async function quit(machine: Machine): Promise<void> {
  machine.expectEnd('destroyed')
  await machine.monitor.execute('quit', undefined, { timeoutMs: 5_000 }).catch(() => {})
  let timer: NodeJS.Timeout | undefined
  await Promise.race([machine.ended, new Promise((resolve) => (timer = setTimeout(resolve, 5_000)))])
  clearTimeout(timer)
}
