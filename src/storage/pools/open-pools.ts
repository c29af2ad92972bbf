/** The pools of this host: which are known, and which are there. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CallOptions, EventHub, Log, Pools } from '../../driver/index.ts'
import {
  notFound,
  type Pool,
  type PoolDefinition,
  parse,
  PoolDefinition as Schema,
  toVisorError,
  VisorError,
} from '../../model/index.ts'
import { type OneAtATime, oneAtATime } from '../one-at-a-time.ts'
import type { SecretValues } from '../secrets/open-secrets.ts'
import type { PoolBackend } from './backend.ts'
import { checkPool, openBackend } from './backends.ts'
import type { DefinedPool, DefinedPools } from './defined-pools.ts'

export interface OpenPoolsOptions {
  readonly stateDirectory: string
  readonly runtimeDirectory: string
  readonly defined: DefinedPools
  readonly secrets: SecretValues
  readonly hub: EventHub
  readonly log: Log
}

/** A pool that is there. */
export interface LivePool {
  readonly uuid: string
  readonly name: string
  readonly backend: PoolBackend
}

export interface OpenedPools {
  readonly operations: Pools
  /** A pool that is active; one that starts with the host is started, unless somebody stopped it. Fails with `not-found`, `invalid-state`. */
  use(pool: string): Promise<LivePool>
  /** All that are active. */
  live(): readonly LivePool[]
  /** Work in a pool that must not end meanwhile. */
  readonly within: <T>(uuid: string, work: () => Promise<T>) => Promise<T>
  autostart(): Promise<void>
}

const defaultName = 'default'

/** Finds what a daemon before had started; a pool that went away meanwhile is no longer active. */
export async function openPools(options: OpenPoolsOptions): Promise<OpenedPools> {
  const { stateDirectory, runtimeDirectory, defined, secrets, hub, log } = options
  const marks = join(runtimeDirectory, 'pools')
  const live = new Map<string, LivePool>()
  const alone: OneAtATime = oneAtATime()
  const users = new Map<string, number>()
  /** Somebody stopped them: they do not start by being used. */
  const stopped = new Set<string>()

  const backendOf = ({ definition }: DefinedPool): PoolBackend =>
    openBackend(definition, { notes: defined.notesOf(definition.uuid), secrets })

  async function adopt(uuid: string): Promise<void> {
    const pool = defined.find(uuid)
    const backend = pool && backendOf(pool)
    if (pool && backend && (await backend.isThere().catch(() => false))) {
      const { name } = pool.definition
      await backend.tidy?.().catch((error: unknown) => {
        log.warn({ pool: name, error }, 'What was left half made in a pool could not be removed.')
      })
      live.set(uuid, { uuid, name, backend })
    } else await rm(join(marks, uuid), { force: true })
  }

  for (const uuid of await readdir(marks).catch(() => [])) await adopt(uuid)

  let defaultMade: Promise<void> | undefined
  /** The pool `default` is there without being made, until somebody removes it. */
  async function makeDefault(): Promise<void> {
    if (defined.knowsDefault) return
    defaultMade ??= (async () => {
      const path = join(stateDirectory, 'volumes')
      const definition = parse(Schema, {
        type: 'dir',
        name: defaultName,
        uuid: crypto.randomUUID(),
        path,
        permissions: { mode: '0700' },
      })
      await defined.put({ definition: withUuid(definition), autostart: true })
    })().finally(() => {
      defaultMade = undefined
    })
    await defaultMade
  }

  async function find(pool: string): Promise<DefinedPool> {
    await makeDefault()
    const found = defined.find(pool)
    if (!found) throw notFound('pool', pool)
    return found
  }

  function tell(type: string, { uuid, name }: { readonly uuid: string; readonly name: string }): void {
    hub.emit({ kind: 'pool', type, uuid, name })
  }

  async function start(pool: DefinedPool, build: boolean, call: CallOptions): Promise<LivePool> {
    const { uuid, name } = pool.definition
    const backend = backendOf(pool)
    if (build) await backend.build?.(call)
    await mkdir(marks, { recursive: true, mode: 0o700 })
    // On record before it is there: a daemon that comes after a crash finds what is mounted.
    await writeFile(join(marks, uuid), '')
    try {
      await backend.start(call)
    } catch (error) {
      await rm(join(marks, uuid), { force: true })
      throw error
    }
    const started = { uuid, name, backend }
    live.set(uuid, started)
    stopped.delete(uuid)
    tell('started', started)
    return started
  }

  async function describe({ definition, autostart }: DefinedPool): Promise<Pool> {
    const { uuid, name, type, path } = definition
    const there = live.get(uuid)
    const state = there && (await stateOf(there))
    return {
      ...{ uuid, name, type, autostart, active: there !== undefined },
      ...(path === undefined ? {} : { path }),
      ...state,
    }
  }

  async function use(pool: string): Promise<LivePool> {
    const found = await find(pool)
    const { uuid, name } = found.definition
    const there = live.get(uuid)
    if (there) return there
    if (!found.autostart || stopped.has(uuid))
      throw new VisorError('invalid-state', `The pool '${name}' is not active.`, {
        object: { kind: 'pool', name },
        remedy: `Start it: visor pool start ${name}.`,
      })
    return alone(uuid, async () => live.get(uuid) ?? start(found, name === defaultName, {}))
  }

  function refuseActive({ uuid, name }: DefinedPool['definition'], remedy: string): void {
    if (live.has(uuid))
      throw new VisorError('invalid-state', `The pool '${name}' is active.`, {
        object: { kind: 'pool', name },
        remedy,
      })
  }

  const stopFirst = (name: string) => `Stop it first: 'visor pool stop ${name}'.`

  const operations: Pools = {
    async list() {
      await makeDefault()
      return Promise.all(defined.all().map(describe))
    },
    get: async (pool) => describe(await find(pool)),
    describe: async (pool) => structuredClone((await find(pool)).definition),
    async define(given) {
      await makeDefault()
      // Checked and completed with its defaults by who calls.
      const definition = given as PoolDefinition
      checkPool(definition)
      const before = defined.find(definition.uuid ?? definition.name)
      const uuid = before?.definition.uuid ?? definition.uuid ?? crypto.randomUUID()
      return alone(uuid, async () => {
        if (before) refuseActive(before.definition, stopFirst(before.definition.name))
        refuseOverlap(definition, uuid, defined.all())
        const pool = { definition: { ...definition, uuid }, autostart: before?.autostart ?? false }
        await defined.put(pool)
        tell('defined', pool.definition)
        return describe(pool)
      })
    },
    async undefine(pool) {
      const { definition } = await find(pool)
      await alone(definition.uuid, async () => {
        refuseActive(definition, stopFirst(definition.name))
        await defined.remove(definition.uuid)
        tell('undefined', definition)
      })
    },
    async build(pool, { overwrite = false, signal, progress } = {}) {
      const found = await find(pool)
      await alone(found.definition.uuid, async () => {
        refuseActive(found.definition, stopFirst(found.definition.name))
        await backendOf(found).build?.({
          overwrite,
          ...(signal && { signal }),
          ...(progress && { progress }),
        })
        tell('built', found.definition)
      })
    },
    async start(pool, { build = false, signal } = {}) {
      const found = await find(pool)
      await alone(found.definition.uuid, async () => {
        refuseActive(found.definition, 'Nothing is to be done.')
        await start(found, build, { ...(signal && { signal }) })
      })
    },
    async refresh(pool) {
      const { uuid, backend, name } = await use(pool)
      if (!(await backend.isThere())) {
        live.delete(uuid)
        await rm(join(marks, uuid), { force: true })
        throw new VisorError('unavailable', `What the pool '${name}' is made of is gone.`, {
          object: { kind: 'pool', name },
          remedy: `Bring it back, and start the pool: visor pool start ${name}.`,
        })
      }
      await backend.volumes.list()
      tell('refreshed', { uuid, name })
    },
    async destroy(pool) {
      const { definition } = await find(pool)
      const { uuid, name } = definition
      await alone(uuid, async () => {
        const there = live.get(uuid)
        if (!there)
          throw new VisorError('invalid-state', `The pool '${name}' is not active.`, {
            object: { kind: 'pool', name },
          })
        if ((users.get(uuid) ?? 0) > 0)
          throw new VisorError('busy', `Volumes of the pool '${name}' are being made, copied or wiped.`, {
            object: { kind: 'pool', name },
            remedy: "Wait for that to end, or give it up: 'visor jobs'.",
          })
        live.delete(uuid)
        stopped.add(uuid)
        try {
          await there.backend.stop()
        } catch (error) {
          live.set(uuid, there)
          throw error
        }
        await rm(join(marks, uuid), { force: true })
        tell('stopped', definition)
      })
    },
    async delete(pool) {
      const found = await find(pool)
      await alone(found.definition.uuid, async () => {
        refuseActive(found.definition, stopFirst(found.definition.name))
        await backendOf(found).delete?.()
        tell('deleted', found.definition)
      })
    },
    async setAutostart(pool, { enabled }) {
      const { definition } = await find(pool)
      await alone(definition.uuid, () => defined.put({ definition, autostart: enabled }))
    },
  }

  return {
    operations,
    use,
    live: () => [...live.values()],
    async within(uuid, work) {
      users.set(uuid, (users.get(uuid) ?? 0) + 1)
      try {
        return await work()
      } finally {
        users.set(uuid, (users.get(uuid) ?? 1) - 1)
      }
    },
    async autostart() {
      await makeDefault()
      for (const { definition, autostart } of defined.all())
        if (autostart && !live.has(definition.uuid))
          await use(definition.uuid).catch((error: unknown) =>
            log.error(
              { pool: definition.name, error: toVisorError(error).message },
              'A pool could not be started.',
            ),
          )
    },
  }
}

const withUuid = (definition: PoolDefinition) => ({
  ...definition,
  uuid: definition.uuid ?? crypto.randomUUID(),
})

/** What can only be told of a pool that is there. */
async function stateOf({ backend }: LivePool): Promise<Partial<Pool>> {
  try {
    const [usage, volumes] = await Promise.all([backend.usage(), backend.volumes.list()])
    return { ...usage, volumes: volumes.length }
  } catch (error) {
    return { message: toVisorError(error).message }
  }
}

/** Fails with `already-exists` when another pool has the same folder. */
function refuseOverlap({ path, name }: PoolDefinition, uuid: string, others: readonly DefinedPool[]): void {
  if (path === undefined) return
  const twin = others.find(({ definition }) => definition.uuid !== uuid && definition.path === path)
  if (twin)
    throw new VisorError(
      'already-exists',
      `The pool '${twin.definition.name}' has the folder '${path}' already.`,
      {
        object: { kind: 'pool', name },
        remedy: 'Choose another folder.',
      },
    )
}
