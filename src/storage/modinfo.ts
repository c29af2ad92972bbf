/**
 * What a Linux kernel module says about itself: the `.modinfo` section of its ELF file, NUL-terminated
 * `key=value` texts (include/linux/moduleparam.h, module_info).
 */
import { VisorError } from '../model/index.ts'
import { readSection } from './elf.ts'

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
