import { type Dirent, promises as fs } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip, zstdDecompress } from 'node:zlib'
import { runChecked } from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import { type ModuleInfo, moduleName, parseModuleInfo } from './modinfo.ts'

/** A module, uncompressed, with what it says about itself. */
export interface KernelModule extends ModuleInfo {
  readonly content: Buffer
}

/**
 * The named modules found under `directory` (lib/modules/RELEASE) and all they depend on, every module after
 * those it needs. Names that are built into the kernel or not there are left out.
 */
export async function collectModules(
  directory: string,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<KernelModule[]> {
  const files = await indexModules(directory)
  const found = new Map<string, KernelModule | undefined>()

  async function collect(name: string): Promise<void> {
    const key = moduleName(name)
    const file = files.get(key)
    if (found.has(key) || file === undefined) return
    signal?.throwIfAborted()
    // A place in the map before its dependencies are read ends cycles.
    found.set(key, undefined)
    const content = await readModule(file)
    const module = { ...parseModuleInfo(content, file), content }
    for (const needed of module.depends) await collect(needed)
    // Again at the end, so that the order of the map is the order of loading.
    found.delete(key)
    found.set(key, module)
  }

  for (const name of names) await collect(name)
  return [...found.values()].filter((module) => module !== undefined)
}

/** Module files by module name. */
async function indexModules(directory: string): Promise<Map<string, string>> {
  const entries: Dirent[] = await fs.readdir(directory, { recursive: true, withFileTypes: true })
  const modules = entries.filter((entry) => entry.isFile() && /\.ko(\.(gz|xz|zst))?$/u.test(entry.name))
  return new Map(modules.map((entry) => [moduleName(entry.name), join(entry.parentPath, entry.name)]))
}

async function readModule(file: string): Promise<Buffer> {
  const maxOutputLength = 64 * 2 ** 20
  const content = await fs.readFile(file)
  if (file.endsWith('.gz')) return promisify(gunzip)(content, { maxOutputLength })
  if (file.endsWith('.zst')) return promisify(zstdDecompress)(content, { maxOutputLength })
  if (!file.endsWith('.xz')) return content
  return readXz(file)
}

/** Node has no xz; the program replaces the file, which is in a directory of our own. */
async function readXz(file: string): Promise<Buffer> {
  try {
    await runChecked('xz', ['--decompress', '--force', file])
  } catch (cause) {
    throw new VisorError('unavailable', `The kernel module '${file}' could not be unpacked.`, {
      remedy: "Install the package 'xz-utils'.",
      cause,
    })
  }
  return fs.readFile(file.slice(0, -'.xz'.length))
}

/**
 * modules.dep and modules.alias for these modules, given in the order of loading, all in one directory.
 * modprobe loads the list of a module from its end.
 */
export function formatModuleIndex(modules: readonly KernelModule[]): { dep: string; alias: string } {
  const byName = new Map(modules.map((module) => [moduleName(module.name), module]))
  const collect = (module: KernelModule, needed = new Set<string>()): Set<string> => {
    for (const name of module.depends.map(moduleName)) {
      const dependency = byName.get(name)
      if (!dependency || needed.has(name)) continue
      needed.add(name)
      collect(dependency, needed)
    }
    return needed
  }
  const latestFirst = [...byName.keys()].reverse()
  const dep = [...byName].map(([name, module]) => {
    const needed = collect(module)
    return [`${name}.ko:`, ...latestFirst.filter((other) => needed.has(other)).map((other) => `${other}.ko`)]
  })
  const alias = [...byName].flatMap(([name, module]) => module.aliases.map((text) => ['alias', text, name]))
  const lines = (rows: readonly (readonly string[])[]) => rows.map((row) => `${row.join(' ')}\n`).join('')
  return { dep: lines(dep), alias: lines(alias) }
}
