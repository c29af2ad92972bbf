/** Disks as parts of QEMU: secrets, the image with what it is based on, and the drive the guest sees. */
import type { Disk } from '../../../model/index.ts'
import { blockdev, type Part } from '../definition/parts.ts'
import type { Place } from '../devices/device-place.ts'
import { type DriveOptions, driveParts } from './disk-device.ts'
import type { DiskImage } from './disk-image.ts'
import { driveNode, topNode } from './disk-node.ts'
import { secretParts } from './disk-secrets.ts'

export { blockNode } from './disk-node.ts'

/** What QEMU may write: the disk's own image. */
export function isWritten({ readonly, device, type }: Pick<Disk, 'readonly' | 'device' | 'type'>): boolean {
  return !readonly && device !== 'cdrom' && type !== 'dir'
}

/**
 * The parts of a disk, in the order in which they are made. An optional disk whose source is missing
 * (`startupPolicy`) has none; so has a drive without medium, but for the drive.
 */
export function diskParts(
  options: Omit<DriveOptions, 'node'>,
  image: DiskImage | undefined,
  place: Place,
): Part[] {
  const { disk } = options
  const removable = disk.device === 'cdrom' || disk.device === 'floppy'
  if (!image && !removable && disk.type !== 'vhostuser') return []
  const node = image ? topNode(disk) : undefined
  return [...(image ? mediumParts(disk, image, place) : []), ...driveParts({ ...options, node }, place)]
}

/** The medium of a drive alone, as it is put in while the machine runs; its node is {@link topNode}. */
export function mediumParts(disk: Disk, image: DiskImage, place: Pick<Place, 'paths'>): Part[] {
  return [
    ...chain(image).flatMap(({ source }, depth) => {
      const name = depth === 0 ? disk.target : `${disk.target}-b${depth}`
      const own = source ?? (depth === 0 ? disk : undefined)
      return own ? secretParts(own, name, place.paths) : []
    }),
    blockdev(driveNode(disk, image, !isWritten(disk))),
  ]
}

function chain(image: DiskImage): DiskImage[] {
  return image.backing ? [image, ...chain(image.backing)] : [image]
}
