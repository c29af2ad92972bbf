import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'node:test'
import { guard, silentLog } from '../../src/driver/index.ts'
import { loadDriver } from '../../src/drivers/index.ts'
import { openStore } from '../../src/host/index.ts'
import { greeting, writeBootSector } from '../fixtures/boot-sector.ts'
import { bootSectorMachine, withoutQemu } from '../fixtures/qemu.ts'
import { conform } from './conform.ts'

const directory = join(tmpdir(), `visor-conform-qemu-${process.pid}`)
const disk = join(directory, 'boot.raw')

describe('a boot sector under QEMU', { skip: withoutQemu() }, () => {
  conform({
    name: 'drivers/qemu',
    persists: true,
    greeting,
    echo: { type: 'round trip', back: 'round trip' },
    stateFile: (name) => join(directory, `${name}.state`),
    makeDefinition: (name) => bootSectorMachine(name, disk),
    async open() {
      await writeBootSector(disk)
      const [stateDirectory, runtimeDirectory] = [join(directory, 'state'), join(directory, 'run')]
      const store = await openStore(join(stateDirectory, 'store.db'))
      try {
        const driver = await loadDriver('qemu')
        const options = { stateDirectory, runtimeDirectory, store, log: silentLog }
        const connection = guard(await driver.open(new URL('qemu:///system'), options))
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
    },
    async kill({ pid = 0 }) {
      process.kill(pid, 'SIGKILL')
    },
    dispose: () => rm(directory, { recursive: true, force: true }),
  })
})
