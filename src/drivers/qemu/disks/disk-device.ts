/** The drive that the guest sees, as a device of QEMU. Source: qemu(1), `-device help`. */
import type { Devices, Disk } from '../../../model/index.ts'
import type { Fields } from '../definition/key-value.ts'
import { chardev, device, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Place, pci } from '../devices/device-place.ts'

export interface DriveOptions {
  readonly disk: Disk
  /** Where a mistake in it is. */
  readonly path: string
  /** The node of its medium; undefined while it has none. */
  readonly node: string | undefined
  readonly bootindex: number | undefined
  readonly devices: Pick<Devices, 'controllers' | 'disks'>
}

export function driveParts(options: DriveOptions, place: Place): Part[] {
  const { disk, path } = options
  if (disk.type === 'vhostuser') return vhostUser(options, place)
  switch (disk.bus) {
    case 'virtio':
      return [device(virtioName('virtio-blk', disk.model), virtioFields(options, place))]
    case 'sata':
    case 'ide':
      return [
        device(disk.device === 'cdrom' ? 'ide-cd' : 'ide-hd', {
          ...common(options),
          ...place.drives.get(disk),
          ...identity(disk),
          rotation_rate: disk.rotationRate,
          'bios-chs-trans': disk.translation,
        }),
      ]
    case 'scsi':
      return [scsi(options, place)]
    case 'usb':
      return usb(options)
    case 'fdc':
      return [device('floppy', { ...common(options), bootindex: undefined, ...place.drives.get(disk) })]
    case 'nvme':
      return [nvme(options, place)]
    default:
      throw unsupported(`${path}.bus`, `'${disk.bus}' cannot be had`)
  }
}

/** What every drive has. */
function common({ disk, node, bootindex }: DriveOptions): Fields {
  const { alias, serial, cylinders, heads, sectors, shareable } = disk
  return {
    id: alias,
    drive: node,
    bootindex,
    serial,
    'write-cache': writeCache(disk, node),
    'share-rw': shareable ? true : undefined,
    logical_block_size: disk.logicalBlockBytes,
    physical_block_size: disk.physicalBlockBytes,
    discard_granularity: disk.discardGranularityBytes,
    cyls: cylinders,
    heads,
    secs: sectors,
    ...errors(disk),
  }
}

function writeCache({ cache, device: kind }: Disk, node: string | undefined): 'on' | 'off' | undefined {
  const removable = kind === 'cdrom' || kind === 'floppy'
  if (node === undefined || removable || cache === undefined || cache === 'default') return undefined
  return cache === 'writethrough' || cache === 'directsync' ? 'off' : 'on'
}

/** As in libvirt, what is said of writes holds for reads too, but running out of space, which they cannot. */
function errors({ errorPolicy, readErrorPolicy }: Disk): Fields {
  return {
    werror: errorPolicy === 'enospace' ? 'enospc' : errorPolicy,
    rerror: readErrorPolicy ?? (errorPolicy === 'enospace' ? undefined : errorPolicy),
  }
}

const wwnOf = (wwn: string | undefined) => (wwn === undefined ? undefined : `0x${wwn.replace(/^0x/u, '')}`)

function identity({ wwn, product }: Disk): Fields {
  return { wwn: wwnOf(wwn), model: product }
}

export const virtioName = (name: string, model: string | undefined): string =>
  `${name}-pci${model === undefined || model === 'virtio' ? '' : model.slice('virtio'.length)}`

/** What all virtio devices have. */
export function virtioOptions(one: {
  readonly iommu?: boolean
  readonly ats?: boolean
  readonly packed?: boolean
  readonly pagePerVq?: boolean
}): Fields {
  return {
    iommu_platform: one.iommu,
    ats: one.ats,
    packed: one.packed,
    'page-per-vq': one.pagePerVq,
  }
}

function virtioFields(options: DriveOptions, place: Place): Fields {
  const { disk } = options
  return {
    ...common(options),
    ...virtioQueues(disk, place.queues),
    ioeventfd: disk.ioEventFd,
    event_idx: disk.eventIndex,
    ...virtioOptions(disk),
    iothread: disk.ioThread === undefined ? undefined : `iothread${disk.ioThread}`,
    ...pci(disk.address, place),
  }
}

function virtioQueues({ queues, queueSize }: Disk, most?: number): Fields {
  return { 'num-queues': queues ?? most, 'queue-size': queueSize }
}

/** The disk is served by another program; it reads and writes the memory of the guest. */
function vhostUser({ disk, bootindex }: DriveOptions, place: Place): Part[] {
  const id = `char${disk.alias}`
  return [
    chardev('socket', { id, path: disk.socket }),
    device(virtioName('vhost-user-blk', disk.model), {
      id: disk.alias,
      chardev: id,
      bootindex,
      ...virtioQueues(disk),
      ...virtioOptions(disk),
      ...pci(disk.address, place),
    }),
  ]
}

function scsi(options: DriveOptions, place: Place): Part {
  const { disk } = options
  const { device_id, ...fields } = scsiFields(options)
  const spot = place.drives.get(disk)
  if (disk.device === 'lun') {
    const { serial: _, cyls: _c, heads: _h, secs: _s, wwn: _w, vendor: _v, product: _p, ...lun } = fields
    const { 'write-cache': _wc, discard_granularity: _d, removable: _r, ...kept } = lun
    return device('scsi-block', { ...kept, ...spot })
  }
  return device(disk.device === 'cdrom' ? 'scsi-cd' : 'scsi-hd', { ...fields, device_id, ...spot })
}

function scsiFields(options: DriveOptions): Fields {
  const { disk } = options
  const { vendor, product, wwn, serial, rotationRate } = disk
  const { cyls, heads, secs, ...shared } = common(options)
  const isDisk = disk.device === 'disk'
  return {
    ...shared,
    ...(isDisk ? { cyls, heads, secs, rotation_rate: rotationRate } : {}),
    // Without it the guest would be told the name of the drive, which may change.
    device_id: serial,
    vendor,
    product,
    wwn: wwnOf(wwn),
  }
}

/** A stick; or, for a CD-ROM, a USB bridge with a real CD-ROM drive behind it. */
function usb(options: DriveOptions): Part[] {
  const { disk } = options
  const spot = usbSpot(disk)
  const { cyls: _, heads: _h, secs: _s, ...fields } = common(options)
  if (disk.device !== 'cdrom')
    return [device('usb-storage', { ...fields, removable: disk.removable ?? false, ...spot })]
  const bridge = `${disk.alias}-usb`
  const { cyls, heads, secs, rotation_rate, device_id, ...drive } = scsiFields(options)
  return [
    device('usb-bot', { id: bridge, ...spot }),
    device('scsi-cd', { ...drive, bus: `${bridge}.0`, lun: 0 }),
  ]
}

function usbSpot({ address }: Disk): Fields {
  if (address?.type !== 'usb') return {}
  return { bus: `usb${Number(address.bus ?? 0)}.0`, port: address.port }
}

/** Behind a controller that the definition names, or with one of its own, which can be plugged in. */
function nvme(options: DriveOptions, place: Place): Part {
  const { disk, devices } = options
  const { cyls: _, heads: _h, secs: _s, werror: _w, rerror: _r, serial, ...fields } = common(options)
  const controller = Number(disk.address?.controller ?? 0)
  const isNamed = devices.controllers.some(({ type, index = 0 }) => type === 'nvme' && index === controller)
  if (isNamed && disk.address?.type !== 'pci')
    return device('nvme-ns', {
      ...fields,
      bus: `nvme${controller}`,
      nsid: disk.address?.unit === undefined ? undefined : Number(disk.address.unit) + 1,
    })
  return device('nvme', { ...fields, serial: serial ?? disk.target, ...pci(disk.address, place) })
}
