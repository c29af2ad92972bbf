import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'node:test'
import { greeting, writeBootSector } from '../fixtures/boot-sector.ts'
import { bootSectorMachine, withoutQemu } from '../fixtures/qemu.ts'
import { conform } from './conform.ts'
import { openDriver } from './open-driver.ts'

const directory = join(tmpdir(), `visor-conform-qemu-${process.pid}`)
const disk = join(directory, 'boot.raw')

describe('with a boot sector', { skip: withoutQemu() }, () => {
  conform({
    name: 'drivers/qemu',
    persists: true,
    powersOff: true,
    greeting,
    echo: { type: 'round trip', back: 'round trip' },
    stateFile: (name) => join(directory, `${name}.state`),
    makeDefinition: (name) => bootSectorMachine(name, disk),
    async open() {
      await writeBootSector(disk)
      return openDriver('qemu:///system', directory)
    },
    async kill({ pid = 0 }) {
      process.kill(pid, 'SIGKILL')
    },
    dispose: () => rm(directory, { recursive: true, force: true }),
  })
})
