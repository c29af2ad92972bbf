/**
 * A disk's image as block nodes of QEMU: the image and, spelt out, all it is based on, so that QEMU opens
 * exactly these files. The nodes of the disk `vda` are `vda`, its file `vda-file`, what it is based on `vda-b1`
 * with `vda-b1-file`, and so on: a name of a node has at most 31 characters.
 */
import type { Disk } from '../../../model/index.ts'
import { unsupported } from '../definition/unsupported.ts'
import type { DiskImage } from './disk-image.ts'
import { encryptionOf, secretId } from './disk-secrets.ts'
import { type BlockOptions, remoteOptions } from './disk-source.ts'

/** QEMU's names of formats that libvirt calls otherwise. */
const drivers: Readonly<Record<string, string>> = {
  ploop: 'parallels',
  vhd: 'vpc',
  iso: 'raw',
  fat: 'raw',
}
/** Formats whose images may be based on others: that they are not is to be said. */
const layered = new Set(['qcow2', 'qcow', 'qed', 'vmdk'])

/** The node under a disk's drive: the image itself, or what stands between it and the guest. */
export const topNode = (disk: Pick<Disk, 'target' | 'copyOnRead'>): string =>
  disk.copyOnRead ? `${disk.target}-cor` : disk.target

/** The node of an image with all below it; `name` is that of the node. */
export function blockNode(
  disk: Disk,
  image: DiskImage,
  name: string,
  readonly: boolean,
): Record<string, unknown> {
  return withoutAbsent(layer(disk, image, name, readonly, 0))
}

/** {@link blockNode} of a disk as its drive gets it. */
export function driveNode(disk: Disk, image: DiskImage, readonly: boolean): Record<string, unknown> {
  const node = blockNode(disk, image, disk.target, readonly)
  if (!disk.copyOnRead) return node
  return { driver: 'copy-on-read', 'node-name': topNode(disk), file: node, ...cacheOf(disk) }
}

function layer(disk: Disk, image: DiskImage, name: string, readonly: boolean, depth: number): BlockOptions {
  const { format, backing, source = disk } = image
  const node = {
    driver: drivers[format] ?? format,
    'node-name': name,
    'read-only': readonly,
    ...cacheOf(disk),
    discard: disk.discard ?? 'unmap',
    ...(depth === 0 && disk.detectZeroes ? { 'detect-zeroes': disk.detectZeroes } : {}),
    ...(format === 'qcow2' && depth === 0
      ? { 'cache-size': disk.metadataCacheBytes, 'discard-no-unref': disk.discardNoUnref }
      : {}),
    ...encryption(image, name, disk),
    ...(format === 'raw' && source.slice ? sliceOf(source.slice) : {}),
    file: protocol(disk, image, name),
  }
  if (!layered.has(format)) return node
  const below = `${name.replace(/-b\d+$/u, '')}-b${depth + 1}`
  return { ...node, backing: backing ? layer(disk, backing, below, true, depth + 1) : null }
}

/** QEMU opens a file for writing only while something writes it, so that a commit can write what is read-only now. */
function protocol(disk: Disk, image: DiskImage, name: string): BlockOptions {
  const { format, source } = image
  const node = {
    ...(source
      ? remoteOptions(source, name)
      : {
          driver: image.isDevice ? 'host_device' : 'file',
          filename: image.path,
          ...(disk.io ? { aio: disk.io } : {}),
        }),
    'node-name': `${name}-file`,
    ...(source?.type === 'dir' ? { 'read-only': true } : { 'auto-read-only': true }),
    ...cacheOf(disk),
    discard: disk.discard ?? 'unmap',
  }
  const slice = (source ?? disk).slice
  if (!slice || format === 'raw') return node
  return { driver: 'raw', 'node-name': `${name}-slice`, ...sliceOf(slice), file: node }
}

const sliceOf = ({ offset, size }: NonNullable<Disk['slice']>) => ({ offset, size })

function cacheOf({ cache }: Disk): BlockOptions {
  if (cache === undefined || cache === 'default') return {}
  return {
    cache: { direct: cache === 'none' || cache === 'directsync', 'no-flush': cache === 'unsafe' },
  }
}

function encryption({ format, source, encrypted }: DiskImage, name: string, disk: Disk): BlockOptions {
  const wanted = encrypted ?? encryptionOf(source ?? disk)
  if (!wanted || wanted.engine === 'librbd') return {}
  const key = secretId(name, 'key')
  if (format === 'qcow2') return { encrypt: { format: 'luks', 'key-secret': key } }
  if (format === 'raw') return { driver: 'luks', 'key-secret': key }
  throw unsupported('devices.disks', `an image of format '${format}' cannot be encrypted`)
}

/** Also further down: what is absent must not be said at all. */
function withoutAbsent(node: BlockOptions): Record<string, unknown> {
  return JSON.parse(JSON.stringify(node)) as Record<string, unknown>
}
