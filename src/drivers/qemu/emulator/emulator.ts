/**
 * What the QEMU programs of this host can do, asked of them once and remembered as long as they do not change.
 */

import { spawn } from 'node:child_process'
import { realpath, stat } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import type { Log, Store } from '../../../driver/index.ts'
import { endsWithUs, type FileUser, findProgram } from '../../../host/index.ts'
import { suggest, VisorError } from '../../../model/index.ts'
import { findMissingBlockDrivers } from '../disks/block-drivers.ts'
import { isRecord, qmpClient } from '../qmp/index.ts'
import { asProbeUser } from './probe-user.ts'

export { findProgram }

/** A QEMU program and what it can do. */
export interface Emulator {
  readonly path: string
  readonly arch: string
  /** `7.2.22` */
  readonly version: string
  readonly machines: readonly MachineType[]
  readonly cpuModels: readonly string[]
  /** Features of processors it knows, and whether an emulated one can have them; only of x86. */
  readonly features?: Readonly<Record<string, boolean>>
  /** What models have that cannot be emulated. */
  readonly unavailable?: Readonly<Record<string, readonly string[]>>
  /** All devices it has. */
  readonly devices: readonly string[]
  /** Drivers of storage that are not there, of those that are programs of their own or can be left out. */
  readonly missingBlockDrivers?: readonly string[]
  /** Whether it can give up system calls it does not need (seccomp). */
  readonly sandbox: boolean
  /** Why it was asked as root, where it did not run as anybody else. */
  readonly asRoot?: string
}

export interface MachineType {
  readonly name: string
  readonly alias?: string
  readonly maxCpus: number
  /** Name of its main memory; a backend of another name does not fit states that were saved with it. */
  readonly ramId?: string
  /** Whether processors can be plugged into it. */
  readonly hotplugCpus: boolean
}

/** Architectures whose program is named otherwise: libvirt's word, and QEMU's. */
const otherNames: Readonly<Record<string, string>> = {
  i686: 'i386',
  armv7l: 'arm',
  ppc64le: 'ppc64',
}
/** Those that are looked for; a definition may name any other that QEMU has. */
const architectures = [
  'x86_64',
  'i686',
  'aarch64',
  'armv7l',
  'riscv64',
  'ppc64',
  'ppc64le',
  's390x',
  'loongarch64',
]

/** The one that was probably meant by a name that is none of them. */
export const nearArchitecture = (arch: string): string | undefined =>
  architectures.includes(arch) ? undefined : suggest(arch, architectures)

const programName = (arch: string) => `qemu-system-${otherNames[arch] ?? arch}`

/** The architecture of this host, in libvirt's words. */
export function hostArchitecture(): string {
  const words: Readonly<Record<string, string>> = {
    x64: 'x86_64',
    ia32: 'i686',
    arm64: 'aarch64',
    arm: 'armv7l',
    ppc64: 'ppc64le',
  }
  return words[process.arch] ?? process.arch
}

/** What to do where there is no QEMU for an architecture. */
export function installEmulator(arch: string): string {
  const name = programName(arch).replace('qemu-system-', '')
  const debian = /^(?:x86_64|i386)$/u.test(name)
    ? 'x86'
    : /^(?:aarch64|arm)$/u.test(name)
      ? 'arm'
      : /^ppc/u.test(name)
        ? 'ppc'
        : 'misc'
  return `Install it: 'apt install qemu-system-${debian}' on Debian and Ubuntu, 'dnf install qemu-system-${name}' on Fedora.`
}

/** The oldest QEMU whose monitor and options are used here. */
export const oldestVersion = '6.0'
const format = 6
const timeoutMs = 20_000

/** The program for an architecture; undefined when there is none. */
export async function findEmulator(arch: string): Promise<string | undefined> {
  if (!/^[a-z0-9_]+$/u.test(arch)) return undefined
  const own = arch === hostArchitecture()
  return (await findProgram(programName(arch))) ?? (own ? await findProgram('qemu-kvm') : undefined)
}

/** The programs there are, by architecture; that of the host comes first. */
export async function findEmulators(): Promise<{ arch: string; path: string }[]> {
  const own = hostArchitecture()
  const order = [own, ...architectures.filter((arch) => arch !== own)]
  const found = await Promise.all(order.map(async (arch) => ({ arch, path: await findEmulator(arch) })))
  return found.flatMap(({ arch, path }) => (path === undefined ? [] : [{ arch, path }]))
}

/** Identity of a program file: another one has another. */
export async function fingerprint(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(await realpath(path))
  return `${format}:${path}:${size}:${mtimeMs}`
}

/** As {@link inspectEmulator}, remembered in the store until the program changes. */
export async function loadEmulator(store: Store, log: Log, arch: string, path: string): Promise<Emulator> {
  const key = `qemu/emulator/${arch}${path}`
  const print = await fingerprint(path)
  const known = (await store.get(key))?.value as { print: string; emulator: Emulator } | undefined
  if (known?.print === print) return known.emulator
  const emulator = await inspectEmulator(arch, path)
  log.info({ emulator: path, version: emulator.version }, 'Asked a QEMU what it can do.')
  if (emulator.asRoot !== undefined)
    log.warn({ emulator: path, reason: emulator.asRoot }, 'A QEMU was asked as root: it runs as nobody else.')
  await store.write([{ key, value: { print, emulator } }])
  return emulator
}

/** Asks a QEMU what it can do, by running it without a machine, as a user who may nothing. */
export async function inspectEmulator(arch: string, path: string): Promise<Emulator> {
  const program = path.startsWith('/') ? [{ path, execute: true, what: 'program' }] : []
  const { result, asRoot } = await asProbeUser(program, async (user) => {
    try {
      return { ...(await ask(arch, path, { user, sandbox: true })), sandbox: true }
    } catch {
      return { ...(await ask(arch, path, { user, sandbox: false })), sandbox: false }
    }
  })
  return asRoot === undefined ? result : { ...result, asRoot }
}

interface AskOptions {
  readonly user: FileUser | undefined
  readonly sandbox: boolean
}

async function ask(
  arch: string,
  path: string,
  { user, sandbox }: AskOptions,
): Promise<Omit<Emulator, 'sandbox'>> {
  const args = ['-M', 'none', '-accel', 'tcg', '-nodefaults', '-no-user-config', '-display', 'none']
  if (sandbox) args.push('-sandbox', 'on')
  args.push('-chardev', 'socket,id=monitor,fd=3', '-mon', 'chardev=monitor,mode=control')
  const [program, ...words] = await endsWithUs(path, args)
  const child = spawn(program, words, {
    cwd: '/',
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    ...(user ? { uid: user.uid, gid: user.gid } : {}),
  })
  const failed = new Promise<never>((_, reject) => {
    child.once('error', (cause) =>
      reject(new VisorError('unavailable', `'${path}' could not be run: ${cause.message}.`, { cause })),
    )
  })
  failed.catch(() => {})
  const monitor = qmpClient(child.stdio[3] as Duplex, { name: path, timeoutMs })
  try {
    const options = { timeoutMs }
    const answers = Promise.all([
      monitor.greeting,
      monitor.execute('query-machines', undefined, options),
      // Not every architecture has it: then the types of its processors are asked for.
      monitor
        .execute('query-cpu-definitions', undefined, options)
        .catch(() => monitor.execute('qom-list-types', { implements: 'cpu', abstract: false }, options)),
      monitor.execute('qom-list-types', { implements: 'device', abstract: false }, options),
    ])
    answers.catch(() => {})
    const [{ version }, machines, cpus, devices] = await Promise.race([answers, failed])
    const missingBlockDrivers = await findMissingBlockDrivers(monitor)
    const isX86 = arch === 'x86_64' || arch === 'i686'
    const most = isX86 ? await monitor.execute('query-cpu-model-expansion', largest, options) : undefined
    return {
      arch,
      path,
      version: `${version.major}.${version.minor}.${version.micro}`,
      machines: records(machines).flatMap(readMachineType),
      cpuModels: names(cpus)
        .map((name) => name.replace(/-[a-z0-9_]+-cpu$/u, ''))
        .sort(),
      ...(isX86 ? { features: readFeatures(most), unavailable: readUnavailable(cpus) } : {}),
      missingBlockDrivers,
      devices: names(devices),
    }
  } finally {
    monitor.close()
    child.kill('SIGKILL')
  }
}

const largest = { type: 'full', model: { name: 'max' } }

function readFeatures(expansion: unknown): Record<string, boolean> {
  const model = isRecord(expansion) && isRecord(expansion.model) ? expansion.model : {}
  const entries = Object.entries(isRecord(model.props) ? model.props : {})
  return Object.fromEntries(
    entries.flatMap(([name, value]) => (typeof value === 'boolean' ? [[name, value]] : [])),
  )
}

function readUnavailable(models: unknown): Record<string, readonly string[]> {
  const entries = records(models).flatMap(({ name, 'unavailable-features': missing }) =>
    typeof name === 'string' && Array.isArray(missing) && missing.length > 0
      ? [[name, missing.filter((one) => typeof one === 'string')] as const]
      : [],
  )
  return Object.fromEntries(entries)
}

function readMachineType(machine: Record<string, unknown>): MachineType[] {
  const { name, alias, 'cpu-max': maxCpus, 'default-ram-id': ramId, 'hotpluggable-cpus': plugs } = machine
  if (typeof name !== 'string' || name === 'none') return []
  return [
    {
      name,
      ...(typeof alias === 'string' ? { alias } : {}),
      maxCpus: Number(maxCpus) || 1,
      hotplugCpus: plugs === true,
      ...(typeof ramId === 'string' ? { ramId } : {}),
    },
  ]
}

function records(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : []
}

function names(value: unknown): string[] {
  return records(value).flatMap(({ name }) => (typeof name === 'string' ? [name] : []))
}

/** Whether a version is at least another: `7.10` is more than `7.2`. */
export function isAtLeast(version: string, least: string): boolean {
  const [a, b] = [version, least].map((text) => text.split('.').map(Number))
  for (let index = 0; index < (b?.length ?? 0); index++) {
    const difference = (a?.[index] ?? 0) - (b?.[index] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return true
}
