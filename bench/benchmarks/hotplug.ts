import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CompleteConnection } from '../../src/index.ts'
import { makeGuest } from '../guest.ts'
import { type Benchmark, type Contender, timed, type Workbench } from '../harness.ts'
import { openLibrary } from '../ours/library.ts'
import { defineMachine, type Machine } from '../ours/machine.ts'
import { openVisord } from '../ours/visord.ts'
import { rawQemu } from '../peers/raw-qemu.ts'
import { libraryName, moveArguments, rawName, restName } from '../runners.ts'

/** Without ACPI there is nothing to plug into. */
const features = { acpi: true, apic: true }

/** From the call until QEMU has the disk; nothing of the guest is waited for. A machine takes one disk and is ended. */
export const hotplug: Benchmark = {
  id: 'hotplug',
  title: 'Plug a disk into a running domain (QEMU, emulated; virtio, raw, 1 MiB)',
  unit: 'ms',
  aims: [{ ours: libraryName, kind: 'at-most', value: 30 }],
  async prepare(bench) {
    const guest = await makeGuest(bench.directory)
    const disk = join(bench.directory, 'more.raw')
    await writeFile(disk, Buffer.alloc(2 ** 20))
    const library = await openLibrary(bench)
    const machine = await defineMachine(bench, library, guest, features)
    const rest = (await openVisord(bench)).connection
    return [
      await rawContender(bench, machine, disk),
      contender(libraryName, library, machine, guest.name, disk),
      contender(restName, rest, await defineMachine(bench, rest, guest, features), guest.name, disk),
    ]
  },
}

function contender(
  name: string,
  { domains }: CompleteConnection,
  machine: Machine,
  guest: string,
  file: string,
): Contender {
  return {
    name,
    ours: true,
    async sample() {
      await machine.start()
      try {
        const device = { disks: [{ file, target: 'vdb', bus: 'virtio' as const }] }
        return await timed(() => domains.attachDevice(guest, { device, live: true }))
      } finally {
        await machine.destroy()
      }
    },
  }
}

/** The same machine, and the two commands that add a disk. */
async function rawContender(bench: Workbench, machine: Machine, filename: string): Promise<Contender> {
  await machine.start()
  const [program = '', ...args] = await machine.commandLine()
  await machine.destroy()
  const placeOf = (name: string) => join(bench.directory, `${name}-`)
  const raw = rawQemu(bench, program, await moveArguments(args, placeOf('library'), placeOf('raw')))
  const file = { driver: 'file', filename, 'node-name': 'more-file' }
  return {
    name: rawName,
    ours: false,
    async sample() {
      await raw.start()
      try {
        return await timed(async () => {
          await raw.execute('blockdev-add', { driver: 'raw', 'node-name': 'more', file })
          await raw.execute('device_add', {
            driver: 'virtio-blk-pci',
            id: 'more0',
            drive: 'more',
            bus: 'pci.0',
          })
        })
      } finally {
        await raw.destroy()
      }
    },
  }
}
