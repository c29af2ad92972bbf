import { VisorError } from '../model/index.ts'

/** One value in the store. `revision` grows with every change of it. */
export interface StoreEntry {
  readonly key: string
  readonly value: unknown
  readonly revision: number
}

/** One change; `value: undefined` removes. With `expect`, only if the entry has that revision (0: is absent). */
export interface StoreChange {
  readonly key: string
  readonly value: unknown
  readonly expect?: number
}

/**
 * What survives a power cut. Keys are paths: `qemu/domain/UUID`. Values are JSON.
 * A cluster's store will be a second implementation, hence the promises.
 */
export interface Store {
  get(key: string): Promise<StoreEntry | undefined>
  /** All entries whose key begins with `prefix`, by key. */
  list(prefix: string): Promise<StoreEntry[]>
  /** All changes or none; durable when it resolves. Fails with `conflict` when an `expect` does not hold. */
  write(changes: readonly StoreChange[]): Promise<void>
  close(): Promise<void>
}

/** A store that forgets everything when it is closed: for tests and the test driver. */
export function memoryStore(): Store {
  const entries = new Map<string, StoreEntry>()
  return {
    async get(key) {
      return structuredClone(entries.get(key))
    },
    async list(prefix) {
      const found = [...entries.values()].filter((entry) => entry.key.startsWith(prefix))
      return structuredClone(found.sort((a, b) => (a.key < b.key ? -1 : 1)))
    },
    async write(changes) {
      for (const { key, expect } of changes)
        if (expect !== undefined && (entries.get(key)?.revision ?? 0) !== expect)
          throw new VisorError('conflict', `The entry '${key}' was changed by somebody else.`)
      for (const { key, value } of changes) {
        if (value === undefined) entries.delete(key)
        else
          entries.set(key, {
            key,
            value: JSON.parse(JSON.stringify(value)),
            revision: (entries.get(key)?.revision ?? 0) + 1,
          })
      }
    },
    async close() {
      entries.clear()
    },
  }
}
