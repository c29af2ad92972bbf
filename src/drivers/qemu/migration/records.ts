/** What the destination keeps of migrations, so that it always knows which it was told to run. */
import type { Store } from '../../../driver/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'

export interface ArrivalRecord {
  readonly id: string
  readonly uuid: string
  readonly name: string
  /** `told`: it was handed over, and runs here or nowhere. */
  readonly phase: 'waiting' | 'told'
  readonly createdAt: string
  /** Disks that were made for it, removed when it does not come. */
  readonly files: readonly string[]
  /** For the next start. */
  readonly definition: CompleteDefinition
  readonly autostart: boolean
  readonly paused?: boolean
  /** The domain is defined here: from now on the record only answers a source that asks. */
  readonly done?: boolean
}

export interface ArrivalRecords {
  all(): ArrivalRecord[]
  find(id: string): ArrivalRecord | undefined
  /** Durable when it resolves. */
  put(record: ArrivalRecord): Promise<void>
  remove(id: string): Promise<void>
}

const prefix = 'qemu/migration/'
/** A source that was cut off when it handed over asks within this, or its user has decided. */
const keptMs = 30 * 24 * 3600 * 1000

export async function openArrivalRecords(store: Store): Promise<ArrivalRecords> {
  const known = new Map<string, ArrivalRecord>()
  for (const { value } of await store.list(prefix)) {
    const record = value as ArrivalRecord
    known.set(record.id, record)
  }
  const old = [...known.values()].filter(
    ({ phase, createdAt }) => phase === 'told' && Date.now() - Date.parse(createdAt) > keptMs,
  )
  for (const { id } of old) known.delete(id)
  if (old.length > 0) await store.write(old.map(({ id }) => ({ key: prefix + id, value: undefined })))
  return {
    all: () => [...known.values()],
    find: (id) => known.get(id),
    async put(record) {
      await store.write([{ key: prefix + record.id, value: record }])
      known.set(record.id, record)
    },
    async remove(id) {
      await store.write([{ key: prefix + id, value: undefined }])
      known.delete(id)
    },
  }
}
