// A whole visord keeps the contract: the test driver in a process of its own, used over its unix socket.
import { join } from 'node:path'
import { startVisord } from '../fixtures/visord.ts'
import { conform } from './conform.ts'

const visord = await startVisord({ drivers: ['test:///empty'] })

conform({
  name: 'visord',
  persists: true,
  powersOff: true,
  greeting: 'visor test guest',
  echo: { type: 'echo round trip\r', back: '\r\nround trip\r\n' },
  keys: { powerOff: 'poweroff\r', reboot: 'reboot\r' },
  stateFile: (name) => join(visord.directories.state, `${name}.state`),
  makeDefinition: (name) => ({
    type: 'test',
    name,
    memoryKiB: 65_536,
    devices: { disks: [{ file: '/guest/disk.raw', target: 'vda' }], serials: [{}] },
  }),
  open: () => visord.connect(),
  dispose: () => visord.dispose(),
})
