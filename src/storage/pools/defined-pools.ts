/** Pools as they are kept: read once, written through to the store. */
import type { Store } from '../../driver/index.ts'
import { type PoolDefinition, VisorError } from '../../model/index.ts'
import type { VolumeNote, VolumeNotes } from '../volumes/store.ts'

export interface DefinedPool {
  readonly definition: PoolDefinition & { readonly uuid: string }
  readonly autostart: boolean
}

export interface DefinedPools {
  /** By name. */
  all(): readonly DefinedPool[]
  /** By uuid or name. */
  find(pool: string): DefinedPool | undefined
  /** Durable when it resolves. Fails with `already-exists` when another pool has the name. */
  put(pool: DefinedPool): Promise<void>
  /** And what is remembered of its volumes. */
  remove(uuid: string): Promise<void>
  notesOf(uuid: string): VolumeNotes
  /** The volumes (pool/name) that a secret unlocks, and the pools that log in with it. */
  usersOf(secret: { readonly uuid: string; readonly name?: string | undefined }): string[]
  /** Whether the pool that is there without being made was ever removed or made. */
  readonly knowsDefault: boolean
}

const prefix = 'storage/pool/'
const notePrefix = 'storage/volume/'
const defaultKey = 'storage/default-seen'

export async function openDefinedPools(store: Store): Promise<DefinedPools> {
  const pools = new Map<string, DefinedPool>()
  const notes = new Map<string, VolumeNote>()
  for (const { value } of await store.list(prefix)) {
    const pool = value as DefinedPool
    pools.set(pool.definition.uuid, pool)
  }
  for (const { key, value } of await store.list(notePrefix))
    notes.set(key.slice(notePrefix.length), value as VolumeNote)
  let knowsDefault = (await store.get(defaultKey)) !== undefined

  return {
    all: () => [...pools.values()].sort((a, b) => (a.definition.name < b.definition.name ? -1 : 1)),
    find: (pool) =>
      pools.get(pool.toLowerCase()) ?? [...pools.values()].find(({ definition }) => definition.name === pool),
    get knowsDefault() {
      return knowsDefault
    },
    async put(pool) {
      const { name, uuid } = pool.definition
      const twin = [...pools.values()].find(({ definition }) => definition.name === name)
      if (twin && twin.definition.uuid !== uuid)
        throw new VisorError(
          'already-exists',
          `There is already a pool '${name}', with uuid ${twin.definition.uuid}.`,
          {
            object: { kind: 'pool', name },
            remedy: 'Choose another name, or undefine that one first.',
          },
        )
      const isDefault = name === 'default'
      await store.write([
        { key: prefix + uuid, value: pool },
        ...(isDefault ? [{ key: defaultKey, value: true }] : []),
      ])
      knowsDefault ||= isDefault
      pools.set(uuid, pool)
    },
    async remove(uuid) {
      const gone = [...notes.keys()].filter((key) => key.startsWith(`${uuid}/`))
      await store.write(
        [prefix + uuid, ...gone.map((key) => notePrefix + key)].map((key) => ({ key, value: undefined })),
      )
      pools.delete(uuid)
      for (const key of gone) notes.delete(key)
    },
    usersOf({ uuid: secret, name: usage }) {
      const locked = [...notes].flatMap(([key, note]) => {
        const [uuid = '', name = ''] = [key.slice(0, key.indexOf('/')), key.slice(key.indexOf('/') + 1)]
        return note.secret === secret ? [`${pools.get(uuid)?.definition.name ?? uuid}/${name}`] : []
      })
      const logins = [...pools.values()].flatMap(({ definition: { name, source } }) => {
        const given = source.auth?.secret
        return given && (given.uuid === secret || (given.usage !== undefined && given.usage === usage))
          ? [name]
          : []
      })
      return [...locked, ...logins].sort()
    },
    notesOf: (uuid) => ({
      of: (name) => notes.get(`${uuid}/${name}`),
      async put(name, note) {
        const key = `${uuid}/${name}`
        if (note === undefined && !notes.has(key)) return
        await store.write([{ key: notePrefix + key, value: note }])
        if (note) notes.set(key, note)
        else notes.delete(key)
      },
    }),
  }
}
