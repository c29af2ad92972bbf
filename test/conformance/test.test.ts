import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Connection, guard, memoryStore, silentLog } from '../../src/driver/index.ts'
import { driver, faultsOf } from '../../src/drivers/test/index.ts'
import { conform } from './conform.ts'

const directory = await mkdtemp(join(tmpdir(), 'visor-conform-'))
const store = memoryStore()
let opened: Connection | undefined

conform({
  name: 'drivers/test',
  persists: true,
  powersOff: true,
  greeting: 'visor test guest',
  echo: { type: 'echo round trip\r', back: '\r\nround trip\r\n' },
  keys: { powerOff: 'poweroff\r', reboot: 'reboot\r' },
  stateFile: (name) => join(directory, `${name}.state`),
  makeDefinition: (name) => ({
    type: 'test',
    name,
    memoryKiB: 65_536,
    devices: { disks: [{ file: '/guest/disk.raw', target: 'vda' }], serials: [{}] },
  }),
  async open() {
    const options = { stateDirectory: directory, runtimeDirectory: directory, store, log: silentLog }
    opened = await driver.open(new URL('test:///empty?keep=1'), options)
    return guard(opened)
  },
  async kill({ uuid }) {
    if (opened) faultsOf(opened).crash(uuid)
  },
  dispose: () => rm(directory, { recursive: true, force: true }),
})
