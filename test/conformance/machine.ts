import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'node:test'
import type { DomainDefinitionInput } from '../../src/model/index.ts'
import { greeting, powerOffKey, resetKey, writeBootSector } from '../fixtures/boot-sector.ts'
import { files, guestCgroups, guestProcesses } from '../fixtures/footprint.ts'
import { bootSectorMachines, type MachineDriver, missing } from '../fixtures/machines.ts'
import { until } from './bench.ts'
import { conform, type Skip } from './conform.ts'
import { driverDirectories, openDriver } from './open-driver.ts'

export interface MachineOptions {
  /** Why it cannot be had here. */
  readonly without?: string | false
  readonly skip?: readonly Skip[]
}

/** Registers the suite for a driver that runs real machines, with boot sectors as guests. */
export function conformMachine(
  driver: MachineDriver,
  uri: string,
  { without = missing(driver), skip = [] }: MachineOptions = {},
): void {
  const directory = join(tmpdir(), `visor-conform-${driver}-${process.pid}`)
  const disk = join(directory, 'boot.raw')
  describe('with boot sectors', { skip: without }, () => {
    conform({
      name: `drivers/${driver}`,
      persists: true,
      powersOff: true,
      greeting,
      echo: { type: 'round trip', back: 'round trip' },
      keys: { powerOff: powerOffKey, reboot: resetKey },
      stateFile: (name) => join(directory, `${name}.state`),
      makeDefinition: (name) => withScreen(bootSectorMachines[driver](name, disk)),
      async open() {
        await writeBootSector(disk)
        return openDriver(uri, directory)
      },
      async kill({ pid = 0 }) {
        process.kill(pid, 'SIGKILL')
      },
      async dispose(uuids) {
        try {
          await nothingIsLeft(directory, uuids)
        } finally {
          await rm(directory, { recursive: true, force: true })
        }
      },
      skip,
    })
  })
}

/** A driver may still tidy up behind a guest that is gone, but not for long. */
async function nothingIsLeft(directory: string, uuids: readonly string[]): Promise<void> {
  const { state, runtime } = driverDirectories(directory)
  const left = async () => [
    ...(await guestProcesses({ state, runtime })).map(({ pid }) => `process ${pid}`),
    ...(await guestCgroups(uuids)),
    ...(await files({ state, runtime })).filter((file) => uuids.some((uuid) => file.includes(uuid))),
  ]
  await until('all that guests had to be gone', async () => (await left()).length === 0 || undefined).catch(
    async () => assert.deepEqual(await left(), []),
  )
}

function withScreen(definition: DomainDefinitionInput): DomainDefinitionInput {
  return { ...definition, devices: { ...definition.devices, videos: [{ model: 'vga' }] } }
}
