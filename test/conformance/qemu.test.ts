import { access, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { guard, memoryStore, silentLog } from '../../src/driver/index.ts'
import { driver } from '../../src/drivers/qemu/index.ts'
import { testDefinition, writeTestDisk } from '../../src/drivers/qemu/testing/test-guest.ts'
import { conform } from './conform.ts'

const reason = await access('/usr/bin/qemu-system-x86_64').then(
  () => undefined,
  () => 'qemu-system-x86_64 is not installed',
)

if (reason) test('drivers/qemu keeps the contract', { skip: reason }, () => {})
else {
  const directory = await mkdtemp(join(tmpdir(), 'visor-conform-qemu-'))
  const disk = join(directory, 'disk.raw')
  const store = memoryStore()
  await writeTestDisk(disk)

  conform({
    name: 'drivers/qemu',
    persists: true,
    powersOff: true,
    greeting: 'ready',
    echo: { type: 'e', back: 'e\n' },
    keys: { powerOff: 'p', reboot: 'r' },
    stateFile: (name) => join(directory, `${name}.state`),
    makeDefinition: (name) => testDefinition(name, disk, { videos: [{}] }),
    async open() {
      const options = {
        stateDirectory: join(directory, 'state'),
        runtimeDirectory: join(directory, 'run'),
        store,
        log: silentLog,
      }
      return guard(await driver.open(new URL('qemu:///system'), options))
    },
    async kill({ pid }) {
      if (pid) process.kill(pid, 'SIGKILL')
    },
    dispose: () => rm(directory, { recursive: true, force: true }),
  })
}
