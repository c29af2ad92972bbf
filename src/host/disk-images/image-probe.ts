/**
 * What a disk image looks like: its format, and the size that the guest sees. For lists, never to decide how an
 * image is opened: a guest can write any header at the beginning of a raw disk.
 *
 * Sources: QEMU's docs/interop/qcow2.txt and qed_spec.txt; VMware's "Virtual Disk Format 1.1"; VirtualBox's
 * VDICore.h; Microsoft's "Virtual Hard Disk Image Format Specification" and its VHDX one; the LUKS formats.
 */
import type { VolumeFormat } from '../../model/index.ts'

export interface ImageLook {
  readonly format: VolumeFormat
  /** Undefined where only its program can tell. */
  readonly capacityBytes?: number
  /** What is before the data of an encrypted one. */
  readonly headerBytes?: number
}

/** The first bytes of a file that are enough to tell; more, so that the rest of a header mostly comes with them. */
export const probeBytes = 4_096
const leastBytes = 512

const sectorBytes = 512n

/** What an image that begins like this is; undefined when it looks like none. */
export function probeImage(bytes: Buffer): ImageLook | undefined {
  const begins = (magic: string) => bytes.toString('latin1', 0, magic.length) === magic
  if (begins('vhdxfile')) return { format: 'vhdx' }
  if (begins('LUKS\xba\xbe')) return { format: 'luks', ...luksHeader(bytes) }
  if (begins('# Disk DescriptorFile') || begins('COWD')) return { format: 'vmdk' }
  if (bytes.length < leastBytes) return undefined
  if (begins('QFI\xfb'))
    return {
      format: bytes.readUInt32BE(4) === 1 ? 'qcow' : 'qcow2',
      capacityBytes: size(bytes.readBigUInt64BE(24)),
    }
  if (begins('QED\0')) return { format: 'qed', capacityBytes: size(bytes.readBigUInt64LE(48)) }
  if (begins('KDMV')) return { format: 'vmdk', capacityBytes: size(bytes.readBigUInt64LE(12) * sectorBytes) }
  if (begins('conectix')) return { format: 'vpc', capacityBytes: size(bytes.readBigUInt64BE(48)) }
  if (bytes.readUInt32LE(0x40) === 0xbeda107f)
    return { format: 'vdi', capacityBytes: size(bytes.readBigUInt64LE(0x170)) }
  return undefined
}

/** Of version 1, which QEMU makes: LUKS On-Disk Format Specification 1.2.3, the phdr. */
function luksHeader(bytes: Buffer): { headerBytes?: number } {
  if (bytes.length < 108 || bytes.readUInt16BE(6) !== 1) return {}
  return { headerBytes: bytes.readUInt32BE(104) * Number(sectorBytes) }
}

/** No more than can be counted exactly. */
const size = (bytes: bigint): number =>
  bytes > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(bytes)
