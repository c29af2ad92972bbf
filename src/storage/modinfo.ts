/**
 * What a Linux kernel module says about itself: the `.modinfo` section of its ELF file, NUL-terminated
 * `key=value` texts (include/linux/moduleparam.h, module_info). ELF: System V ABI, chapter 4.
 */
import { VisorError } from '../model/index.ts'

export interface ModuleInfo {
  readonly name: string
  /** Names of the modules that must be there first, `-` and `_` as written. */
  readonly depends: readonly string[]
  /** Patterns of the devices and services it is for. */
  readonly aliases: readonly string[]
}

/** Reads a module's description. Fails with `failed` when `file` is not a little-endian ELF file with one. */
export function parseModuleInfo(file: Buffer, fileName: string): ModuleInfo {
  try {
    return fromTexts(readSection(file, '.modinfo').toString('latin1').split('\0'), fileName)
  } catch (cause) {
    throw new VisorError('failed', `The file '${fileName}' is not a kernel module.`, { cause })
  }
}

function fromTexts(texts: readonly string[], fileName: string): ModuleInfo {
  const values = (key: string) =>
    texts.filter((text) => text.startsWith(`${key}=`)).map((text) => text.slice(key.length + 1))
  return {
    name: values('name')[0] ?? moduleName(fileName),
    depends: values('depends').flatMap((list) => list.split(',').filter((name) => name !== '')),
    aliases: values('alias'),
  }
}

/** The name a module goes by: its file's, less directory and suffixes, with `_` for `-`. */
export function moduleName(file: string): string {
  const base = file.slice(file.lastIndexOf('/') + 1)
  return base.replace(/\.ko(\.\w+)?$/u, '').replaceAll('-', '_')
}

/** Field offsets of the two ELF classes: header fields, then those of a section header. */
const layouts = {
  1: { sections: 0x20, entrySize: 0x2e, count: 0x30, names: 0x32, offset: 0x10, size: 0x14, wide: false },
  2: { sections: 0x28, entrySize: 0x3a, count: 0x3c, names: 0x3e, offset: 0x18, size: 0x20, wide: true },
} as const

function readSection(file: Buffer, wanted: string): Buffer {
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
