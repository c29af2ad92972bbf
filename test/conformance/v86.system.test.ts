import { mkdirSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bootSector, greeting } from '../fixtures/boot-sector.ts'
import { conform } from './conform.ts'
import { openDriver } from './open-driver.ts'

const directory = join(tmpdir(), `visor-conform-v86-${process.pid}`)

/** A disk of its own, since this machine cannot share one that is read only. */
function makeDisk(name: string): string {
  mkdirSync(directory, { recursive: true })
  const file = join(directory, `${name}.raw`)
  writeFileSync(file, bootSector())
  return file
}

conform({
  name: 'drivers/v86',
  persists: true,
  powersOff: true,
  greeting,
  echo: { type: 'round trip', back: 'round trip' },
  stateFile: (name) => join(directory, `${name}.state`),
  makeDefinition: (name) => ({
    type: 'v86',
    name,
    memoryKiB: 16_384,
    features: { acpi: true },
    devices: { disks: [{ file: makeDisk(name), target: 'hda', bus: 'ide' }], serials: [{}] },
  }),
  open: () => openDriver('v86:///session', directory),
  async kill({ pid = 0 }) {
    process.kill(pid, 'SIGKILL')
  },
  dispose: () => rm(directory, { recursive: true, force: true }),
})
