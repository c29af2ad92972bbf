/** Sections of ELF files. Source: System V ABI, chapter 4. */

/** Field offsets of the two ELF classes: header fields, then those of a section header. */
const layouts = {
  1: { sections: 0x20, entrySize: 0x2e, count: 0x30, names: 0x32, offset: 0x10, size: 0x14, wide: false },
  2: { sections: 0x28, entrySize: 0x3a, count: 0x3c, names: 0x3e, offset: 0x18, size: 0x20, wide: true },
} as const

/** The bytes of a section. Throws when `file` is not a little-endian ELF file, or has no such section. */
export function readSection(file: Buffer, wanted: string): Buffer {
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[5] !== 1) throw new Error('not a little-endian ELF file')
  const layout = layouts[file[4] === 1 ? 1 : 2]
  const word = (at: number) => (layout.wide ? Number(file.readBigUInt64LE(at)) : file.readUInt32LE(at))
  const table = word(layout.sections)
  const entrySize = file.readUInt16LE(layout.entrySize)
  const header = (index: number) => table + index * entrySize
  const bytes = (at: number) => {
    const start = word(at + layout.offset)
    return file.subarray(start, start + word(at + layout.size))
  }
  const names = bytes(header(file.readUInt16LE(layout.names)))
  for (let index = 0; index < file.readUInt16LE(layout.count); index++) {
    const start = file.readUInt32LE(header(index))
    if (names.toString('latin1', start, names.indexOf(0, start)) === wanted) return bytes(header(index))
  }
  throw new Error(`no section ${wanted}`)
}
