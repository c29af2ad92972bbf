/** `-machine`, `-accel` and what belongs to the chip set. Source: qemu(1). */
import type { CompleteDefinition } from '../definition/definition.ts'
import { type Fields, keyValue } from '../definition/key-value.ts'
import { isAtLeast } from '../emulator/emulator.ts'
import { firmwareFields } from './firmware.ts'
import { familyOf, hasAcpi } from './machine-type.ts'
import { type MemoryOptions, mainMemory } from './memory/memory.ts'
import { tellsPerformance } from './memory/memory-performance.ts'

export function machineArguments(options: MemoryOptions): string[] {
  const { definition, emulator } = options
  const { os, features, clock, powerManagement } = definition
  const machine = os.machine ?? 'q35'
  const family = familyOf(machine)
  const hpet = clock.timers.find(({ name }) => name === 'hpet')?.present
  const recent = isAtLeast(emulator.version, '7.0')
  const isPc = family === 'pc' || family === 'q35'
  const fields: Fields = {
    usb: 'off',
    acpi: features.acpi || !hasAcpi(os.arch ?? '', machine, emulator.version) ? undefined : 'off',
    vmport: isPc ? features.vmport : undefined,
    hpet: isPc && recent ? hpet : undefined,
    // Without it a microvm has no PCI bus, and so none of the devices that a definition can name.
    pcie: family === 'microvm' ? true : undefined,
    rtc: family === 'microvm' ? true : undefined,
    // Its own port would hide the first of the definition's.
    'isa-serial': family === 'microvm' ? false : undefined,
    smm: features.smm,
    kernel_irqchip: features.ioapic === 'qemu' ? 'split' : features.ioapic === 'kvm' ? true : undefined,
    'gic-version': features.gic?.version,
    nvdimm: definition.devices.memories.some(({ model }) => model === 'nvdimm') ? true : undefined,
    iommu: definition.devices.iommu?.model === 'smmuv3' ? 'smmuv3' : undefined,
    hmat: tellsPerformance(definition) ? 'on' : undefined,
    graphics: os.biosSerial ? 'off' : undefined,
    // What is in a crash dump is nobody's business but the guest's.
    'dump-guest-core': definition.dumpCore ? true : 'off',
    'memory-backend': mainMemory(options),
    ...firmwareFields(definition),
  }
  const chip = family === 'q35' ? 'ICH9-LPC' : 'PIIX4_PM'
  const sleep = (key: string, enabled: boolean | undefined) =>
    enabled === undefined || !isPc ? [] : ['-global', `${chip}.${key}=${enabled ? 0 : 1}`]
  return [
    ...['-machine', keyValue(machine, fields), '-accel', accelerator(definition)],
    ...(isPc && hpet === false && !recent ? ['-no-hpet'] : []),
    ...sleep('disable_s3', powerManagement?.suspendToMemory),
    ...sleep('disable_s4', powerManagement?.suspendToDisk),
    ...(features.tsegKiB === undefined
      ? []
      : ['-global', `mch.extended-tseg-mbytes=${Math.ceil(features.tsegKiB / 1024)}`]),
    ...(features.vmcoreinfo ? ['-device', 'vmcoreinfo'] : []),
  ]
}

function accelerator({ type, features }: CompleteDefinition): string {
  if (type === 'kvm')
    return keyValue('kvm', {
      'dirty-ring-size': features.kvm?.dirtyRing ? (features.kvm.dirtyRingSize ?? 4096) : undefined,
    })
  const { tbCacheKiB } = features
  return keyValue('tcg', { 'tb-size': tbCacheKiB === undefined ? undefined : Math.ceil(tbCacheKiB / 1024) })
}
