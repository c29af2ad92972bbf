import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guard, memoryStore, silentLog } from '../../src/driver/index.ts'
import { driver } from '../../src/drivers/v86/index.ts'
import { greeting, writeBootSector } from '../fixtures/boot-sector.ts'
import { conform } from './conform.ts'

const directory = await mkdtemp(join(tmpdir(), 'visor-v86-'))
const store = memoryStore()
const disks = new Set<string>()

conform({
  name: 'drivers/v86',
  persists: true,
  greeting: greeting.trim(),
  echo: { type: 'echo', back: 'echo' },
  stateFile: (name) => join(directory, `${name}.state`),
  makeDefinition(name) {
    const file = join(directory, `${name}.raw`)
    disks.add(file)
    return {
      type: 'v86',
      name,
      memoryKiB: 16_384,
      features: { acpi: true },
      devices: { disks: [{ file, target: 'hda', bus: 'ide' }], serials: [{}] },
    }
  },
  async open() {
    const connection = await driver.open(new URL('v86:///session'), {
      stateDirectory: directory,
      runtimeDirectory: directory,
      store,
      log: silentLog,
    })
    const { start } = connection.domains
    // Each guest has a disk of its own, made when it is first needed.
    const domains = {
      ...connection.domains,
      async start(...args: Parameters<NonNullable<typeof start>>) {
        for (const file of disks) await writeBootSector(file)
        disks.clear()
        await start?.(...args)
      },
    }
    return guard({ ...connection, domains })
  },
  async kill({ pid }) {
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
  },
  dispose: () => rm(directory, { recursive: true, force: true }),
})
