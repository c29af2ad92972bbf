/**
 * What the QEMU programs of this host can do, asked of them once and remembered as long as they do not change.
 */

import { spawn } from 'node:child_process'
import { access, constants, realpath, stat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Log, Store } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import { isRecord, qmpClient } from './qmp/index.ts'

/** A QEMU program and what it can do. */
export interface Emulator {
  readonly path: string
  readonly arch: string
  /** `7.2.22` */
  readonly version: string
  readonly machines: readonly MachineType[]
  readonly cpuModels: readonly string[]
  /** All devices it has. */
  readonly devices: readonly string[]
  /** Whether it can give up system calls it does not need (seccomp). */
  readonly sandbox: boolean
}

export interface MachineType {
  readonly name: string
  readonly alias?: string
  readonly maxCpus: number
  /** Name of its main memory; a backend of another name does not fit states that were saved with it. */
  readonly ramId?: string
}

/** Architectures of guests and the programs that run them. */
const programs = { x86_64: 'qemu-system-x86_64' } as const

/** The oldest QEMU whose monitor and options are used here. */
export const oldestVersion = '6.0'
const format = 3
const timeoutMs = 20_000

/** The program in PATH; undefined when there is none. */
export async function findProgram(
  name: string,
  path: string = process.env.PATH ?? '/usr/bin',
): Promise<string | undefined> {
  // QEMU of RHEL and its kin is not in PATH.
  for (const directory of [...path.split(delimiter), '/usr/libexec']) {
    const candidate = join(directory, name)
    try {
      await access(candidate, constants.X_OK)
      if ((await stat(candidate)).isFile()) return candidate
    } catch {
      // Not there.
    }
  }
  return undefined
}

/** The programs there are, by architecture. */
export async function findEmulators(): Promise<{ arch: string; path: string }[]> {
  const found: { arch: string; path: string }[] = []
  for (const [arch, name] of Object.entries(programs)) {
    const path = (await findProgram(name)) ?? (await findProgram('qemu-kvm'))
    if (path) found.push({ arch, path })
  }
  return found
}

/** Identity of a program file: another one has another. */
export async function fingerprint(path: string): Promise<string> {
  const { size, mtimeMs } = await stat(await realpath(path))
  return `${format}:${path}:${size}:${mtimeMs}`
}

/** As {@link inspectEmulator}, remembered in the store until the program changes. */
export async function loadEmulator(store: Store, log: Log, arch: string, path: string): Promise<Emulator> {
  const key = `qemu/emulator${path}`
  const print = await fingerprint(path)
  const known = (await store.get(key))?.value as { print: string; emulator: Emulator } | undefined
  if (known?.print === print) return known.emulator
  const emulator = await inspectEmulator(arch, path)
  log.info({ emulator: path, version: emulator.version }, 'Asked a QEMU what it can do.')
  await store.write([{ key, value: { print, emulator } }])
  return emulator
}

/** Asks a QEMU what it can do, by running it without a machine. */
export async function inspectEmulator(arch: string, path: string): Promise<Emulator> {
  try {
    return { ...(await ask(arch, path, ['-sandbox', 'on'])), sandbox: true }
  } catch {
    return { ...(await ask(arch, path, [])), sandbox: false }
  }
}

async function ask(arch: string, path: string, more: string[]): Promise<Omit<Emulator, 'sandbox'>> {
  const args = ['-M', 'none', '-accel', 'tcg', '-nodefaults', '-no-user-config', '-display', 'none', ...more]
  args.push('-chardev', 'socket,id=monitor,fd=3', '-mon', 'chardev=monitor,mode=control')
  const child = spawn(path, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
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
      monitor.execute('query-cpu-definitions', undefined, options),
      monitor.execute('qom-list-types', { implements: 'device', abstract: false }, options),
    ])
    answers.catch(() => {})
    const [{ version }, machines, cpus, devices] = await Promise.race([answers, failed])
    return {
      arch,
      path,
      version: `${version.major}.${version.minor}.${version.micro}`,
      machines: records(machines).flatMap(readMachineType),
      cpuModels: names(cpus).sort(),
      devices: names(devices),
    }
  } finally {
    monitor.close()
    child.kill('SIGKILL')
  }
}

function readMachineType(machine: Record<string, unknown>): MachineType[] {
  const { name, alias, 'cpu-max': maxCpus, 'default-ram-id': ramId } = machine
  if (typeof name !== 'string' || name === 'none') return []
  return [
    {
      name,
      ...(typeof alias === 'string' ? { alias } : {}),
      maxCpus: Number(maxCpus) || 1,
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
