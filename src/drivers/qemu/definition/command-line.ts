/**
 * The command line of QEMU for a machine. Nothing passes through a shell; texts of users stand either in an
 * argument of their own, in JSON, or with their commas doubled. Source: qemu(1).
 */

import { clockArguments } from '../board/clock.ts'
import { bootArguments, firmwareParts } from '../board/firmware.ts'
import { identityParts } from '../board/identity.ts'
import { machineArguments } from '../board/machine.ts'
import { familyOf } from '../board/machine-type.ts'
import { type MemoryOptions, memoryDeviceParts, memoryParts } from '../board/memory/memory.ts'
import { ioThreadParts, processorArguments } from '../board/processors/processors.ts'
import { pci } from '../devices/device-place.ts'
import { deviceParts } from '../devices/devices.ts'
import { tpmParts } from '../devices/tpm.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { actionsOf } from '../machine/actions.ts'
import type { DiskImages } from '../machine/preflight.ts'
import type { GuestPaths } from '../paths.ts'
import type { CompleteDefinition } from './definition.ts'
import { keyValue } from './key-value.ts'
import { type Part, partArguments } from './parts.ts'

export interface CommandLineOptions {
  readonly definition: CompleteDefinition
  readonly emulator: Emulator
  readonly paths: GuestPaths
  readonly images: DiskImages
  /** Waits for the state of a saved machine instead of booting. */
  readonly incoming?: boolean
  /** A file that is its main memory; without it, QEMU takes memory of its own. */
  readonly memory?: MemoryFile | undefined
  /** What the kernel is told beside its own command line. */
  readonly kernelParameter?: string | undefined
}

/** Main memory in a file: shared, so that what the guest writes is in the file, or copied when written to. */
export interface MemoryFile {
  readonly file: string
  readonly share: boolean
}

/** Number of the open file that a saved state is read from; 3 is the monitor. */
export const incomingDescriptor = 4

export function buildCommandLine({
  definition,
  emulator,
  paths,
  images,
  incoming,
  memory,
  kernelParameter,
}: CommandLineOptions): string[] {
  const { name, uuid } = definition
  const board = { definition, emulator, paths, memory }
  return [
    ...['-name', keyValue('', { guest: name, 'debug-threads': 'on' })],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    ...(emulator.sandbox ? ['-sandbox', sandbox] : []),
    ...['-chardev', 'socket,id=monitor0,fd=3', '-mon', 'chardev=monitor0,mode=control'],
    ...['-chardev', keyValue('socket', { id: 'monitor1', path: paths.monitor, server: 'on', wait: 'off' })],
    ...['-mon', 'chardev=monitor1,mode=control'],
    ...['-uuid', uuid],
    ...machineArguments(board),
    ...memoryParts(board).flatMap(partArguments),
    ...processorArguments(definition, emulator),
    ...clockArguments(definition),
    ...['-action', keyValue('', { ...actionsOf(definition) })],
    ...bootArguments(definition, kernelParameter),
    ...[
      ...firmwareParts(definition, paths),
      ...tpmParts(definition, paths),
      ...identityParts(definition),
      ...ioThreadParts(definition),
      ...deviceParts({ definition, emulator, paths, images }),
      ...memoryDevices(board),
    ].flatMap(partArguments),
    ...(incoming ? ['-incoming', 'defer'] : []),
  ]
}

const sandbox = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'

/** The modules of memory, each with what stands behind it. */
export function memoryDevices(board: MemoryOptions): Part[] {
  const { os, devices } = board.definition
  const family = familyOf(os.machine ?? 'q35')
  return devices.memories.flatMap((one) =>
    memoryDeviceParts(one, board, pci(one.address?.type === 'pci' ? one.address : undefined, { family })),
  )
}
