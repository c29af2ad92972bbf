import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CompleteConnection } from '../../src/index.ts'
import type { DevicesInput } from '../../src/model/index.ts'
import { makeGuest } from '../guest.ts'
import { type Benchmark, type Contender, timed, type Workbench } from '../harness.ts'
import { openLibrary } from '../ours/library.ts'
import { defineMachine, type Machine } from '../ours/machine.ts'
import { openVisord } from '../ours/visord.ts'
import { rawQemu } from '../peers/raw-qemu.ts'
import { libraryName, moveArguments, rawName, restName } from '../runners.ts'

/** Without ACPI there is nothing to plug into. */
const features = { acpi: true, apic: true }

type Bus = 'virtio' | 'scsi' | 'usb'
const buses: Record<
  Bus,
  {
    readonly target: string
    readonly controllers: NonNullable<DevicesInput['controllers']>
    /** Where raw QEMU puts it. */
    readonly place: { readonly driver: string; readonly bus: string }
  }
> = {
  virtio: { target: 'vdb', controllers: [], place: { driver: 'virtio-blk-pci', bus: 'pci.0' } },
  scsi: {
    target: 'sdb',
    controllers: [{ type: 'scsi', index: 0, model: 'virtio-scsi' }],
    place: { driver: 'scsi-hd', bus: 'scsi0.0' },
  },
  usb: {
    target: 'sdb',
    controllers: [{ type: 'usb', index: 0, model: 'qemu-xhci' }],
    place: { driver: 'usb-storage', bus: 'usb0.0' },
  },
}

/** From the call until QEMU has the disk; nothing of the guest is waited for. A machine takes one disk and is ended. */
const plugInto = (bus: Bus): Benchmark => ({
  id: bus === 'virtio' ? 'hotplug' : `hotplug-${bus}`,
  title: `Plug a disk into a running domain (QEMU, emulated; ${bus}, raw, 1 MiB)`,
  unit: 'ms',
  aims: [{ ours: libraryName, kind: 'at-most', value: 30 }],
  async prepare(bench) {
    const guest = await makeGuest(bench.directory)
    const disk = join(bench.directory, 'more.raw')
    await writeFile(disk, Buffer.alloc(2 ** 20))
    const { controllers } = buses[bus]
    const define = (connection: CompleteConnection) =>
      defineMachine(bench, connection, guest, { features, devices: { controllers } })
    const library = await openLibrary(bench)
    const machine = await define(library)
    const rest = (await openVisord(bench)).connection
    const device = { disks: [{ file: disk, target: buses[bus].target, bus }] }
    return [
      await rawContender(bench, machine, disk, bus),
      contender(libraryName, library, machine, guest.name, device),
      contender(restName, rest, await define(rest), guest.name, device),
    ]
  },
})

export const hotplugs: readonly Benchmark[] = [plugInto('virtio'), plugInto('scsi'), plugInto('usb')]

function contender(
  name: string,
  { domains }: CompleteConnection,
  machine: Machine,
  guest: string,
  device: DevicesInput,
): Contender {
  return {
    name,
    ours: true,
    async sample() {
      await machine.start()
      try {
        return await timed(() => domains.attachDevice(guest, { device, live: true }))
      } finally {
        await machine.destroy()
      }
    },
  }
}

/** The same machine, and the two commands that add a disk. */
async function rawContender(
  bench: Workbench,
  machine: Machine,
  filename: string,
  bus: Bus,
): Promise<Contender> {
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
          await raw.execute('device_add', { ...buses[bus].place, id: 'more0', drive: 'more' })
        })
      } finally {
        await raw.destroy()
      }
    },
  }
}
