/**
 * The programs that serve folders to guests: QEMU's own of old, written in C, and the one that came after it, written
 * in Rust. Source: QEMU's docs/interop/vhost-user.json, virtiofsd(1) of QEMU 7.2, the README of virtiofsd 1.13.
 */
import { access, constants, readdir, readFile, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../../../host/index.ts'
import type { Filesystem } from '../../../../model/index.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { findProgram } from '../../emulator/emulator.ts'
import { isRecord } from '../../qmp/index.ts'

/** A program that serves folders, and what it can do. */
export interface Virtiofsd {
  readonly path: string
  /** How it wants its options: `-o key=value` of the one in C, or words of their own. */
  readonly dialect: 'c' | 'rust'
  /** Whether it can refuse writing by itself. */
  readonly readonly: boolean
}

/** Where it is where no description says so. */
const usualPlaces = ['/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd', '/usr/lib/virtiofsd']

const descriptions = ['/etc/qemu/vhost-user', '/usr/share/qemu/vhost-user']

const known = new Map<string, Promise<Virtiofsd | undefined>>()

/**
 * The program of that path, or that of this host: the first of QEMU's descriptions of such programs, else one at a
 * usual place. Undefined where there is none.
 */
export async function findVirtiofsd(path?: string): Promise<Virtiofsd | undefined> {
  if (path !== undefined) return inspect(path)
  for (const candidate of [...(await describedPrograms()), ...usualPlaces]) {
    const found = await inspect(candidate)
    if (found) return found
  }
  const program = await findProgram('virtiofsd')
  return program === undefined ? undefined : inspect(program)
}

/** As QEMU wants them read: by name, where an earlier folder has precedence and an empty file hides those after it. */
async function describedPrograms(places: readonly string[] = descriptions): Promise<string[]> {
  const files = new Map<string, string>()
  for (const directory of places)
    for (const name of await readdir(directory).catch(() => []))
      if (name.endsWith('.json') && !files.has(name)) files.set(name, join(directory, name))
  const found = await Promise.all(
    [...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => describedProgram(file)),
  )
  return found.filter((one) => one !== undefined)
}

async function describedProgram(file: string): Promise<string | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    const isOne = isRecord(value) && value.type === 'fs' && typeof value.binary === 'string'
    return isOne ? String(value.binary) : undefined
  } catch {
    return undefined
  }
}

/** Asks it once, until it changes. */
async function inspect(path: string): Promise<Virtiofsd | undefined> {
  try {
    await access(path, constants.X_OK)
    const found = await stat(await realpath(path))
    const { size, mtimeMs, uid, mode } = found
    // It is run with our rights: nobody else may have a hand in it.
    const isTrusted = (uid === 0 || uid === process.getuid?.()) && (mode & 0o022) === 0
    if (!found.isFile() || !isTrusted) return undefined
    const print = `${path}:${size}:${mtimeMs}`
    const asked = known.get(print) ?? ask(path)
    known.set(print, asked)
    return await asked
  } catch {
    return undefined
  }
}

async function ask(path: string): Promise<Virtiofsd | undefined> {
  const { stdout, stderr } = await run(path, ['--help'], { timeoutMs: 10_000, maxBytes: 2 ** 20 })
  return readHelp(path, `${stdout}${stderr}`)
}

/** What its help says it can do; undefined when it is no such program. */
export function readHelp(path: string, help: string): Virtiofsd | undefined {
  const words = new Set(help.match(/--[a-z][a-z-]*/gu))
  if (!words.has('--fd') || !words.has('--socket-path')) return undefined
  const dialect = words.has('--shared-dir') ? 'rust' : 'c'
  return { path, dialect, readonly: words.has('--readonly') }
}

/** Fails with `unsupported-config` for what this program cannot do. */
export function checkProgram(
  one: Filesystem,
  { path: program, dialect, readonly }: Virtiofsd,
  path: string,
): void {
  const { sandbox, posixLocks, flock } = one
  const isRoot = process.getuid?.() === 0
  if (one.readonly && !readonly && !isRoot)
    throw unsupported(
      `${path}.readonly`,
      `'${program}' cannot refuse writing, and mounting the folder read-only takes root`,
      "Use the driver 'path' (9p), or a newer virtiofsd.",
    )
  if (one.readonly && !readonly && sandbox === 'namespace')
    throw unsupported(
      `${path}.sandbox`,
      `'${program}' shares read-only with the sandbox 'chroot' only`,
      'Leave the sandbox out.',
    )
  if (dialect === 'rust' && (posixLocks || flock))
    throw unsupported(
      `${path}.${posixLocks ? 'posixLocks' : 'flock'}`,
      `'${program}' has no locks that reach the host`,
    )
  if (dialect === 'rust' && sandbox === 'chroot' && !isRoot)
    throw unsupported(`${path}.sandbox`, "'chroot' takes root", "Use 'namespace'.")
}

export interface Served {
  /** The number of the socket on which it is to listen. */
  readonly socket: number
  /** The number of the folder, where it was opened for it. */
  readonly folder?: number | undefined
}

/** The program and its arguments. Whoever is not root is root of a user namespace of their own for it. */
export function serveCommand(
  one: Filesystem,
  virtiofsd: Virtiofsd,
  { socket, folder }: Served,
  isRoot: boolean = process.getuid?.() === 0,
): { readonly program: string; readonly args: readonly string[] } {
  const { path, dialect } = virtiofsd
  // The one in C wants a folder that is no link.
  const source = folder === undefined ? (one.source ?? '') : `/proc/self/fd/${folder}/.`
  const sandbox = folder === undefined ? one.sandbox : 'chroot'
  const common = [
    `--fd=${socket}`,
    ...(one.threads === undefined ? [] : [`--thread-pool-size=${one.threads}`]),
    ...(one.openFiles === undefined ? [] : [`--rlimit-nofile=${one.openFiles}`]),
  ]
  if (dialect === 'rust')
    return { program: path, args: [...common, ...rustOptions(one, { source, sandbox, virtiofsd })] }
  const args = [...common, '-f', '-o', cOptions(one, source, sandbox)]
  if (isRoot) return { program: path, args }
  // Only root may raise the limit, which is what it does by itself.
  const limit = one.openFiles === undefined ? ['--rlimit-nofile=0'] : []
  return { program: 'unshare', args: ['--user', '--map-root-user', path, ...args, ...limit] }
}

function cOptions(one: Filesystem, source: string, sandbox: string | undefined): string {
  const { cache, extendedAttributes, posixLocks, flock } = one
  const flag = (value: boolean | undefined, name: string) =>
    value === undefined ? [] : [value ? name : `no_${name}`]
  return [
    `source=${escaped(source.endsWith('/.') ? source : `${source}/.`)}`,
    ...(cache === undefined ? [] : [`cache=${cache}`]),
    ...(sandbox === undefined ? [] : [`sandbox=${sandbox}`]),
    ...flag(extendedAttributes, 'xattr'),
    ...flag(posixLocks, 'posix_lock'),
    ...flag(flock, 'flock'),
  ].join(',')
}

/** Source: libfuse's lib/fuse_opt.c, process_opt_group. */
const escaped = (text: string) => text.replace(/[\\,]/gu, '\\$&')

interface RustOptions {
  readonly source: string
  readonly sandbox: string | undefined
  readonly virtiofsd: Virtiofsd
}

function rustOptions(one: Filesystem, { source, sandbox, virtiofsd }: RustOptions): string[] {
  return [
    `--shared-dir=${source}`,
    ...(one.cache === undefined ? [] : [`--cache=${one.cache === 'none' ? 'never' : one.cache}`]),
    ...(sandbox === undefined ? [] : [`--sandbox=${sandbox}`]),
    ...(one.extendedAttributes ? ['--xattr'] : []),
    ...(one.readonly && virtiofsd.readonly ? ['--readonly'] : []),
  ]
}
