/** From a definition to a machine that runs in a process of its own. */
import { existsSync } from 'node:fs'
import { mkdir, open, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type CgroupHierarchy,
  checkSocketPath,
  type GuestProcess,
  readJsonFile,
  spawnGuest,
  withUndo,
} from '../../host/index.ts'
import { type Progress, VisorError } from '../../model/index.ts'
import { findSeabios } from '../../storage/index.ts'
import { type Control, openControl } from './control.ts'
import {
  assignSlots,
  bootOrder,
  checkInitrdFits,
  type IdentifiedDefinition,
  serialPortNames,
} from './definition.ts'
import type { GuestFiles } from './guest-files.ts'
import type { MachineConfig } from './machine-config.ts'
import type { HostCard } from './network-card.ts'
import { configName, endName, type MachineEnd, type MachineEvent } from './protocol.ts'

/** What is kept with a machine, for a later daemon. */
export interface GuestDetails {
  readonly definition: IdentifiedDefinition
  readonly id: number
  readonly startedAt: string
  /** It goes on from the state that visor kept, which is used up then. */
  readonly usedSaved: boolean
}

export interface LaunchOptions {
  readonly definition: IdentifiedDefinition
  readonly details: GuestDetails
  readonly files: GuestFiles
  readonly stateDirectory: string
  readonly card: HostCard
  readonly cgroups: readonly CgroupHierarchy[]
  readonly restore?: string
  readonly paused: boolean
  readonly onEvent: (event: MachineEvent) => void
  readonly signal?: AbortSignal
  readonly progress?: (progress: Progress) => void
}

export interface Launched {
  readonly process: GuestProcess
  readonly control: Control
}

/** A machine is ready within half a second; a host that is very busy takes longer. */
const readyTimeoutMs = 60_000

/**
 * Starts the machine. Resolves when its processor runs, or could. Fails with what is wrong with its files,
 * with `cancelled` or `timeout`; nothing is left then.
 */
export async function launch(options: LaunchOptions): Promise<Launched> {
  const { definition, files, signal } = options
  checkSocketPath(files.control(definition.uuid))
  const config = await makeConfig(options)
  const directory = files.directory(definition.uuid)
  await files.prepareConsoles(definition.uuid, options.restore !== undefined)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const configFile = join(directory, configName)
  await writeFile(configFile, JSON.stringify({ ...config, version: await readVersion() }), { mode: 0o600 })
  return withUndo(async (undo) => {
    const process_ = await spawnGuest({
      directory,
      name: `v86-${definition.uuid}`,
      program: process.execPath,
      args: [findMachineProgram(), configFile],
      env: { PATH: process.env.PATH, HOME: process.env.HOME },
      sockets: 1,
      files: options.card.files,
      cgroups: options.cgroups,
      owner: options.stateDirectory,
      details: options.details,
    })
    undo.push(() => process_.release())
    undo.push(() => process_.kill())
    const control = await untilReady(process_, options)
    undo.push(() => control.close())
    signal?.throwIfAborted()
    await process_.confirm(options.details)
    return { process: process_, control }
  })
}

async function makeConfig(options: LaunchOptions): Promise<MachineConfig> {
  const { definition, files, stateDirectory, signal, progress } = options
  const { os, devices } = definition
  const boot = options.restore === undefined
  if (boot && os.kernel !== undefined) await checkKernel(os.kernel)
  if (boot && os.initrd !== undefined) checkInitrdFits(definition, await sizeOf(os.initrd))
  const { bios, vgaBios } = await findSeabios({ stateDirectory, signal, progress })
  return {
    memoryBytes: definition.memoryKiB * 1024,
    videoMemoryBytes: (devices.videos[0]?.vramKiB ?? 8192) * 1024,
    acpi: definition.features.acpi,
    bios,
    vgaBios,
    ...(os.kernel === undefined ? {} : { kernel: os.kernel }),
    ...(os.initrd === undefined ? {} : { initrd: os.initrd }),
    ...(os.commandLine === undefined ? {} : { commandLine: os.commandLine }),
    bootOrder: bootOrder(definition),
    disks: assignSlots(definition).map(({ slot, disk }) => ({
      slot,
      file: disk.file ?? '',
      readonly: disk.device === 'cdrom',
      sync: disk.cache !== 'unsafe',
    })),
    serialLogs: serialPortNames(definition).map((_, port) => files.console(definition.uuid, port)),
    ...(options.card.config === undefined ? {} : { card: options.card.config }),
    onPoweroff: definition.onPoweroff === 'restart' ? 'restart' : 'destroy',
    onReboot: definition.onReboot === 'destroy' ? 'destroy' : 'restart',
    ...(options.restore === undefined ? {} : { restore: options.restore }),
    paused: options.paused,
  }
}

/** Refuses what v86 would hang on. Source: the kernel's Documentation/arch/x86/boot.rst. */
async function checkKernel(file: string): Promise<void> {
  const header = Buffer.alloc(0x240)
  try {
    const handle = await open(file)
    try {
      await handle.read(header, 0, header.length, 0)
    } finally {
      await handle.close()
    }
  } catch (cause) {
    throw new VisorError('failed', `The kernel '${file}' cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
  const remedy = "Take an i686 one: 'visor image build micro --arch i686' makes one."
  if (header.toString('latin1', 0x202, 0x206) !== 'HdrS')
    throw new VisorError('failed', `'${file}' is no Linux kernel of the form bzImage.`, { remedy })
  // From version 2.12 on it says whether it has a 64-bit entry, which only 64-bit kernels have.
  if (header.readUInt16LE(0x206) >= 0x020c && (header.readUInt16LE(0x236) & 1) !== 0)
    throw new VisorError('failed', `'${file}' is a 64-bit kernel, which driver v86 cannot run.`, { remedy })
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size
  } catch (cause) {
    throw new VisorError('failed', `The file '${file}' cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
}

function untilReady(process_: GuestProcess, { onEvent, signal }: LaunchOptions): Promise<Control> {
  const stream = process_.sockets[0]
  if (!stream) throw new VisorError('internal', 'The machine has no socket to its owner.')
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    const fail = (error: VisorError) => {
      settle()
      control.close()
      reject(error)
    }
    const abort = () => fail(new VisorError('cancelled', 'The start was cancelled.'))
    const timer = setTimeout(
      () => fail(new VisorError('timeout', `The machine was not ready within ${readyTimeoutMs / 1000} s.`)),
      readyTimeoutMs,
    )
    signal?.addEventListener('abort', abort, { once: true })
    const control = openControl(stream, (event) => {
      if (event.event === 'failed') return fail(new VisorError(event.error.code, event.error.message))
      if (event.event !== 'ready') return onEvent(event)
      settle()
      resolve(control)
    })
    void process_.exited.then(async () =>
      fail(new VisorError('failed', await describeDeath(process_.directory))),
    )
  })
}

/** Why a machine's process ended that said nothing: the last it printed. */
export async function describeDeath(directory: string): Promise<string> {
  const output = await readFile(join(directory, 'output.log'), 'utf8').catch(() => '')
  const last = output.trim().split('\n').slice(-3).join(' ').slice(0, 500)
  return last === '' ? 'The machine ended unexpectedly.' : `The machine ended unexpectedly: ${last}`
}

/** How a machine said that it ended; undefined when it was killed or fell over. */
export async function readEnd(directory: string): Promise<MachineEnd | undefined> {
  return (await readJsonFile(join(directory, endName))) as MachineEnd | undefined
}

/** The machine's program: beside this file as source, in dist/ when it is bundled. */
export function findMachineProgram(): string {
  const here = dirname(fileURLToPath(import.meta.url))
  const places = ['machine-process.ts', 'v86-machine.js', '../v86-machine.js'].map((place) =>
    join(here, place),
  )
  const found = places.find((place) => existsSync(place))
  if (!found)
    throw new VisorError('unavailable', 'The program of the embedded machine is missing.', {
      remedy: 'Install visor again; in a checkout, run npm run build.',
    })
  return found
}

let version: Promise<string> | undefined

/** The version of v86. Fails with `unavailable` when the package is missing. */
export function readVersion(): Promise<string> {
  version ??= (async () => {
    try {
      const main = fileURLToPath(import.meta.resolve('v86'))
      const manifest = JSON.parse(await readFile(join(dirname(main), '../package.json'), 'utf8')) as {
        version: string
      }
      return manifest.version
    } catch (cause) {
      throw new VisorError('unavailable', "The npm package 'v86' is missing.", {
        remedy: 'Run npm install.',
        cause,
      })
    }
  })()
  version.catch(() => {
    version = undefined
  })
  return version
}
