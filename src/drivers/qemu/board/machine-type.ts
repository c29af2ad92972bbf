/** What follows from the name of a machine type. */
import { isAtLeast } from '../emulator/emulator.ts'

/** Kinds of machines whose devices sit alike: PCs by their chip set, and machines made for virtualization. */
export type MachineFamily = 'q35' | 'pc' | 'microvm' | 'virt' | 'other'

export function familyOf(machine: string): MachineFamily {
  if (/^(?:pc-)?q35/u.test(machine)) return 'q35'
  if (/^pc(?:-i440fx|$)/u.test(machine)) return 'pc'
  if (machine === 'microvm') return 'microvm'
  return /^virt(?:-[\d.]+)?$/u.test(machine) ? 'virt' : 'other'
}

/** Whether `acpi=off` means anything to it. */
export function hasAcpi(arch: string, machine: string, version: string): boolean {
  const family = familyOf(machine)
  if (family === 'other') return false
  return family !== 'virt' || arch === 'aarch64' || (arch === 'riscv64' && isAtLeast(version, '8.0'))
}

/** The machine type that is taken when none is named. */
export function defaultMachine(arch: string, hasIde: boolean): string {
  if (arch === 'x86_64' || arch === 'i686') return hasIde ? 'pc' : 'q35'
  const machines: Readonly<Record<string, string>> = {
    s390x: 's390-ccw-virtio',
    ppc64: 'pseries',
    ppc64le: 'pseries',
  }
  return machines[arch] ?? 'virt'
}

/** The bus that PCI devices sit on; undefined where there is none. */
export function pciRoot(family: MachineFamily): string {
  return family === 'pc' ? 'pci.0' : 'pcie.0'
}
