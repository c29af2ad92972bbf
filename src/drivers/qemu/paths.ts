/** Where this driver keeps the things of a guest. */
import { join } from 'node:path'
import { guestFolderName } from '../../host/index.ts'
import type { CompleteDefinition } from './definition/definition.ts'

export interface GuestPaths {
  /** Lives as long as the guest: its record, and sockets of ours. QEMU can change nothing in it. */
  readonly directory: string
  /** Of QEMU's user, in the directory: its sockets and what else it makes. Nothing in it is to be trusted. */
  readonly folder: string
  readonly monitor: string
  /** Where we listen for the state of a guest that is saved. */
  readonly saveSocket: string
  /** What consoles printed; outlives the guest. */
  readonly consoleDirectory: string
  /** The state that visor keeps of a saved guest. */
  readonly saved: string
  /** What a clone of a template has of its own: its disks. */
  readonly clone: string
  /** Variables of its firmware. */
  readonly nvram: string
  /** What its trusted platform module keeps. */
  readonly tpm: string
  /** Where the process that emulates the module lives. */
  readonly tpmDirectory: string
  /** What it writes to its transient disks. */
  readonly transient: string
  /** Where the process that is the network of a card lives. */
  passtDirectory(alias: string): string
  /** Where the process lives that serves a folder to it. */
  shareDirectory(alias: string): string
  /** Where that process listens for QEMU. */
  share(alias: string): string
  socket(alias: string): string
  /** A secret that QEMU reads at its start. */
  secret(name: string): string
  consoleLog(alias: string): string
  longestSocket(definition: CompleteDefinition): string
}

export interface DriverPaths {
  /** One directory per running guest. */
  readonly guests: string
  /** One directory per running TPM. */
  readonly tpms: string
  /** One directory per network in user space. */
  readonly passts: string
  /** One directory per process that serves a folder to a guest. */
  readonly shares: string
  /** Variables of firmware, a file per domain. */
  readonly nvram: string
  readonly saved: string
  readonly consoles: string
  /** Memory of guests that crashed. */
  readonly dumps: string
  /** One directory per template. */
  readonly templates: string
  /** One directory per clone. */
  readonly clones: string
  /** One directory per machine with transient disks. */
  readonly transient: string
  of(uuid: string): GuestPaths
}

export function driverPaths(stateDirectory: string, runtimeDirectory: string): DriverPaths {
  const guests = join(runtimeDirectory, 'qemu')
  const tpms = join(runtimeDirectory, 'tpm')
  const passts = join(runtimeDirectory, 'passt')
  const shares = join(runtimeDirectory, 'virtiofs')
  const nvram = join(stateDirectory, 'qemu', 'nvram')
  const saved = join(stateDirectory, 'qemu', 'saved')
  const consoles = join(stateDirectory, 'qemu', 'consoles')
  const templates = join(stateDirectory, 'qemu', 'templates')
  const clones = join(stateDirectory, 'qemu', 'clones')
  const transient = join(stateDirectory, 'qemu', 'transient')
  return {
    guests,
    tpms,
    passts,
    shares,
    nvram,
    saved,
    consoles,
    dumps: join(stateDirectory, 'qemu', 'dumps'),
    templates,
    clones,
    transient,
    of(uuid) {
      const directory = join(guests, uuid)
      const folder = join(directory, guestFolderName)
      const socket = (alias: string) => join(folder, `${alias}.sock`)
      const shareDirectory = (alias: string) => join(shares, `${uuid}-${alias}`)
      const share = (alias: string) => join(shareDirectory(alias), 'fs.sock')
      return {
        directory,
        folder,
        monitor: socket('monitor'),
        saveSocket: join(directory, 'save.sock'),
        consoleDirectory: join(consoles, uuid),
        saved: join(saved, `${uuid}.visor-state`),
        clone: join(clones, uuid),
        nvram: join(nvram, `${uuid}.qcow2`),
        tpm: join(stateDirectory, 'qemu', 'tpm', uuid),
        tpmDirectory: join(tpms, uuid),
        transient: join(transient, uuid),
        passtDirectory: (alias) => join(passts, `${uuid}.${alias}`),
        shareDirectory,
        share,
        socket,
        secret: (name) => join(directory, name),
        consoleLog: (alias) => join(consoles, uuid, `${alias}.log`),
        longestSocket({ devices }) {
          const { serials, consoles: ports, channels, interfaces, filesystems } = devices
          const aliases = [...serials, ...ports, ...channels].map(({ alias = '' }) => alias)
          const networks = interfaces.flatMap(({ backend, alias = '' }) =>
            backend === 'passt' ? [join(passts, `${uuid}.${alias}`, guestFolderName, 's')] : [],
          )
          const served = filesystems.map(({ alias = '' }) => share(alias))
          const all = [...['monitor', ...aliases].map(socket), ...networks, ...served]
          return all.sort((a, b) => b.length - a.length)[0] ?? ''
        },
      }
    },
  }
}
