import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { libvirtDefinition, makeGuest } from './guest.ts'
import type { Workbench } from './harness.ts'
import { openLibrary } from './ours/library.ts'
import { defineMachine } from './ours/machine.ts'
import { openVisord } from './ours/visord.ts'
import { openLibvirt } from './peers/libvirt.ts'
import { rawQemu } from './peers/raw-qemu.ts'

/** One of those that start and destroy the same machine; each call gives its milliseconds. */
export interface Runner {
  readonly name: string
  readonly ours: boolean
  start(): Promise<number>
  destroy(): Promise<number>
}

export const libraryName = 'visor, library'
export const restName = 'visor, REST'
export const rawName = 'raw QEMU'
export const libvirtName = 'libvirt'

/** The machine under everything that can run it here. */
export async function openRunners(bench: Workbench): Promise<Runner[]> {
  const guest = await makeGuest(bench.directory)
  const placeOf = (name: string) => join(bench.directory, `${name}-`)
  const library = await defineMachine(bench, await openLibrary(bench), guest)
  const rest = await defineMachine(bench, (await openVisord(bench)).connection, guest)
  await library.start()
  const [program = '', ...args] = await library.commandLine()
  await library.destroy()
  const raw = rawQemu(bench, program, await moveArguments(args, placeOf('library'), placeOf('raw')))
  const libvirt = await openLibvirt(bench)
  await libvirt?.call({ op: 'define', xml: libvirtDefinition(guest) })
  return [
    { name: rawName, ours: false, ...clocked(raw) },
    { name: libraryName, ours: true, ...clocked(library) },
    { name: restName, ours: true, ...clocked(rest) },
    ...(libvirt
      ? [
          {
            name: libvirtName,
            ours: false,
            start: () => libvirt.call({ op: 'start', name: guest.name }),
            destroy: () => libvirt.call({ op: 'destroy', name: guest.name }),
          },
        ]
      : []),
  ]
}

function clocked(machine: {
  start(): Promise<void>
  destroy(): Promise<void>
}): Pick<Runner, 'start' | 'destroy'> {
  const clock = async (work: () => Promise<void>) => {
    const started = performance.now()
    await work()
    return performance.now() - started
  }
  return { start: () => clock(machine.start), destroy: () => clock(machine.destroy) }
}

/** Our command line with other places for its sockets and files, whose directories are made. */
export async function moveArguments(args: readonly string[], from: string, to: string): Promise<string[]> {
  const moved = args.map((arg) => arg.replaceAll(from, to))
  for (const path of moved.flatMap((arg) => arg.split(/[=,:"]/u)).filter((part) => part.startsWith(to)))
    await mkdir(dirname(path), { recursive: true })
  return moved
}
