/** Machine type, firmware and processor of a definition with all that is chosen for them. */
import { stat } from 'node:fs/promises'
import { unlessMissing } from '../../../host/index.ts'
import type { DomainDefinition } from '../../../model/index.ts'
import { unknownName } from '../definition/unknown-name.ts'
import { unsupported } from '../definition/unsupported.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { chooseFirmware, type Firmware } from './firmware-descriptors.ts'
import { defaultMachine, familyOf } from './machine-type.ts'

type Boot = Pick<DomainDefinition, 'os' | 'features' | 'cpu'>

export async function completeBoot(
  definition: DomainDefinition,
  emulator: Emulator,
  arch: string,
  firmware: () => Promise<readonly Firmware[]>,
): Promise<Boot> {
  const { os, features, devices, type } = definition
  // With a machine type of its own choice visor also chooses what every such machine has.
  const both = os.machine === undefined && !features.acpi && !features.apic ? { acpi: true, apic: true } : {}
  const wanted =
    os.machine ??
    defaultMachine(
      arch,
      devices.disks.some(({ bus }) => bus === 'ide'),
    )
  const found = emulator.machines.find(({ name, alias }) => name === wanted || alias === wanted)
  if (!found)
    throw unknownName('os.machine', {
      what: `'${wanted}' is not a machine type of ${emulator.path}`,
      name: wanted,
      known: emulator.machines.flatMap(({ name, alias }) => (alias === undefined ? [name] : [alias, name])),
      list: `${emulator.path} -machine help`,
    })
  const machine = found.name
  const isArm = arch === 'aarch64' && familyOf(machine) === 'virt'
  return {
    os: { ...(await completeFirmware(definition, arch, machine, firmware)), arch, machine },
    features: {
      ...features,
      ...both,
      // Its PCI bus is found by nothing else.
      ...(familyOf(machine) === 'microvm' ? { acpi: true } : {}),
      ...(isArm && !features.gic ? { gic: { version: type === 'kvm' ? 'host' : '3' } as const } : {}),
      // Only in this mode can the variables of a secure firmware be kept from the guest.
      ...(features.smm === undefined && (await needsSmm(definition)) ? { smm: true } : {}),
    },
    ...completeProcessor(definition, arch, isArm),
  }
}

const needsSmm = async ({ os }: DomainDefinition) =>
  os.loaderSecure === true ||
  os.firmwareFeatures.some(({ name, enabled }) => name === 'secure-boot' && enabled)

/** QEMU's own default for ARM is a processor of 32 bits. */
function completeProcessor({ cpu, type }: DomainDefinition, arch: string, isArm: boolean): Pick<Boot, 'cpu'> {
  const isOpen = cpu === undefined || (cpu.mode === 'custom' && cpu.model === undefined)
  if (!isArm || !isOpen || arch !== 'aarch64') return cpu ? { cpu } : {}
  const rest = cpu ?? { features: [], numa: [], numaLatencies: [], numaBandwidths: [] }
  return {
    cpu:
      type === 'kvm'
        ? { ...rest, mode: 'host-passthrough' }
        : { ...rest, mode: 'custom', model: 'cortex-a57' },
  }
}

async function completeFirmware(
  { os, features }: DomainDefinition,
  arch: string,
  machine: string,
  firmware: () => Promise<readonly Firmware[]>,
): Promise<DomainDefinition['os']> {
  if (os.nvram !== undefined && os.nvramFormat === undefined) {
    // A file that is there is what other programs made: raw. What visor makes can hold snapshots.
    const there = await unlessMissing(stat(os.nvram))
    return completeFirmware(
      { os: { ...os, nvramFormat: there ? 'raw' : 'qcow2' }, features } as DomainDefinition,
      arch,
      machine,
      firmware,
    )
  }
  const wish = (name: string) => os.firmwareFeatures.find((one) => one.name === name)?.enabled
  if (os.loader !== undefined)
    return {
      ...os,
      loaderType: os.loaderType ?? 'rom',
      ...(os.nvramTemplate === undefined && os.loaderType === 'pflash' && os.loaderStateless !== true
        ? await templateOf(os.loader, firmware)
        : {}),
    }
  if (os.firmware !== 'efi') {
    if (wish('secure-boot'))
      throw unsupported('os.firmwareFeatures', 'only UEFI has Secure Boot', "Use firmware 'efi'.")
    return os
  }
  const secureBoot = wish('secure-boot')
  const enrolledKeys = wish('enrolled-keys')
  const chosen = chooseFirmware(await firmware(), { arch, machine, secureBoot, enrolledKeys })
  if (!chosen) {
    const wanted = secureBoot ? 'UEFI with Secure Boot' : 'UEFI'
    throw unsupported(
      'os.firmware',
      `this host has no ${wanted} for the machine type '${machine}' (${arch})`,
      secureBoot && !machine.includes('q35') && arch === 'x86_64'
        ? "Secure Boot needs the machine type 'q35'."
        : 'Install it: the packages ovmf (x86), qemu-efi-aarch64, qemu-efi-riscv64 on Debian and Ubuntu.',
    )
  }
  return {
    ...os,
    loader: chosen.executable,
    loaderType: 'pflash',
    loaderReadonly: true,
    ...(chosen.format === 'qcow2' ? { loaderFormat: 'qcow2' as const } : {}),
    ...(chosen.features.includes('requires-smm') ? { loaderSecure: true } : {}),
    ...(chosen.template === undefined
      ? { loaderStateless: true }
      : { nvramTemplate: os.nvramTemplate ?? chosen.template }),
  }
}

/** The template that belongs to a program of a firmware, when this host describes it. */
async function templateOf(loader: string, firmware: () => Promise<readonly Firmware[]>) {
  const template = (await firmware()).find(({ executable }) => executable === loader)?.template
  return template === undefined ? {} : { nvramTemplate: template }
}
