/**
 * GRUB's parts for a BIOS, told where they lie. GRUB's own installer does this to a disk that it looks up; here the
 * numbers are known. Source: GRUB 2.06, include/grub/i386/pc/boot.h, include/grub/offsets.h, util/setup.c.
 */
import { VisorError } from '../../model/index.ts'
import { sectorBytes } from './partition-table.ts'

/** Where boot.img has the sector of what it loads; 64 bits. */
const kernelSectorAt = 0x5c
/** A jump over the code for a BIOS that says a wrong drive: a hard disk needs that code. */
const driveCheckAt = 0x66
/** The only entry of the list of blocks at the end of the first sector of core.img: 64 bits of start, 16 of length. */
const blockListAt = sectorBytes - 12
const loadSegment = 0x820

/** `bootCode` is for the first sector of the disk, `core` for `firstSector` and after it. */
export function placeBootSectors(
  bootImage: Uint8Array,
  coreImage: Uint8Array,
  firstSector: number,
): { readonly bootCode: Buffer; readonly core: Buffer } {
  const bootCode = Buffer.from(bootImage)
  if (bootCode.length !== sectorBytes || bootCode.readUInt16LE(510) !== 0xaa55) throw notGrub('boot.img')
  bootCode.writeBigUInt64LE(BigInt(firstSector), kernelSectorAt)
  bootCode.writeUInt16LE(0x9090, driveCheckAt)

  const core = Buffer.alloc(Math.ceil(coreImage.length / sectorBytes) * sectorBytes)
  core.set(coreImage)
  if (core.length < 2 * sectorBytes || core.readUInt16LE(blockListAt + 10) !== loadSegment)
    throw notGrub('core.img')
  core.writeBigUInt64LE(BigInt(firstSector + 1), blockListAt)
  core.writeUInt16LE(core.length / sectorBytes - 1, blockListAt + 8)
  return { bootCode, core }
}

function notGrub(file: string): VisorError {
  return new VisorError('failed', `The boot loader GRUB has another '${file}' than is known here.`)
}
