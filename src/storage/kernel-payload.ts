/**
 * The kernel inside a bzImage. Started as it is, through the entry that it has for virtual machines (PVH), a
 * kernel is at its first process half a second earlier under emulation: nothing is unpacked by the guest.
 *
 * Sources: the kernel's Documentation/arch/x86/boot.rst (payload_offset, payload_length), lib/decompress_unlz4.c
 * (the "legacy" frame), Xen's public/elfnote.h (XEN_ELFNOTE_PHYS32_ENTRY).
 */
import { constants, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { readSection } from './elf.ts'

const maxOutputLength = 512 * 2 ** 20

/**
 * The uncompressed kernel; undefined when it is packed in a way not known here, or has no entry for virtual
 * machines. Nothing but the time to the prompt depends on it.
 */
export function extractKernel(bzImage: Buffer): Buffer | undefined {
  try {
    const setupSectors = bzImage[0x1f1] || 4
    const start = (setupSectors + 1) * 512 + bzImage.readUInt32LE(0x248)
    const kernel = unpack(bzImage.subarray(start, start + bzImage.readUInt32LE(0x24c)))
    return kernel && hasPvhEntry(kernel) ? kernel : undefined
  } catch {
    return undefined
  }
}

/** The payload ends with the size it unpacks to, which is no part of the compressed data. */
function unpack(payload: Buffer): Buffer | undefined {
  const size = payload.readUInt32LE(payload.length - 4)
  if (size > maxOutputLength) return undefined
  const magic = payload.readUInt32LE(0)
  if (magic === 0x184c2102) return unpackLegacyLz4(payload.subarray(4, -4), size)
  if (magic === 0xfd2fb528) return zstdDecompressSync(payload.subarray(0, -4), { maxOutputLength })
  if ((magic & 0xffffff) === 0x088b1f)
    return gunzipSync(payload, { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH })
  return undefined
}

/** Blocks, each with its compressed size before it. */
function unpackLegacyLz4(data: Buffer, size: number): Buffer | undefined {
  const output = Buffer.alloc(size)
  let written = 0
  for (let at = 0; at + 4 <= data.length; ) {
    const end = at + 4 + data.readUInt32LE(at)
    if (end > data.length) return undefined
    written = unpackLz4Block(data.subarray(at + 4, end), output, written)
    at = end
  }
  return written === size ? output : undefined
}

/** One block of the LZ4 block format, appended to `output` at `written`; gives the new end. */
export function unpackLz4Block(block: Buffer, output: Buffer, written: number): number {
  let from = 0
  let to = written
  const readLength = (nibble: number) => {
    let length = nibble
    if (nibble === 15)
      for (let more = 255; more === 255; length += more) {
        more = block.readUInt8(from++)
      }
    return length
  }
  while (from < block.length) {
    const token = block.readUInt8(from++)
    const literals = readLength(token >> 4)
    if (from + literals > block.length || to + literals > output.length) throw new RangeError('cut short')
    block.copy(output, to, from, from + literals)
    from += literals
    to += literals
    if (from >= block.length) break
    const distance = block.readUInt16LE(from)
    from += 2
    const length = readLength(token & 15) + 4
    if (distance === 0 || distance > to || to + length > output.length) throw new RangeError('not LZ4')
    // What is copied may begin in what was just written.
    for (const stop = to + length; to < stop; ) {
      const step = Math.min(distance, stop - to)
      output.copyWithin(to, to - distance, to - distance + step)
      to += step
    }
  }
  return to
}

const pvhEntryNote = 18

function hasPvhEntry(kernel: Buffer): boolean {
  const notes = readSection(kernel, '.notes')
  for (let at = 0; at + 12 <= notes.length; ) {
    const nameSize = notes.readUInt32LE(at)
    const name = notes.toString('latin1', at + 12, at + 12 + nameSize)
    if (name === 'Xen\0' && notes.readUInt32LE(at + 8) === pvhEntryNote) return true
    at += 12 + align(nameSize) + align(notes.readUInt32LE(at + 4))
  }
  return false
}

function align(size: number): number {
  return (size + 3) & ~3
}
