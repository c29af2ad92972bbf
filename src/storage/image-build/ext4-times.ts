/**
 * Times of the files of an ext4 file system that nobody has mounted. mke2fs takes them over from the folder that it
 * copies, also when a file's inode was changed, which differs from one build to the next. Source: the kernel's
 * Documentation/filesystems/ext4 (super, group_descr, inodes, checksums).
 */
import type { FileHandle } from 'node:fs/promises'
import { VisorError } from '../../model/index.ts'

const superblockBytes = 1024
const magic = 0xef53
const metadataChecksums = 0x400
const wideDescriptors = 0x80
const checksumSeed = 0x2000
const tableUnused = 0x1

interface Layout {
  readonly blockBytes: number
  readonly groups: number
  readonly inodesPerGroup: number
  readonly inodeBytes: number
  readonly descriptorBytes: number
  readonly descriptorsAt: number
  /** What the checksum of each inode begins with; undefined when they have none. */
  readonly seed: number | undefined
}

/**
 * Sets all times of all inodes to `seconds`, but those of changes of content only where they are later. The file
 * system begins at `offset` of the file. Fails with `failed` when there is none that is known here.
 */
export async function setTimes(file: FileHandle, offset: number, seconds: number): Promise<void> {
  const layout = readLayout(await readAt(file, offset + superblockBytes, superblockBytes))
  const { groups, descriptorBytes, inodesPerGroup, inodeBytes, blockBytes } = layout
  const descriptors = await readAt(file, offset + layout.descriptorsAt, groups * descriptorBytes)
  for (let group = 0; group < groups; group++) {
    const { table, used } = readDescriptor(descriptors.subarray(group * descriptorBytes), layout)
    if (used === 0) continue
    const at = offset + table * blockBytes
    const inodes = await readAt(file, at, used * inodeBytes)
    for (let index = 0; index < used; index++)
      setInode(
        inodes.subarray(index * inodeBytes, (index + 1) * inodeBytes),
        group * inodesPerGroup + index + 1,
        seconds,
        layout.seed,
      )
    await file.write(inodes, 0, inodes.length, at)
  }
}

function readLayout(bytes: Buffer): Layout {
  const incompatible = bytes.readUInt32LE(96)
  const inodeBytes = bytes.readUInt16LE(88)
  if (bytes.readUInt16LE(56) !== magic || (incompatible & checksumSeed) !== 0 || inodeBytes < 256)
    throw new VisorError('failed', 'The file system that was made is of a kind that is not known here.')
  const blockBytes = 1024 << bytes.readUInt32LE(24)
  const blocks = bytes.readUInt32LE(4) + bytes.readUInt32LE(336) * 2 ** 32
  const wide = (incompatible & wideDescriptors) !== 0
  const hasChecksums = (bytes.readUInt32LE(100) & metadataChecksums) !== 0
  return {
    blockBytes,
    groups: Math.ceil((blocks - bytes.readUInt32LE(20)) / bytes.readUInt32LE(32)),
    inodesPerGroup: bytes.readUInt32LE(40),
    inodeBytes,
    descriptorBytes: wide ? bytes.readUInt16LE(254) : 32,
    descriptorsAt: (bytes.readUInt32LE(20) + 1) * blockBytes,
    seed: hasChecksums ? crc32c(0xffffffff, bytes.subarray(104, 120)) : undefined,
  }
}

function readDescriptor(bytes: Buffer, { descriptorBytes, inodesPerGroup }: Layout) {
  const wide = descriptorBytes >= 64
  const table = bytes.readUInt32LE(8) + (wide ? bytes.readUInt32LE(40) * 2 ** 32 : 0)
  const unused = bytes.readUInt16LE(28) + (wide ? bytes.readUInt16LE(50) * 2 ** 16 : 0)
  const empty = (bytes.readUInt16LE(18) & tableUnused) !== 0
  return { table, used: empty ? 0 : inodesPerGroup - unused }
}

function setInode(bytes: Buffer, number: number, seconds: number, seed: number | undefined): void {
  if (bytes.readUInt16LE(0) === 0) return
  const [accessed, changed, modified, extraSize, created] = [8, 12, 16, 128, 144]
  bytes.writeUInt32LE(seconds, accessed)
  bytes.writeUInt32LE(seconds, changed)
  if (bytes.readUInt32LE(modified) > seconds) bytes.writeUInt32LE(seconds, modified)
  if (bytes.readUInt16LE(extraSize) < 32)
    throw new VisorError('failed', 'An inode that was made is too small.')
  // Nanoseconds of changed, modified, accessed and created.
  for (const at of [132, 136, 140, 148]) bytes.writeUInt32LE(0, at)
  bytes.writeUInt32LE(seconds, created)
  if (seed === undefined) return
  const [low, high] = [124, 130]
  bytes.writeUInt16LE(0, low)
  bytes.writeUInt16LE(0, high)
  const named = Buffer.alloc(8)
  named.writeUInt32LE(number, 0)
  bytes.copy(named, 4, 100, 104)
  const checksum = crc32c(crc32c(seed, named), bytes)
  bytes.writeUInt16LE(checksum & 0xffff, low)
  bytes.writeUInt16LE(checksum >>> 16, high)
}

const table = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value
})

/** CRC-32C without the last inversion, as ext4 has it. */
function crc32c(start: number, bytes: Uint8Array): number {
  let value = start
  for (const byte of bytes) value = (table[(value ^ byte) & 0xff] ?? 0) ^ (value >>> 8)
  return value >>> 0
}

async function readAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, at)
  if (bytesRead !== length) throw new VisorError('failed', 'The file system that was made is cut short.')
  return buffer
}
