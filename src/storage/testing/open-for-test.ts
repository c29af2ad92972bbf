/** Storage in a folder of a test's own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type CompleteConnection,
  combine,
  type GuestStorage,
  guard,
  memoryStore,
  type Store,
  silentLog,
} from '../../driver/index.ts'
import { run } from '../../host/index.ts'
import { openStorage } from '../open.ts'

export interface TestStorage {
  readonly folder: string
  /** As users have it. */
  readonly connection: CompleteConnection
  readonly guests: GuestStorage
  /** Opened anew, as a daemon does that starts after this one. */
  reopen(): Promise<TestStorage>
  close(): Promise<void>
}

export async function openForTest(): Promise<TestStorage> {
  return open(await mkdtemp(join(tmpdir(), 'visor-test-storage-')), memoryStore())
}

async function open(folder: string, store: Store): Promise<TestStorage> {
  const places = { stateDirectory: join(folder, 'state'), runtimeDirectory: join(folder, 'run') }
  const storage = await openStorage({ ...places, store, log: silentLog })
  const info = () => Promise.reject(new Error('nobody asks'))
  const connection = guard(combine([], { uri: 'test:///storage', info, storage }))
  return {
    folder,
    connection,
    guests: storage.guests,
    async reopen() {
      await connection.close()
      return open(folder, store)
    },
    async close() {
      await connection.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Why a test that needs qemu-img cannot run. */
export const noQemuImg = await run('qemu-img', ['--version']).then(
  () => false as const,
  () => 'qemu-img is not installed: install qemu-utils',
)
