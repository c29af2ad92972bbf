/** Storage for tests, to be killed: does one thing to volumes for as long as it is let, and says when it begins. */
import { join } from 'node:path'
import { combine, guard, silentLog } from '../../driver/index.ts'
import { openStore } from '../../host/index.ts'
import { openStorage } from '../open.ts'

export const killedStorage = import.meta.filename

export async function openKeptStorage(folder: string) {
  const store = await openStore(join(folder, 'state/store.db'))
  const places = { stateDirectory: join(folder, 'state'), runtimeDirectory: join(folder, 'run') }
  const storage = await openStorage({ ...places, store, log: silentLog })
  const info = () => Promise.reject(new Error('nobody asks'))
  const connection = guard(combine([], { uri: 'test:///storage', info, storage }))
  return {
    connection,
    async close() {
      await connection.close()
      await store.close()
    },
  }
}

const works: Record<
  string,
  (connection: Awaited<ReturnType<typeof openKeptStorage>>['connection']) => Promise<unknown>
> = {
  convert: ({ volumes }) => volumes.clone('default', 'source.raw', { name: 'copy.qcow2' }),
  encrypt: ({ volumes }) =>
    volumes.clone('default', 'source.raw', { name: 'copy.qcow2', encryption: { format: 'luks' } }),
  allocate: ({ volumes }) =>
    volumes.create('default', { name: 'copy.raw', capacityBytes: 2 ** 31, preallocation: 'full' }),
  download: async ({ volumes }) => {
    const content = await volumes.download('default', 'source.raw', { format: 'qcow2' })
    await content.close()
  },
}

const [, , folder, what] = process.argv
if (import.meta.main && folder && what) {
  const { connection } = await openKeptStorage(folder)
  await connection.volumes.list('default')
  process.stdout.write('begin\n')
  await works[what]?.(connection)
  process.stdout.write('done\n')
}
