/**
 * The store on disk: one SQLite database with one owner.
 *
 * Durable: WAL with synchronous=FULL, so a commit is on the disk when it returns (sqlite.org/pragma.html#pragma_synchronous).
 * Owned: locking_mode=EXCLUSIVE holds the kernel's lock on the file until close or death, by kill -9 too.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Store, StoreChange, StoreEntry } from '../driver/index.ts'
import { VisorError } from '../model/index.ts'

/** From one schema version to the next: entry n leads from version n to n + 1. Never edit one that was released. */
export const storeMigrations: readonly string[] = [
  `CREATE TABLE entry (
     key TEXT PRIMARY KEY NOT NULL,
     value TEXT NOT NULL,
     revision INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE counter (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
   INSERT INTO counter VALUES ('revision', 0);`,
]

/** Marks the file as visor's (sqlite.org/pragma.html#pragma_application_id): 'visr'. */
const applicationId = 0x76697372

/** Result codes of SQLite (sqlite.org/rescode.html); the low byte is the kind. */
const sqlite = { busy: 5, readonly: 8, ioError: 10, corrupt: 11, full: 13, cantOpen: 14, notDatabase: 26 }

export interface OpenStoreOptions {
  /** Schema history, for tests of it. */
  readonly migrations?: readonly string[]
}

/**
 * Opens the store in `file`, made with its folder when there is none, brought to the newest schema when it is
 * older. This process owns it until `close`: another opener fails with `busy`, naming the owner's pid.
 * Fails with `unavailable` when the file cannot be opened, or was written by a newer visor, and with `failed`
 * when it is damaged. A write that cannot reach the disk fails with `failed` and has changed nothing.
 *
 * Revisions come from one counter of the whole store, so an entry removed and made again never has an old one.
 */
export async function openStore(file: string, options: OpenStoreOptions = {}): Promise<Store> {
  const { migrations = storeMigrations } = options
  const ownerFile = `${file}.owner`
  return explain(file, () => {
    makeFile(file)
    const database = new DatabaseSync(file)
    try {
      own(database)
      check(database, file)
      migrate(database, file, migrations)
      writeFileSync(ownerFile, `${process.pid}\n`, { mode: 0o600 })
      syncDirectory(dirname(file))
    } catch (error) {
      database.close()
      throw error
    }
    return storeOn(database, file, () => rmSync(ownerFile, { force: true }))
  })
}

/** Definitions may hold secrets: only the owner reads them. */
function makeFile(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  closeSync(openSync(file, 'a', 0o600))
}

function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function own(database: DatabaseSync): void {
  // The order matters: exclusive before the first access, so that no shared-memory index is made.
  database.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;')
  // Reading takes only a shared lock while the file is not in WAL mode yet; an empty write takes it whole.
  database.exec('BEGIN IMMEDIATE; COMMIT;')
}

function check(database: DatabaseSync, file: string): void {
  const id = pragma(database, 'application_id')
  if (id !== applicationId && (id !== 0 || pragma(database, 'user_version') !== 0))
    throw new VisorError('unavailable', `The database '${file}' is not a store of visor.`, {
      remedy: 'Choose another state directory (--state-dir).',
    })
  const [verdict] = Object.values(database.prepare('PRAGMA quick_check(1)').get() ?? {})
  if (verdict !== 'ok') throw damaged(file, String(verdict))
}

function migrate(database: DatabaseSync, file: string, migrations: readonly string[]): void {
  const version = pragma(database, 'user_version')
  if (version > migrations.length)
    throw new VisorError(
      'unavailable',
      `The store '${file}' has schema version ${version}; this visor knows up to ${migrations.length}.`,
      {
        remedy: 'It was written by a newer visor: run that one, or restore the store from before its update.',
      },
    )
  if (version === migrations.length) return
  transaction(database, () => {
    for (const migration of migrations.slice(version)) database.exec(migration)
    database.exec(`PRAGMA user_version=${migrations.length}; PRAGMA application_id=${applicationId};`)
  })
}

function storeOn(database: DatabaseSync, file: string, release: () => void): Store {
  const select = database.prepare('SELECT key, value, revision FROM entry WHERE key = ?')
  const range = database.prepare(
    'SELECT key, value, revision FROM entry WHERE key >= ? AND key < ? ORDER BY key',
  )
  const upsert = database.prepare('INSERT OR REPLACE INTO entry (key, value, revision) VALUES (?, ?, ?)')
  const remove = database.prepare('DELETE FROM entry WHERE key = ?')
  const next = database.prepare(
    "UPDATE counter SET value = value + 1 WHERE name = 'revision' RETURNING value",
  )

  const apply = (changes: readonly StoreChange[]) => {
    for (const { key, expect } of changes)
      if (expect !== undefined && Number(select.get(key)?.revision ?? 0) !== expect)
        throw new VisorError('conflict', `The entry '${key}' was changed by somebody else.`)
    const revision = Number(next.get()?.value)
    for (const { key, value } of changes) {
      if (value === undefined) remove.run(key)
      else upsert.run(key, JSON.stringify(value), revision)
    }
  }

  return {
    get: async (key) =>
      explain(file, () => {
        const row = select.get(key)
        return row && entry(row)
      }),
    // U+10FFFF sorts behind every text that a key goes on with.
    list: async (prefix) => explain(file, () => range.all(prefix, `${prefix}\u{10ffff}`).map(entry)),
    write: async (changes) => explain(file, () => transaction(database, () => apply(changes))),
    close: async () => {
      if (!database.isOpen) return
      release()
      database.close()
    },
  }
}

function entry(row: Record<string, unknown>): StoreEntry {
  return { key: String(row.key), value: JSON.parse(String(row.value)), revision: Number(row.revision) }
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0])
}

function transaction(database: DatabaseSync, change: () => void): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    change()
    database.exec('COMMIT')
  } catch (error) {
    // A failed COMMIT may have rolled back by itself.
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/** Runs `work`; what SQLite or the file system say becomes a sentence with its remedy. */
function explain<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw translate(file, error)
  }
}

function translate(file: string, error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof VisorError) return error
  const { errcode, code } = error as { errcode?: number; code?: string }
  const cause = { cause: error }
  switch (errcode === undefined ? undefined : errcode & 0xff) {
    case sqlite.busy:
      return owned(file)
    case sqlite.corrupt:
    case sqlite.notDatabase:
      return damaged(file, error.message, error)
    case sqlite.full:
      return new VisorError('failed', `The store '${file}' cannot grow: the disk is full.`, {
        ...cause,
        remedy: 'Free space on that file system; nothing was changed.',
      })
    case sqlite.readonly:
    case sqlite.cantOpen:
    case sqlite.ioError:
      return new VisorError('unavailable', `The store '${file}' cannot be used: ${error.message}.`, {
        ...cause,
        remedy: 'See that its folder exists, belongs to the user of visord and is on a writable disk.',
      })
  }
  if (code?.startsWith('E') && !code.startsWith('ERR_'))
    return new VisorError('unavailable', `The store '${file}' cannot be opened: ${error.message}.`, {
      ...cause,
      remedy: 'Choose another state directory (--state-dir), or see to its owner and permissions.',
    })
  return error
}

function owned(file: string): VisorError {
  const pid = ownerOf(file)
  const who = pid === undefined ? 'another process' : `the process ${pid}`
  return new VisorError('busy', `The state directory '${dirname(file)}' is in use by ${who}.`, {
    remedy:
      pid === undefined
        ? 'Stop it, or choose another state directory (--state-dir).'
        : `Stop it ('kill ${pid}'), or choose another state directory (--state-dir).`,
    object: { kind: 'store', name: file },
  })
}

function ownerOf(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(`${file}.owner`, 'utf8'), 10)
    return pid > 0 ? pid : undefined
  } catch {
    return undefined
  }
}

function damaged(file: string, what: string, cause?: unknown): VisorError {
  return new VisorError('failed', `The store '${file}' is damaged: ${what}.`, {
    cause,
    remedy: `Restore it from a copy, or move it and '${file}-wal' aside to start anew; guests that run go on.`,
  })
}
