/** Where this driver keeps the things of a guest. */
import { join } from 'node:path'
import type { CompleteDefinition } from './definition.ts'

export interface GuestPaths {
  /** Lives as long as the guest: record, sockets. */
  readonly directory: string
  readonly monitor: string
  /** What consoles printed; outlives the guest. */
  readonly consoleDirectory: string
  /** The state that visor keeps of a saved guest. */
  readonly saved: string
  /** What a clone of a template has of its own: its disks. */
  readonly clone: string
  socket(alias: string): string
  consoleLog(alias: string): string
  longestSocket(definition: CompleteDefinition): string
}

export interface DriverPaths {
  /** One directory per running guest. */
  readonly guests: string
  readonly saved: string
  readonly consoles: string
  /** One directory per template. */
  readonly templates: string
  /** One directory per clone. */
  readonly clones: string
  of(uuid: string): GuestPaths
}

export function driverPaths(stateDirectory: string, runtimeDirectory: string): DriverPaths {
  const guests = join(runtimeDirectory, 'qemu')
  const saved = join(stateDirectory, 'qemu', 'saved')
  const consoles = join(stateDirectory, 'qemu', 'consoles')
  const templates = join(stateDirectory, 'qemu', 'templates')
  const clones = join(stateDirectory, 'qemu', 'clones')
  return {
    guests,
    saved,
    consoles,
    templates,
    clones,
    of(uuid) {
      const directory = join(guests, uuid)
      const socket = (alias: string) => join(directory, `${alias}.sock`)
      return {
        directory,
        monitor: join(directory, 'monitor.sock'),
        consoleDirectory: join(consoles, uuid),
        saved: join(saved, `${uuid}.visor-state`),
        clone: join(clones, uuid),
        socket,
        consoleLog: (alias) => join(consoles, uuid, `${alias}.log`),
        longestSocket({ devices }) {
          const { serials, consoles: ports, channels } = devices
          const aliases = [...serials, ...ports, ...channels].map(({ alias = '' }) => alias)
          return (
            [join(directory, 'monitor.sock'), ...aliases.map(socket)].sort(
              (a, b) => b.length - a.length,
            )[0] ?? ''
          )
        },
      }
    },
  }
}

/** How a character device of a definition is reached: by a socket that this driver serves viewers from, or not at all. */
export function isServed({
  type,
  path,
}: {
  readonly type: string
  readonly path?: string | undefined
}): boolean {
  return type === 'pty' || (type === 'unix' && path === undefined)
}
