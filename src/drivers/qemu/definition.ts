/** What this driver makes of a definition: complete, with nothing left open that it would choose at start. */
import { randomUUID } from 'node:crypto'
import {
  checkDefinition,
  checkHonoured,
  DomainDefinition,
  type DomainDefinitionInput,
  parse,
  VisorError,
} from '../../model/index.ts'
import { checkAliases, completeDevices } from './complete-devices.ts'
import type { Emulator } from './emulator.ts'
import { honoured } from './honoured.ts'
import type { KvmState } from './kvm.ts'
import { familyOf } from './machine-type.ts'
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
  checkHonoured(DomainDefinition, definition, honoured, 'qemu')
  if (definition.type !== 'qemu' && definition.type !== 'kvm')
    throw unsupported('type', `'${definition.type}' is of another driver`, "Use type 'qemu' or 'kvm'.")
  const arch = definition.os.arch ?? 'x86_64'
  const emulator = await options.findEmulator(arch, definition.devices.emulator)
  if (!emulator)
    throw unsupported(
      'devices.emulator',
      `there is no QEMU for '${definition.devices.emulator ?? arch}' here`,
    )
  await checkAccelerator(definition, emulator, options)
  const chosen = chooseMachine(definition, emulator)
  const uuid = definition.uuid ?? randomUUID()
  const complete: CompleteDefinition = {
    ...definition,
    uuid,
    os: { ...definition.os, arch, machine: chosen.machine },
    features: chosen.features,
    devices: completeDevices(definition, {
      uuid,
      machine: chosen.machine,
      emulator,
      isRunning: options.isRunning,
    }),
  }
  checkProcessors(complete, emulator)
  checkAliases(complete.devices)
  return complete
}

async function checkAccelerator(
  definition: DomainDefinition,
  emulator: Emulator,
  { kvm }: CompleteOptions,
): Promise<void> {
  if (definition.type !== 'kvm') {
    if (definition.cpu?.mode === 'host-passthrough')
      throw unsupported('cpu.mode', "'host-passthrough' needs type 'kvm'; 'maximum' is the most TCG can do")
    return
  }
  const state = await kvm(emulator)
  if (!state.works)
    throw unsupported('type', `'kvm' does not work here. ${state.detail}`, "Use type 'qemu', which emulates.")
}

function chooseMachine({ os, features, devices }: DomainDefinition, emulator: Emulator) {
  // With a machine type of its own choice visor also chooses what every such machine has.
  const given = os.machine !== undefined
  const both = !given && !features.acpi && !features.apic ? { acpi: true, apic: true } : {}
  const wanted = os.machine ?? (devices.disks.some(({ bus }) => bus === 'ide') ? 'pc' : 'q35')
  const found = emulator.machines.find(({ name, alias }) => name === wanted || alias === wanted)
  if (!found || familyOf(found.name) === 'other')
    throw unsupported('os.machine', `'${wanted}' is not a PC machine type of ${emulator.path}`)
  return { machine: found.name, features: { ...features, ...both } }
}

function checkProcessors({ vcpus, os, cpu, clock }: CompleteDefinition, emulator: Emulator): void {
  const machine = emulator.machines.find(({ name }) => name === os.machine)
  if (machine && vcpus > machine.maxCpus)
    throw unsupported('vcpus', `'${machine.name}' takes at most ${machine.maxCpus} processors, not ${vcpus}`)
  if (cpu?.mode === 'custom' && cpu.model !== undefined && !emulator.cpuModels.includes(cpu.model))
    throw unsupported('cpu.model', `${emulator.path} does not know the processor '${cpu.model}'`)
  for (const { name, present, tickPolicy } of clock.timers) {
    const can = { rtc: ['catchup', 'delay'], pit: ['delay'], hpet: [] as string[] }[name as 'rtc'] ?? []
    if (tickPolicy !== undefined && !can.includes(tickPolicy))
      throw unsupported('clock.timers', `the timer '${name}' cannot have the tick policy '${tickPolicy}'`)
    if (present !== undefined && name !== 'hpet' && !present)
      throw unsupported('clock.timers', `the timer '${name}' cannot be left out`)
  }
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
