import { userInfo } from 'node:os'
import {
  type Directories,
  type Environment,
  findDirectories,
  type HostFiles,
  hostFiles,
  type Kernel,
  type PackageFamily,
  type Processor,
  readEnvironment,
  readKernel,
  readPackageFamily,
  readProcessor,
  restPort,
} from '../host/index.ts'
import type { Check, ProbeResult } from '../model/index.ts'

/** What the checks look at: this host, or in tests one whose files were recorded. */
export interface Subject {
  readonly files: HostFiles
  readonly processor: Processor
  readonly environment: Environment
  readonly kernel: Kernel
  readonly packages: PackageFamily
  readonly user: { readonly name: string; readonly id: number }
  readonly directories: Directories
  /** Directories that programs are looked for in. */
  readonly programPath: readonly string[]
  /** The port visord is to listen on. */
  readonly tcpPort: number
  /** What the drivers say of themselves. */
  readonly probes: Promise<readonly ProbeResult[]>
  readonly signal: AbortSignal
}

/** A check's answer; the id is that of the table it stands in unless it gives its own. */
export type Finding = Omit<Check, 'id'> & { readonly id?: string }

/** Looks at one thing. `undefined`: there is nothing to say about it on such a host. */
export type CheckFunction = (
  subject: Subject,
) => Finding | readonly Finding[] | undefined | Promise<Finding | readonly Finding[] | undefined>

/** Checks that belong together, by id. */
export interface CheckTable {
  readonly id: string
  readonly title: string
  readonly checks: Readonly<Record<string, CheckFunction>>
}

export interface SubjectOptions {
  readonly files?: HostFiles
  readonly user?: Subject['user']
  readonly directories?: Directories
  readonly programPath?: readonly string[]
  readonly tcpPort?: number
  readonly probes: Promise<readonly ProbeResult[]>
  readonly signal: AbortSignal
}

/** Where visord listens when its configuration names no place. */

/** Reads the facts that many checks ask for. */
export function createSubject(options: SubjectOptions): Subject {
  const { files = hostFiles(), directories = findDirectories(), probes, signal } = options
  const processor = readProcessor(files)
  return {
    files,
    processor,
    environment: readEnvironment(files, processor),
    kernel: readKernel(files),
    packages: readPackageFamily(files),
    user: options.user ?? currentUser(),
    directories,
    programPath: options.programPath ?? defaultProgramPath(),
    tcpPort: options.tcpPort ?? restPort,
    probes,
    signal,
  }
}

function currentUser(): Subject['user'] {
  try {
    const { username, uid } = userInfo()
    return { name: username, id: uid }
  } catch {
    // A user id without an entry in the password file.
    return { name: String(process.getuid?.() ?? 0), id: process.getuid?.() ?? 0 }
  }
}

/** PATH, and where daemons and their companions are kept though no PATH names it. */
function defaultProgramPath(): string[] {
  const path = process.env.PATH?.split(':').filter((entry) => entry.startsWith('/')) ?? []
  return [
    ...new Set([
      ...path,
      '/usr/local/sbin',
      '/usr/sbin',
      '/sbin',
      '/usr/libexec',
      '/usr/lib/qemu',
      '/usr/lib/xen/bin',
    ]),
  ]
}
