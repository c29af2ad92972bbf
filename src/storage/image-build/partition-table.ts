/**
 * A GUID partition table with its protective MBR, as bytes. Source: UEFI specification 2.10, chapter 5; type GUIDs of
 * the Discoverable Partitions Specification and of GRUB's manual ("BIOS installation").
 */
import { crc32 } from 'node:zlib'

export const sectorBytes = 512
const entryBytes = 128
const entryCount = 128
const entrySectors = (entryBytes * entryCount) / sectorBytes

/** What partitions are for, as GUIDs. */
export const partitionTypes = {
  biosBoot: '21686148-6449-6e6f-744e-656564454649',
  efiSystem: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
  linuxRootX64: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
} as const

export interface Partition {
  /** From 1 to 128. */
  readonly number: number
  readonly type: string
  readonly uuid: string
  /** At most 36 UTF-16 units. */
  readonly name: string
  readonly firstSector: number
  readonly sectors: number
}

export interface PartitionTable {
  /** For the start of the disk. */
  readonly primary: Buffer
  /** For its end: its last sectors. */
  readonly backup: Buffer
}

/** The first sector that a partition may have. */
export const firstUsableSector = 2 + entrySectors

/** The last sector that a partition may have on a disk of so many. */
export function lastUsableSector(diskSectors: number): number {
  return diskSectors - entrySectors - 2
}

/** `bootCode`, at most 440 bytes of it, is what a BIOS starts. */
export function formatPartitionTable(
  disk: { readonly sectors: number; readonly uuid: string; readonly bootCode: Uint8Array },
  partitions: readonly Partition[],
): PartitionTable {
  const entries = Buffer.alloc(entryBytes * entryCount)
  for (const one of partitions) {
    const last = one.firstSector + one.sectors - 1
    if (one.firstSector < firstUsableSector || last > lastUsableSector(disk.sectors))
      throw new RangeError(`partition ${one.number} is not on the disk`)
    const at = (one.number - 1) * entryBytes
    guidBytes(one.type).copy(entries, at)
    guidBytes(one.uuid).copy(entries, at + 16)
    entries.writeBigUInt64LE(BigInt(one.firstSector), at + 32)
    entries.writeBigUInt64LE(BigInt(last), at + 40)
    entries.write(one.name.slice(0, 36), at + 56, 'utf16le')
  }
  const end = disk.sectors - 1
  const header = (own: number, other: number, firstEntry: number) => {
    const bytes = Buffer.alloc(sectorBytes)
    bytes.write('EFI PART', 0, 'latin1')
    bytes.writeUInt32LE(0x10000, 8)
    bytes.writeUInt32LE(92, 12)
    bytes.writeBigUInt64LE(BigInt(own), 24)
    bytes.writeBigUInt64LE(BigInt(other), 32)
    bytes.writeBigUInt64LE(BigInt(firstUsableSector), 40)
    bytes.writeBigUInt64LE(BigInt(lastUsableSector(disk.sectors)), 48)
    guidBytes(disk.uuid).copy(bytes, 56)
    bytes.writeBigUInt64LE(BigInt(firstEntry), 72)
    bytes.writeUInt32LE(entryCount, 80)
    bytes.writeUInt32LE(entryBytes, 84)
    bytes.writeUInt32LE(crc32(entries), 88)
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 92)), 16)
    return bytes
  }
  return {
    primary: Buffer.concat([protectiveMbr(disk), header(1, end, 2), entries]),
    backup: Buffer.concat([entries, header(end, 1, end - entrySectors)]),
  }
}

function protectiveMbr({
  sectors,
  bootCode,
}: {
  readonly sectors: number
  readonly bootCode: Uint8Array
}): Buffer {
  const bytes = Buffer.alloc(sectorBytes)
  bytes.set(bootCode.subarray(0, 440))
  // From sector 1 (CHS 0/0/2) to the end, of the type that says that there is another table.
  bytes.set([0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff], 446)
  bytes.writeUInt32LE(1, 454)
  bytes.writeUInt32LE(Math.min(sectors - 1, 0xffffffff), 458)
  bytes.writeUInt16LE(0xaa55, 510)
  return bytes
}

/** Its first three parts are little endian. */
function guidBytes(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex')
  bytes.subarray(0, 4).reverse()
  bytes.subarray(4, 6).reverse()
  bytes.subarray(6, 8).reverse()
  return bytes
}
