import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { HostDevice } from '../../../model/index.ts'
import { hostDeviceFiles } from './host-devices.ts'

const usb = (more: Partial<HostDevice>): HostDevice => ({ mode: 'subsystem', type: 'usb', ...more })
const pci = (more: Partial<HostDevice>): HostDevice => ({ mode: 'subsystem', type: 'pci', ...more })

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
