import { gunzipSync } from 'node:zlib'
import type { HostFiles } from './files.ts'

/** How the kernel has a feature. `loadable`: a module that loads itself when it is used. */
export type FeatureState = 'built-in' | 'loaded' | 'loadable' | 'absent' | 'unknown'

/** What to look for; every part is one way to know. */
export interface KernelFeature {
  /** Option of the kernel's configuration. */
  readonly option?: string
  /** Name of the module, with underscores. */
  readonly module?: string
  /** Name in /proc/filesystems. */
  readonly filesystem?: string
  /** A file that is there only with the feature. */
  readonly path?: string
}

/** What the running kernel was made with; read once, asked often. */
export interface Kernel {
  readonly release: string
  /** Whether the configuration could be read; without it, absence is harder to tell. */
  readonly configured: boolean
  stateOf(feature: KernelFeature): FeatureState
}

/** Options of a kernel configuration: `CONFIG_BRIDGE=y`. What is not set is left out. */
export function parseKernelConfig(text: string): Map<string, string> {
  const options = new Map<string, string>()
  for (const [, name, value] of text.matchAll(/^(CONFIG_\w+)=(.*)$/gmu))
    if (name !== undefined && value !== undefined) options.set(name, value.replace(/^"(.*)"$/u, '$1'))
  return options
}

/** Module names of modules.builtin or modules.dep: `kernel/net/bridge/bridge.ko: ...`. */
export function parseModuleList(text: string): Set<string> {
  const names = new Set<string>()
  for (const line of text.split('\n')) {
    const file = line.split(':')[0]?.split('/').at(-1) ?? ''
    const name = file.replace(/\.ko(\.\w+)?$/u, '')
    if (name !== '') names.add(name.replaceAll('-', '_'))
  }
  return names
}

/** Names of /proc/filesystems. */
export function parseFilesystems(text: string): Set<string> {
  return new Set(text.split('\n').flatMap((line) => line.split('\t').at(-1)?.trim() || []))
}

/** Reads what the kernel can do from its configuration, module lists and /sys/module. Loads nothing. */
export function readKernel(files: HostFiles): Kernel {
  const release = files.read('/proc/sys/kernel/osrelease')?.trim() ?? ''
  const config = readConfig(files, release)
  const modules = `/lib/modules/${release}`
  const builtIn = parseModuleList(files.read(`${modules}/modules.builtin`) ?? '')
  const loadable = parseModuleList(files.read(`${modules}/modules.dep`) ?? '')
  const filesystems = parseFilesystems(files.read('/proc/filesystems') ?? '')
  return { release, configured: config !== undefined, stateOf }

  function stateOf({ option, module, filesystem, path }: KernelFeature): FeatureState {
    const set = option === undefined ? undefined : config?.get(option)
    if (set === 'y' || (module !== undefined && builtIn.has(module))) return 'built-in'
    if (module !== undefined && files.exists(`/sys/module/${module}`)) return 'loaded'
    if (filesystem !== undefined && filesystems.has(filesystem)) return 'loaded'
    if (path !== undefined && files.exists(path)) return 'loaded'
    if (module !== undefined && loadable.has(module)) return 'loadable'
    // Configured as a module whose file is not installed (or its folder cannot be seen).
    if (set === 'm') return loadable.size > 0 ? 'absent' : 'loadable'
    const told = (option !== undefined && config) || (module !== undefined && loadable.size > 0)
    return told ? 'absent' : 'unknown'
  }
}

function readConfig(files: HostFiles, release: string): Map<string, string> | undefined {
  const packed = files.readBytes('/proc/config.gz')
  if (packed) {
    try {
      return parseKernelConfig(gunzipSync(packed, { maxOutputLength: 4 * 2 ** 20 }).toString('utf8'))
    } catch {
      // Cut off or not gzip: the other places may still do.
    }
  }
  const text = [`/boot/config-${release}`, `/lib/modules/${release}/config`]
    .map((path) => files.read(path))
    .find((found) => found !== undefined)
  return text === undefined ? undefined : parseKernelConfig(text)
}
