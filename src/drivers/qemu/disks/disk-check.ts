/** What cannot be, of disks: told before anything starts. */
import type { Devices, Disk } from '../../../model/index.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Emulator, isAtLeast } from '../emulator/emulator.ts'
import { authOf, encryptionOf } from './disk-secrets.ts'

interface Checked {
  readonly disk: Disk
  readonly path: string
  readonly family: string
  readonly emulator: Emulator
}

/** Fails with `unsupported-config` at the first disk that this QEMU or machine cannot have. */
export function checkDisks({ disks }: Pick<Devices, 'disks'>, family: string, emulator: Emulator): void {
  for (const [index, disk] of disks.entries())
    for (const rule of rules) rule({ disk, path: `devices.disks[${index}]`, family, emulator })
}

const rules: readonly ((checked: Checked) => void)[] = [
  checkDriver,
  checkBus,
  checkIdentity,
  checkFormat,
  checkSource,
  checkBlockDrivers,
  checkQueues,
  checkSharing,
]

function checkDriver({ disk, path, emulator }: Checked): void {
  if (disk.io === 'native' && disk.cache !== 'none' && disk.cache !== 'directsync')
    throw unsupported(`${path}.io`, "'native' needs the cache mode 'none' or 'directsync'")
  if (disk.detectZeroes === 'unmap' && disk.discard === 'ignore')
    throw unsupported(`${path}.detectZeroes`, "'unmap' needs discard 'unmap'")
  if (disk.copyOnRead && disk.readonly)
    throw unsupported(`${path}.copyOnRead`, 'a disk that cannot be written keeps nothing')
  if (disk.discardNoUnref !== undefined && (disk.format !== 'qcow2' || !isAtLeast(emulator.version, '8.1')))
    throw unsupported(`${path}.discardNoUnref`, 'needs format qcow2 and QEMU 8.1 or newer')
  if (disk.metadataCacheBytes !== undefined && disk.format !== 'qcow2')
    throw unsupported(`${path}.metadataCacheBytes`, "is of the format 'qcow2'")
}

function checkBus({ disk, path, family }: Checked): void {
  if (disk.bus === 'ide' && family === 'q35')
    throw unsupported(`${path}.bus`, "'ide' is not on a q35 machine; use 'sata', or the machine type 'pc'")
  if (disk.bus === 'sd') throw unsupported(`${path}.bus`, "the machine has no 'sd'", "Use 'virtio'.")
  if (disk.device === 'lun' && disk.bus !== 'scsi')
    throw unsupported(`${path}.bus`, "of a 'lun' must be 'scsi'")
  if (disk.device === 'lun' && disk.type !== 'block' && disk.protocol !== 'iscsi')
    throw unsupported(`${path}.type`, "a 'lun' needs a block device of the host, or iscsi")
  if (disk.device === 'cdrom' && disk.bus === 'nvme')
    throw unsupported(`${path}.bus`, "a CD-ROM cannot be on 'nvme'", "Use 'sata' or 'scsi'.")
  if (disk.model !== undefined && disk.bus !== 'virtio')
    throw unsupported(`${path}.model`, "is of the bus 'virtio'")
  if (disk.removable !== undefined && disk.bus !== 'usb')
    throw unsupported(`${path}.removable`, "is of the bus 'usb'")
}

/** The most that the guest is told; more would be cut off. Source: QEMU's hw/block, hw/scsi, hw/ide, hw/nvme. */
const longestSerial = { virtio: 20, ide: 20, sata: 20, scsi: 36, usb: 36, nvme: 20, fdc: 0, sd: 0 }

function checkIdentity({ disk, path }: Checked): void {
  const { bus = 'virtio', serial, wwn, vendor, product, rotationRate, translation } = disk
  const longest = longestSerial[bus]
  if (serial !== undefined && serial.length > longest)
    throw unsupported(`${path}.serial`, `can have at most ${longest} characters on bus '${bus}'`)
  const isScsi = bus === 'scsi'
  const isAta = bus === 'ide' || bus === 'sata'
  if (wwn !== undefined && !isScsi && !isAta)
    throw unsupported(`${path}.wwn`, "is of the buses 'scsi', 'sata' and 'ide'")
  if (vendor !== undefined && !isScsi) throw unsupported(`${path}.vendor`, "is of the bus 'scsi'")
  if (product !== undefined && !isScsi && !isAta)
    throw unsupported(`${path}.product`, "is of the buses 'scsi', 'sata' and 'ide'")
  if (rotationRate !== undefined && (disk.device !== 'disk' || (!isScsi && !isAta)))
    throw unsupported(`${path}.rotationRate`, "is of disks on 'scsi', 'sata' and 'ide'")
  if (translation !== undefined && !isAta)
    throw unsupported(`${path}.translation`, "is of the buses 'sata' and 'ide'")
  if (disk.cylinders !== undefined && (bus === 'nvme' || bus === 'usb' || disk.device !== 'disk'))
    throw unsupported(`${path}.cylinders`, 'such a drive has no geometry')
  if ((disk.errorPolicy ?? disk.readErrorPolicy) !== undefined && (bus === 'nvme' || bus === 'fdc'))
    throw unsupported(`${path}.errorPolicy`, `a disk on '${bus}' has none`)
}

/** Formats that QEMU reads and does not write. */
const readOnlyFormats = new Set(['bochs', 'cloop', 'dmg'])

function checkFormat({ disk, path }: Checked): void {
  const { format, readonly, device } = disk
  if (readOnlyFormats.has(format) && !readonly && device !== 'cdrom')
    throw unsupported(`${path}.format`, `'${format}' can only be read`, 'Make the disk read-only.')
  if (disk.copyOnRead && !['qcow2', 'qed'].includes(format))
    throw unsupported(`${path}.copyOnRead`, `an image of format '${format}' is based on no other`)
  const encryption = encryptionOf(disk)
  if (!encryption) return
  if (encryption.engine === 'librbd' && disk.protocol === 'rbd') return
  if (encryption.format !== 'luks')
    throw unsupported(`${path}.encryption.format`, `'${encryption.format}' cannot be had`, "Use 'luks'.")
  if (format !== 'raw' && format !== 'qcow2')
    throw unsupported(`${path}.encryption`, `an image of format '${format}' cannot be encrypted`)
  if (encryption.secrets.length !== 1) throw unsupported(`${path}.encryption`, 'needs exactly one secret')
}

function checkSource({ disk, path }: Checked): void {
  if (disk.type === 'dir' && !disk.readonly)
    throw unsupported(`${path}.directory`, 'a folder as a disk can only be read', 'Make the disk read-only.')
  if (disk.type === 'dir' && disk.format !== 'fat' && disk.format !== 'raw')
    throw unsupported(`${path}.format`, "of a folder is 'fat'")
  if (disk.format === 'fat' && disk.type !== 'dir')
    throw unsupported(`${path}.format`, "'fat' is of disks of type 'dir'", "Use 'raw'.")
  if (disk.type === 'vhostuser' && disk.bus !== 'virtio')
    throw unsupported(`${path}.bus`, "of a disk of type 'vhostuser' must be 'virtio'")
  checkVolume(disk, path)
  for (const source of [disk, ...chainOf(disk)]) {
    if (source.knownHosts !== undefined || source.sshAgent !== undefined)
      throw unsupported(
        `${path}.knownHosts`,
        'QEMU takes the known hosts and the agent of the user it runs as',
      )
    if (source.reservations) throw unsupported(`${path}.reservations`, 'cannot be had')
    if (source !== disk && source.volume !== undefined)
      throw unsupported(`${path}.backingStore.volume`, 'cannot be had', 'Name its file.')
    for (const secret of [authOf(source)?.secret, ...(encryptionOf(source)?.secrets ?? [])])
      if (secret && [secret.file, secret.uuid, secret.usage].filter((one) => one !== undefined).length !== 1)
        throw unsupported(
          `${path}.encryption`,
          'needs a secret that is named once',
          'Name it by its uuid, its usage or its file.',
        )
  }
}

function checkVolume({ type, pool, poolMode }: Disk, path: string): void {
  if (type !== 'volume' && (pool ?? poolMode) !== undefined)
    throw unsupported(`${path}.${pool === undefined ? 'poolMode' : 'pool'}`, "is of disks of type 'volume'")
  if (type === 'volume' && pool === undefined)
    throw unsupported(
      `${path}.pool`,
      'must be given with a volume',
      "Name it: 'default' is the one there is.",
    )
  if (poolMode === 'direct')
    throw unsupported(`${path}.poolMode`, "'direct' cannot be had", "Leave it out: it is 'host' then.")
}

function chainOf({ backingStore }: Pick<Disk, 'backingStore'>): NonNullable<Disk['backingStore']>[] {
  return backingStore ? [backingStore, ...chainOf(backingStore)] : []
}

/** Packages of drivers that are programs of their own, as Debian and Fedora name them. */
const packages = 'qemu-block-extra (Debian, Ubuntu) or qemu-block-* (Fedora, SUSE)'

function checkBlockDrivers({ disk, path, emulator }: Checked): void {
  const { missingBlockDrivers: missing = [] } = emulator
  const names: Readonly<Record<string, string>> = { ploop: 'parallels', vhd: 'vpc', fat: 'vvfat', iso: 'raw' }
  for (const { protocol, type } of [disk, ...chainOf(disk)]) {
    const driver = protocol ?? (type === 'nvme' ? 'nvme' : undefined)
    if (driver !== undefined && missing.includes(driver))
      throw unsupported(
        `${path}.protocol`,
        `${emulator.path} cannot open '${driver}' here`,
        `Install the package ${packages}, or use another protocol.`,
      )
  }
  const format = names[disk.format] ?? disk.format
  if (missing.includes(format))
    throw unsupported(`${path}.format`, `${emulator.path} cannot read the format '${disk.format}'`)
}

function checkQueues({ disk, path }: Checked): void {
  const isVirtio = disk.bus === 'virtio'
  const names = ['queues', 'queueSize', 'ioEventFd', 'eventIndex', 'ioThread', 'iommu', 'ats'] as const
  for (const name of [...names, 'packed', 'pagePerVq'] as const)
    if (disk[name] !== undefined && !isVirtio)
      throw unsupported(`${path}.${name}`, "is of the bus 'virtio'", 'Give it to the controller instead.')
  if (disk.queueSize !== undefined && (disk.queueSize & (disk.queueSize - 1)) !== 0)
    throw unsupported(`${path}.queueSize`, `must be a power of two, not ${disk.queueSize}`)
  for (const name of ['logicalBlockBytes', 'physicalBlockBytes'] as const) {
    const bytes = disk[name]
    if (bytes !== undefined && (bytes & (bytes - 1)) !== 0)
      throw unsupported(`${path}.${name}`, `must be a power of two, not ${bytes}`)
  }
}

function checkSharing({ disk, path }: Checked): void {
  if (disk.shareable && disk.format !== 'raw')
    throw unsupported(`${path}.shareable`, `two machines would damage an image of format '${disk.format}'`)
  if (disk.shareable && disk.transient)
    throw unsupported(`${path}.transient`, 'what is written to it is shared with nobody', 'Remove shareable.')
  if (disk.transient && disk.type !== 'file' && disk.type !== 'block')
    throw unsupported(`${path}.transient`, 'needs a file or block device', 'Use an overlay of your own.')
  if (disk.transient && disk.device !== 'disk')
    throw unsupported(`${path}.transient`, `a ${disk.device} is not`)
  if (disk.transient && encryptionOf(disk))
    throw unsupported(`${path}.transient`, 'an encrypted disk cannot be')
  if (disk.transient && disk.format !== 'raw' && disk.format !== 'qcow2')
    throw unsupported(`${path}.transient`, `an image of format '${disk.format}' cannot be`)
}
