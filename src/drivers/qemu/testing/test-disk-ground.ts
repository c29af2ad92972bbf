/** Where tests of disks work: a driver of its own, and domains with disks of the formats they want. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CompleteConnection } from '../../../driver/index.ts'
import { runChecked } from '../../../host/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from './test-daemon.ts'
import { type DiskGuest, talkTo, writeDiskGuest } from './test-disk-guest.ts'

export interface DiskGround {
  readonly directory: string
  readonly connection: CompleteConnection
  /** Opens the driver again, as a later daemon, after something that was done while there was none. */
  reopen(between?: (directory: string) => Promise<void>): Promise<void>
  define(...formats: ('raw' | 'qcow2')[]): Promise<string>
  boot(uuid: string): Promise<DiskGuest>
  talk(uuid: string): Promise<DiskGuest>
  /** The files of a domain's disks, which are the same now and at the next start. */
  filesOf(uuid: string): Promise<string[]>
  /** Overlays that are there. */
  overlays(): Promise<string[]>
  close(): Promise<void>
}

/** Why the tests cannot run here, or false. */
export async function disksMissing(): Promise<string | false> {
  const missing: string[] = []
  for (const program of ['qemu-system-x86_64', 'qemu-img', 'qemu-io'])
    if (!(await findProgram(program))) missing.push(program)
  return missing.length > 0 ? `${missing.join(', ')} is not installed` : false
}

export async function openDiskGround(): Promise<DiskGround> {
  const directory = await mkdtemp(join(tmpdir(), 'visor-disks-'))
  await writeDiskGuest(join(directory, 'boot.raw'))
  let connection = await openTestDriver(directory)
  let number = 0
  return {
    directory,
    get connection() {
      return connection
    },
    async reopen(between) {
      await connection.close()
      await between?.(directory)
      connection = await openTestDriver(directory)
    },
    async define(...formats) {
      const name = `guest-${++number}`
      const files = await Promise.all(
        formats.map(async (format, index) => {
          const file = join(directory, `${name}, disk ${index}.${format}`)
          await runChecked('qemu-img', ['create', '-q', '-f', format, file, '16M'])
          return { file, format, target: `vd${'bcd'[index]}` }
        }),
      )
      const disks = [{ file: join(directory, 'boot.raw'), target: 'vda', readonly: true }, ...files]
      const devices = { disks, serials: [{}] }
      return (await connection.domains.define({ type: 'qemu', name, memoryKiB: 32 * 1024, devices })).uuid
    },
    async boot(uuid) {
      await connection.domains.start(uuid)
      return talkTo(connection, uuid, { booting: true })
    },
    talk: (uuid) => talkTo(connection, uuid),
    async filesOf(uuid) {
      const [live = [], inactive] = await Promise.all(
        [false, true].map(async (which) => {
          const { devices } = await connection.domains.describe(uuid, { inactive: which })
          return devices.disks.slice(1).map(({ file = '' }) => file)
        }),
      )
      assert.deepEqual(live, inactive)
      return live
    },
    overlays: async () => (await readdir(directory)).filter((name) => name.endsWith('.overlay')),
    async close() {
      for (const { uuid, state } of await connection.domains.list())
        if (state !== 'shutoff') await connection.domains.destroy(uuid)
      await connection.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
