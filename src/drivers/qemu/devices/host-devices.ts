/**
 * Devices of the host that a guest gets: the files of the kernel through which it does. Source: the kernel's
 * documentation of vfio and sysfs-bus-usb, vsock(7).
 */
import { access, readdir, readFile, readlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { FileAccess } from '../../../host/index.ts'
import type { Devices, HostDevice } from '../../../model/index.ts'
import { unsupported } from '../definition/unsupported.ts'
import { scsiNodes } from './host-scsi.ts'
import { hostPciAddress } from './small-device-parts.ts'

/** Where the kernel shows its devices; a test has others. */
export interface DeviceFolders {
  readonly sys: string
  readonly dev: string
}

const ofHost: DeviceFolders = { sys: '/sys', dev: '/dev' }

/**
 * The files that QEMU opens for the host's devices of a machine. Fails with `unsupported-config` for a device
 * that is not there or that cannot be given away, before anything starts.
 */
export async function hostDeviceFiles(
  { hostdevs, vsock }: Pick<Devices, 'hostdevs' | 'vsock'>,
  folders: DeviceFolders = ofHost,
): Promise<FileAccess[]> {
  const files: FileAccess[] = []
  const add = (path: string) => files.push({ path, write: true, what: 'device' })
  for (const [index, one] of hostdevs.entries()) {
    const path = `devices.hostdevs[${index}]`
    const find = { usb: usbNodes, scsi: scsiNodes, mdev: mediatedNodes, pci: vfioNodes, scsi_host: vfioNodes }
    const found = await find[one.type](one, path, folders)
    found.forEach(add)
  }
  if (vsock) {
    const node = join(folders.dev, 'vhost-vsock')
    if (!(await isThere(node)))
      throw unsupported('devices.vsock', `this host has no '${node}'`, "Load the module 'vhost_vsock'.")
    add(node)
  }
  return files
}

/** Memory that a device of the host reaches by itself cannot be moved: all of it is locked. */
export const locksMemory = ({ hostdevs }: Pick<Devices, 'hostdevs'>): boolean =>
  hostdevs.some(({ type }) => type === 'pci' || type === 'mdev')

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

async function usbNodes(one: HostDevice, path: string, { sys, dev }: DeviceFolders): Promise<string[]> {
  const folder = join(sys, 'bus/usb/devices')
  const wanted = [
    ['idVendor', one.vendor, 16],
    ['idProduct', one.product, 16],
    ['busnum', one.hostBus, 10],
    ['devnum', one.hostDevice, 10],
  ] as const
  const nodes: string[] = []
  for (const name of await readdir(folder).catch(() => [])) {
    const read = async (key: string, base: number) =>
      Number.parseInt(await readFile(join(folder, name, key), 'latin1').catch(() => ''), base)
    const fits = await Promise.all(
      wanted.map(
        async ([key, value, base]) => value === undefined || (await read(key, base)) === Number(value),
      ),
    )
    if (!fits.every(Boolean)) continue
    const [bus, device] = [await read('busnum', 10), await read('devnum', 10)]
    // Interfaces of devices have no number.
    if (!Number.isNaN(device)) nodes.push(join(dev, 'bus/usb', three(bus), three(device)))
  }
  if (nodes.length === 0)
    throw unsupported(path, 'there is no such USB device on this host', "'lsusb' lists those there are.")
  if (nodes.length > 1)
    throw unsupported(
      path,
      `${nodes.length} USB devices fit`,
      "Name its bus and device: 'hostBus', 'hostDevice'.",
    )
  return nodes
}

/** Of a part of a device: its group, whatever made it. */
async function mediatedNodes(one: HostDevice, path: string, { sys, dev }: DeviceFolders): Promise<string[]> {
  const folder = join(sys, 'bus/mdev/devices', one.uuid ?? '')
  const group = await readlink(join(folder, 'iommu_group')).then(basename, () => undefined)
  if (group === undefined)
    throw unsupported(
      path,
      `there is no device '${one.uuid}' made for guests on this host`,
      "Make it: 'mdevctl define' and 'mdevctl start'; 'mdevctl types' lists what can be made.",
    )
  return [join(dev, 'vfio/vfio'), join(dev, 'vfio', group)]
}

const three = (number: number) => String(number).padStart(3, '0')

async function vfioNodes(one: HostDevice, path: string, { sys, dev }: DeviceFolders): Promise<string[]> {
  const address = hostPciAddress(one)
  const folder = join(sys, 'bus/pci/devices', address)
  if (!(await isThere(folder)))
    throw unsupported(
      path,
      `there is no PCI device '${address}' on this host`,
      "'lspci -D' lists those there are.",
    )
  const link = (name: string) => readlink(join(folder, name)).then(basename, () => undefined)
  const [group, driver] = [await link('iommu_group'), await link('driver')]
  if (group === undefined)
    throw unsupported(path, `'${address}' is in no IOMMU group`, 'Switch the IOMMU of the host on.')
  if (driver !== 'vfio-pci')
    throw unsupported(
      path,
      driver === undefined ? `no driver has '${address}'` : `the host uses '${address}' (${driver})`,
      "Bind it to vfio-pci ('driverctl set-override').",
    )
  return [join(dev, 'vfio/vfio'), join(dev, 'vfio', group)]
}
