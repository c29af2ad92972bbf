/** A driver in this process, as visord has it. */
import { join } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }
import {
  type Connection,
  combine,
  type Driver,
  type GuardedConnection,
  guard,
  memoryStore,
  type Store,
  silentLog,
} from '../driver/index.ts'
import { loadDriver } from '../drivers/index.ts'
import { knock, openStore, readHostInfo } from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import { openNetworks } from '../network/index.ts'
import { openImages, openStorage } from '../storage/index.ts'
import { type ConnectDirectories, connect } from './connect.ts'

/** Opens the driver of an address. Its store is let go of when the connection closes. */
export async function openLocal(uri: URL, directories: ConnectDirectories): Promise<Connection> {
  const driver = await loadDriver(uri.protocol.replace(/:$/u, ''))
  const store = await openStoreOf(uri, directories)
  try {
    const connection = await open(driver, uri, directories, store)
    return {
      ...connection,
      async close() {
        await connection.close()
        await store.close()
      },
    }
  } catch (error) {
    await store.close()
    throw error
  }
}

async function open(
  driver: Driver,
  uri: URL,
  { state, runtime }: ConnectDirectories,
  store: Store,
): Promise<GuardedConnection> {
  const { scheme, domainTypes } = driver
  const places = { stateDirectory: state, runtimeDirectory: runtime }
  const networks = domainTypes.includes('test')
    ? undefined
    : await openNetworks({ ...places, store, log: silentLog })
  const images = openImages({ stateDirectory: state, log: silentLog })
  const storage = await openStorage({ ...places, store, log: silentLog, images })
  const connection = await driver.open(uri, {
    ...{ ...places, store, log: silentLog, networks: networks?.guests, storage: storage.guests },
    connect: async (address, { token = '' }) => connect(address, { token, directories: { state, runtime } }),
  })
  const info = async () => readHostInfo(manifest.version)
  const all = combine([{ scheme, domainTypes, connection }], {
    ...{ uri: uri.href, info, images, storage, knock },
    ...(networks && { networks }),
  })
  return guard(all)
}

/** The test driver forgets everything, unless it is told to keep it. */
async function openStoreOf(uri: URL, { state, runtime }: ConnectDirectories): Promise<Store> {
  if (uri.protocol === 'test:' && !uri.searchParams.has('keep')) return memoryStore()
  try {
    return await openStore(join(state, 'store.db'))
  } catch (error) {
    if (!(error instanceof VisorError) || error.code !== 'busy') throw error
    throw new VisorError('busy', error.message, {
      cause: error,
      remedy: `Leave the address out to use the visord that runs (its socket is in '${runtime}'), or choose another state directory (VISOR_STATE_DIR).`,
      ...(error.object && { object: error.object }),
    })
  }
}
