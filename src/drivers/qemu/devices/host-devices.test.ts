import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { HostDevice } from '../../../model/index.ts'
import { hostDeviceFiles } from './host-devices.ts'

const plain: Omit<HostDevice, 'type'> = {
  ...{ mode: 'subsystem', readonly: false, shareable: false },
  hosts: [],
}
const usb = (more: Partial<HostDevice>): HostDevice => ({ ...plain, type: 'usb', ...more })
const pci = (more: Partial<HostDevice>): HostDevice => ({ ...plain, type: 'pci', ...more })
const scsi = (more: Partial<HostDevice>): HostDevice => ({ ...plain, type: 'scsi', ...more })
const uuid = '53764d0e-85a0-42b4-af5c-2046b460b1dc'

test('devices of the host are found with the files that lead to them, or refused', async () => {
  const root = await mkdtemp(join(tmpdir(), 'visor-sysfs-'))
  const folders = { sys: join(root, 'sys'), dev: join(root, 'dev') }
  const files = (...hostdevs: HostDevice[]) => hostDeviceFiles({ hostdevs }, folders)
  const refused = (one: HostDevice, message: RegExp) =>
    assert.rejects(files(one), { code: 'unsupported-config', message, path: 'devices.hostdevs[0]' })
  try {
    await mkdir(folders.dev, { recursive: true })
    for (const [name, devnum] of [
      ['1-1', 7],
      ['1-2', 12],
    ] as const) {
      const folder = join(folders.sys, 'bus/usb/devices', name)
      await mkdir(folder, { recursive: true })
      const content = { idVendor: '0abc', idProduct: '1234', busnum: '1', devnum: String(devnum) }
      for (const [key, text] of Object.entries(content)) await writeFile(join(folder, key), `${text}\n`)
    }
    await mkdir(join(folders.sys, 'bus/usb/devices/1-1:1.0'))
    const unit = { adapter: 'scsi_host2', hostBus: '0', hostTarget: '1', hostUnit: '3' }
    await refused(scsi(unit), /no SCSI devices/u)
    await mkdir(join(folders.sys, 'bus/scsi/devices/2:0:1:3/scsi_generic/sg5'), { recursive: true })
    assert.equal((await files(scsi(unit)))[0]?.path, join(folders.dev, 'sg5'))
    await refused(scsi({ ...unit, hostUnit: '4' }), /no SCSI device '2:0:1:4'/u)
    const made = join(folders.sys, 'bus/mdev/devices', uuid)
    await refused({ ...plain, type: 'mdev', uuid }, /no device '53764d0e.*' made for guests/u)
    await mkdir(made, { recursive: true })
    await symlink('../../../kernel/iommu_groups/17', join(made, 'iommu_group'))
    assert.deepEqual(
      (await files({ ...plain, type: 'mdev', uuid })).map(({ path }) => path),
      [join(folders.dev, 'vfio/vfio'), join(folders.dev, 'vfio/17')],
    )
    const [only] = await files(usb({ vendor: '0x0abc', product: '0x1234', hostBus: '1', hostDevice: '12' }))
    assert.deepEqual(only, { path: join(folders.dev, 'bus/usb/001/012'), write: true, what: 'device' })
    await refused(usb({ vendor: '0x0abc', product: '0x1234' }), /2 USB devices fit/u)
    await refused(usb({ vendor: '0x0abd' }), /no such USB device/u)

    const card = join(folders.sys, 'bus/pci/devices/0000:03:00.1')
    await mkdir(card, { recursive: true })
    const address = { hostBus: '0x03', hostSlot: '0x00', hostFunction: '0x1' }
    await refused(pci({ ...address, hostFunction: '0x2' }), /no PCI device '0000:03:00\.2'/u)
    await refused(pci(address), /no IOMMU group/u)
    await symlink('../../../kernel/iommu_groups/42', join(card, 'iommu_group'))
    await symlink('../drivers/e1000e', join(card, 'driver'))
    await refused(pci(address), /the host uses '0000:03:00\.1' \(e1000e\)/u)
    await rm(join(card, 'driver'))
    await symlink('../drivers/vfio-pci', join(card, 'driver'))
    assert.deepEqual(
      (await files(pci(address))).map(({ path }) => path),
      [join(folders.dev, 'vfio/vfio'), join(folders.dev, 'vfio/42')],
    )
    const vsock = { model: 'virtio', cid: 3 } as const
    await assert.rejects(hostDeviceFiles({ hostdevs: [], vsock }, folders), {
      code: 'unsupported-config',
      path: 'devices.vsock',
    })
    await writeFile(join(folders.dev, 'vhost-vsock'), '')
    assert.equal((await hostDeviceFiles({ hostdevs: [], vsock }, folders)).length, 1)
  } finally {
    await rm(root, { recursive: true })
  }
})
