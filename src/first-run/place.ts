/** Where the first run keeps its things: in the checkout, so that the machine is not touched. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type Directories, findDirectories } from '../host/index.ts'

/** The checkout, or the installed package: the folder above with its package.json. */
export const packageRoot = findPackage(import.meta.dirname)

function findPackage(folder: string): string {
  if (existsSync(join(folder, 'package.json')) || dirname(folder) === folder) return folder
  return findPackage(dirname(folder))
}

/** What the kernel takes as the path of a unix socket (unix(7)), less what drivers put behind the directory. */
const longestRuntime = 107 - '/qemu/00000000-0000-0000-0000-000000000000/io/monitor.sock'.length

export interface Place {
  readonly directories: Directories
  /** What visord tells. */
  readonly logFile: string
}

/** The directories of a first run; those the user named win. */
export function findPlace(named: { readonly stateDir?: string; readonly runtimeDir?: string }): Place {
  const folder = join(packageRoot, '.visor')
  const state = resolve(named.stateDir ?? join(folder, 'state'))
  const runtime = resolve(named.runtimeDir ?? runtimeFor(folder))
  // A configuration of the machine's own visord is not for this one.
  const directories = { ...findDirectories(), state, runtime, config: join(folder, 'visord.yaml') }
  return { directories, logFile: join(state, 'visord.log') }
}

function runtimeFor(folder: string): string {
  const own = join(folder, 'run')
  if (Buffer.byteLength(own) <= longestRuntime) return own
  const mark = createHash('sha256').update(folder).digest('hex').slice(0, 8)
  return `/tmp/visor-${process.getuid?.() ?? 0}-${mark}`
}
