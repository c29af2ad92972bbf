/** Disks as arguments of QEMU: the image, what it is based on, and the drive the guest sees. */
import type { Disk } from '../../model/index.ts'
import { type Place, pci } from './device-place.ts'
import type { DiskImage } from './disk-image.ts'
import type { Fields } from './key-value.ts'
import { blockdev, device, type Part } from './parts.ts'
import { unsupported } from './unsupported.ts'

/**
 * SATA: six ports with one disk each. IDE: two cables with two disks each. Places that the definition names
 * are kept, the others are given in order.
 */
export function placeDrives(disks: readonly Disk[]): Map<Disk, Fields> {
  const places = new Map<Disk, Fields>()
  const drives = disks.filter(({ bus }) => bus === 'sata' || bus === 'ide')
  const [first] = drives
  const room = first?.bus === 'sata' ? 6 : 4
  const taken = new Map<number, Disk>()
  const named = (disk: Disk) => {
    const { bus = '0', unit } = disk.address ?? {}
    if (unit === undefined) return undefined
    return disk.bus === 'ide' ? Number(bus) * 2 + Number(unit) : Number(unit)
  }
  for (const disk of [...drives].sort(
    (a, b) => Number(named(a) === undefined) - Number(named(b) === undefined),
  )) {
    let place = named(disk)
    if (place === undefined) for (place = 0; taken.has(place); ) place++
    const path = `devices.disks[${disks.indexOf(disk)}]`
    if (taken.has(place)) throw unsupported(`${path}.address`, `is where '${taken.get(place)?.target}' is`)
    if (place >= room)
      throw unsupported(`${path}.bus`, `'${disk.bus}' has room for ${room} disks`, "Use 'virtio'.")
    taken.set(place, disk)
    const ide = { bus: `ide.${Math.floor(place / 2)}`, unit: place % 2 }
    places.set(disk, disk.bus === 'ide' ? ide : { bus: `ide.${place}` })
  }
  return places
}

export function diskParts(
  disk: Disk,
  index: number,
  image: DiskImage | undefined,
  bootindex: number | undefined,
  place: Place,
): Part[] {
  const node = disk.target
  const drive = image ? node : undefined
  const common: Fields = {
    id: disk.alias,
    drive,
    bootindex,
    serial: disk.serial,
    'write-cache': writeCache(disk, image),
  }
  return [
    ...(image ? [blockdev(blockNode(disk, image, node, disk.readonly || disk.device === 'cdrom'))] : []),
    diskDevice(disk, index, common, place),
  ]
}

function writeCache({ cache, device: kind }: Disk, image: DiskImage | undefined): 'on' | 'off' | undefined {
  if (!image || kind === 'cdrom' || cache === undefined || cache === 'default') return undefined
  return cache === 'writethrough' || cache === 'directsync' ? 'off' : 'on'
}

/** An image and, spelt out, what it is based on: QEMU opens exactly these files. */
export function blockNode(
  disk: Disk,
  image: DiskImage,
  name: string,
  readonly: boolean,
  below = false,
): Record<string, unknown> {
  const cache = {
    direct: disk.cache === 'none' || disk.cache === 'directsync',
    'no-flush': disk.cache === 'unsafe',
  }
  const discard = disk.discard ?? 'unmap'
  const isBlock = disk.type === 'block' && image.path === disk.block
  const file = {
    driver: isBlock ? 'host_device' : 'file',
    filename: image.path,
    'node-name': `${name}-file`,
    // What is below can be written to once, when what is above is joined with it.
    ...(below ? { 'auto-read-only': true } : { 'read-only': readonly }),
    cache,
    discard,
    ...(disk.io ? { aio: disk.io } : {}),
  }
  const node = { driver: image.format, 'node-name': name, 'read-only': readonly, cache, discard, file }
  if (image.format === 'raw') return node
  return { ...node, backing: image.backing ? blockNode(disk, image.backing, `${name}b`, true, true) : null }
}

function diskDevice(disk: Disk, index: number, common: Fields, place: Place): Part {
  const kind = disk.device === 'cdrom' ? 'cd' : 'hd'
  const unit = Number(disk.address?.unit ?? 0)
  switch (disk.bus) {
    case 'virtio':
      return device('virtio-blk-pci', { ...common, ...pci(disk.address, place) })
    case 'sata':
    case 'ide':
      return device(`ide-${kind}`, { ...common, ...place.drives.get(disk) })
    case 'scsi':
      return device(`scsi-${kind}`, {
        ...common,
        bus: `scsi${Number(disk.address?.controller ?? 0)}.0`,
        ...(disk.address?.unit ? { 'scsi-id': unit } : {}),
      })
    case 'usb':
      return device('usb-storage', { ...common, removable: disk.device === 'cdrom' })
    default:
      throw unsupported(`devices.disks[${index}].bus`, `'${disk.bus}' cannot be had`)
  }
}
