/** What this driver makes of a definition: complete, with nothing left open that it would choose at start. */
import { randomUUID } from 'node:crypto'
import {
  checkDefinition,
  checkHonoured,
  DomainDefinition,
  type DomainDefinitionInput,
  parse,
  VisorError,
} from '../../../model/index.ts'
import { checkBoard } from '../board/checks/check-board.ts'
import { refuseNotHad } from '../board/checks/not-had.ts'
import { completeBoot } from '../board/complete-boot.ts'
import { type Firmware, findFirmware } from '../board/firmware-descriptors.ts'
import { checkAliases, completeDevices } from '../devices/complete-devices.ts'
import { checkFilesystems } from '../devices/shares/filesystems.ts'
import { checkShares } from '../devices/shares/serve.ts'
import type { Virtiofsd } from '../devices/shares/virtiofsd.ts'
import { checkTpms } from '../devices/tpm.ts'
import { type Emulator, hostArchitecture, installEmulator, nearArchitecture } from '../emulator/emulator.ts'
import type { KvmState } from '../emulator/kvm.ts'
import { checkNetworks, refuseKinds } from '../network/check-networks.ts'
import { honoured } from './honoured.ts'
import { unsupported } from './unsupported.ts'

/** A definition with its identity. */
export type CompleteDefinition = DomainDefinition & { readonly uuid: string }

export interface CompleteOptions {
  /** The emulator for an architecture or a program; undefined when there is none. */
  findEmulator(arch: string, path: string | undefined): Promise<Emulator | undefined>
  /** Whether KVM works with it; asked only when the definition wants KVM. */
  kvm(emulator: Emulator): Promise<KvmState>
  /** The machine runs: what is new is plugged in. */
  readonly isRunning?: boolean
  /** The firmware there is; that of this host without. */
  firmware?(): Promise<readonly Firmware[]>
  /** What serves folders; that of this host without. */
  findVirtiofsd?(path: string | undefined): Promise<Virtiofsd | undefined>
}

/**
 * The definition, checked as a whole and with all that is chosen for it: uuid, emulator, machine type (with
 * its version, so that a saved state fits later too), buses, addresses of network cards, names of devices.
 * Fails with `invalid-definition`, or `unsupported-config` for what would not be honoured. Completing a
 * complete definition changes nothing.
 */
export async function completeDefinition(
  input: DomainDefinitionInput,
  options: CompleteOptions,
): Promise<CompleteDefinition> {
  const definition = parse(DomainDefinition, input)
  checkDefinition(definition)
  if (definition.type !== 'qemu' && definition.type !== 'kvm')
    throw unsupported('type', `this driver runs no '${definition.type}'`, "Use type 'qemu' or 'kvm'.")
  refuseKinds(definition)
  refuseNotHad(definition)
  checkHonoured(DomainDefinition, definition, honoured, 'driver qemu')
  if (definition.type !== 'qemu' && definition.type !== 'kvm')
    throw unsupported('type', `'${definition.type}' is of another driver`, "Use type 'qemu' or 'kvm'.")
  const arch = definition.os.arch ?? hostArchitecture()
  const emulator = await options.findEmulator(arch, definition.devices.emulator)
  if (!emulator)
    throw unsupported(
      'devices.emulator',
      `there is no QEMU for '${definition.devices.emulator ?? arch}' here`,
      whereToHave(arch),
    )
  await checkAccelerator(definition, arch, emulator, options)
  const boot = await completeBoot(definition, emulator, arch, options.firmware ?? findFirmware)
  const uuid = definition.uuid ?? randomUUID()
  const machine = boot.os.machine ?? ''
  const complete: CompleteDefinition = {
    ...definition,
    ...boot,
    uuid,
    devices: completeDevices(definition, { uuid, machine, emulator, isRunning: options.isRunning }),
  }
  checkBoard(complete, emulator)
  await checkTpms(complete)
  await checkNetworks(complete, emulator)
  checkFilesystems(complete, emulator)
  await checkShares(complete, options.findVirtiofsd)
  checkAliases(complete.devices)
  return complete
}

function whereToHave(arch: string): string {
  const meant = nearArchitecture(arch)
  return meant === undefined ? installEmulator(arch) : `Did you mean '${meant}'?`
}

async function checkAccelerator(
  definition: DomainDefinition,
  arch: string,
  emulator: Emulator,
  { kvm }: CompleteOptions,
): Promise<void> {
  if (definition.type !== 'kvm') {
    if (definition.cpu?.mode === 'host-passthrough')
      throw unsupported('cpu.mode', "'host-passthrough' needs type 'kvm'; 'maximum' is the most TCG can do")
    return
  }
  const own = hostArchitecture()
  if (arch !== own && !(own === 'x86_64' && arch === 'i686'))
    throw unsupported(
      'type',
      `KVM runs machines of the host's own architecture, which is '${own}', not '${arch}'`,
      "Use type 'qemu', which emulates.",
    )
  const state = await kvm(emulator)
  if (!state.works)
    throw unsupported(
      'type',
      `'kvm' does not work here. ${state.detail}`,
      `Use type 'qemu', which emulates.${state.remedy === undefined ? '' : ` To have KVM: ${state.remedy}`}`,
    )
}

/** The emulator of a complete definition. Fails with `unavailable` when it is no longer there. */
export async function machineEmulator(
  { findEmulator }: Pick<CompleteOptions, 'findEmulator'>,
  { name, os, devices }: CompleteDefinition,
): Promise<Emulator> {
  const emulator = await findEmulator(os.arch ?? 'x86_64', devices.emulator)
  if (emulator) return emulator
  throw new VisorError('unavailable', `The emulator of domain '${name}' is not installed.`, {
    remedy: `Install '${devices.emulator}', or change the definition.`,
  })
}
