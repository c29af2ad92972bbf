import { join } from 'node:path'
import { type CompleteConnection, guard, silentLog } from '../../src/driver/index.ts'
import { loadDriver } from '../../src/drivers/index.ts'
import { openStore } from '../../src/host/index.ts'

/** Where a driver that is opened below `directory` keeps its things. */
export function driverDirectories(directory: string): { state: string; runtime: string } {
  return { state: join(directory, 'state'), runtime: join(directory, 'run') }
}

/**
 * Opens a driver behind `guard()`, with its state below `directory`, or another's runtime directory below
 * `runtimeOf`; closing it lets go of its store too.
 */
export async function openDriver(
  uri: string,
  directory: string,
  runtimeOf: string = directory,
): Promise<CompleteConnection> {
  const address = new URL(uri)
  const driver = await loadDriver(address.protocol.replace(':', ''))
  const { state: stateDirectory } = driverDirectories(directory)
  const { runtime: runtimeDirectory } = driverDirectories(runtimeOf)
  const store = await openStore(join(stateDirectory, 'store.db'))
  try {
    const options = { stateDirectory, runtimeDirectory, store, log: silentLog }
    const connection = guard(await driver.open(address, options))
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
