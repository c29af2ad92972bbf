/** Data written and read back by guests on each bus, across what is done to the images of a disk meanwhile. */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runChecked } from '../../../host/index.ts'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

type Disk = NonNullable<NonNullable<DomainDefinitionInput['devices']>['disks']>[number]

describe('data on each bus', { skip: await disksMissing() }, () => {
  let ground: DiskGround

  before(async () => {
    ground = await openDiskGround()
  })
  after(() => ground.close())

  const buses: [string, Omit<Disk, 'target'>, string?][] = [
    ['virtio', { bus: 'virtio' }],
    ['scsi', { bus: 'scsi' }],
    ['sata', { bus: 'sata' }],
    ['ide', { bus: 'ide' }, 'pc'],
    ['usb', { bus: 'usb' }],
    ['nvme', { bus: 'nvme' }],
  ]
  for (const [name, more, machine] of buses)
    test(`${name}: snapshot, joined, moved and gone back to`, async () => {
      const { domains, snapshots, blocks } = ground.connection
      const file = join(ground.directory, `${name}.qcow2`)
      await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', file, '16M'])
      const target = name === 'virtio' ? 'vdb' : name === 'ide' ? 'hdc' : 'sdb'
      const disks: Disk[] = [
        { file: join(ground.directory, 'boot.raw'), target: 'vda', readonly: true, bootOrder: 1 },
        // The firmware makes only disks known that it may boot from.
        { file, format: 'qcow2', target, bootOrder: 2, ...more },
      ]
      const { uuid } = await domains.define({
        type: 'qemu',
        name: `bus-${name}`,
        memoryKiB: 32_768,
        ...(machine && { os: { machine } }),
        devices: { disks, serials: [{}] },
      })
      let guest = await ground.boot(uuid)
      await guest.write(1, 'a', '1')
      await snapshots.create(uuid, { name: 'one', diskOnly: true })
      await guest.write(1, 'b', '2')
      await snapshots.remove(uuid, 'one')
      assert.deepEqual(await ground.filesOf(uuid), [file])
      const moved = join(ground.directory, `${name}, moved.qcow2`)
      await blocks.copy(uuid, { disk: target, file: moved, pivot: true })
      await guest.write(1, 'c', '3')
      await snapshots.create(uuid, { name: 'two', diskOnly: true })
      await guest.write(1, 'a', '4')
      assert.deepEqual(await readAll(guest), ['4', '2', '3'])
      await guest.close()
      await snapshots.revert(uuid, 'two')
      guest = await ground.boot(uuid)
      assert.deepEqual(await readAll(guest), ['1', '2', '3'])
      await guest.close()
      await domains.destroy(uuid)
      await domains.undefine(uuid, { snapshots: true })
    })

  const readAll = async (guest: Awaited<ReturnType<DiskGround['boot']>>) => [
    await guest.read(1, 'a'),
    await guest.read(1, 'b'),
    await guest.read(1, 'c'),
  ]

  const drives: [string, Omit<Disk, 'target'>, string?][] = [
    ['sata', { bus: 'sata' }],
    ['scsi', { bus: 'scsi' }],
    ['usb', { bus: 'usb' }],
    ['ide', { bus: 'ide' }, 'pc'],
  ]
  for (const [name, more, machine] of drives)
    test(`a CD-ROM on ${name} is booted from`, async () => {
      const { domains } = ground.connection
      const file = join(ground.directory, 'boot.iso')
      await writeBootCd(file, ground.directory)
      const { uuid } = await domains.define({
        type: 'qemu',
        name: `cd-${name}`,
        memoryKiB: 32_768,
        ...(machine && { os: { machine } }),
        devices: { disks: [{ file, target: 'sda', device: 'cdrom', ...more }], serials: [{}] },
      })
      await (await ground.boot(uuid)).close()
      await domains.destroy(uuid)
      await domains.undefine(uuid)
    })
})

/** A CD with nothing but what a firmware boots. Source: "El Torito" Bootable CD-ROM Format Specification 1.0. */
async function writeBootCd(path: string, directory: string): Promise<void> {
  const sector = 2048
  const disc = Buffer.alloc(sector * 300)
  const descriptor = (at: number, type: number) => {
    disc.writeUInt8(type, at * sector)
    disc.write('CD001\u0001', at * sector + 1, 'latin1')
  }
  descriptor(16, 1)
  descriptor(17, 0)
  disc.write('EL TORITO SPECIFICATION', 17 * sector + 7, 'latin1')
  disc.writeUInt32LE(19, 17 * sector + 0x47)
  descriptor(18, 255)
  const catalog = disc.subarray(19 * sector)
  // The first entry says of itself that its words add up to nothing.
  catalog.set([1, 0], 0)
  catalog.set([0x55, 0xaa], 30)
  catalog.writeUInt16LE((0x1_0000 - 1 - 0xaa55) & 0xffff, 28)
  catalog.set([0x88, 0], 32)
  catalog.writeUInt16LE(1, 32 + 6)
  catalog.writeUInt32LE(20, 32 + 8)
  disc.set((await readFile(join(directory, 'boot.raw'))).subarray(0, 512), 20 * sector)
  await writeFile(path, disc)
}
