/**
 * Settings that would change nothing about this machine: each is refused, since what is set and has no effect
 * deceives whoever has set it.
 */
import { hostFiles, readProcessor } from '../../../../host/index.ts'
import { parseCpuSet } from '../../../../model/index.ts'
import type { CompleteDefinition } from '../../definition/definition.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { familyOf } from '../machine-type.ts'

/** A path, whether it is set in vain, and why it would be. */
type Vain = readonly [path: string, isVain: boolean, why: string, remedy?: string]

/** Fails with `unsupported-config` that names the first one. */
export function checkEffects(definition: CompleteDefinition): void {
  const all = [
    ...ofChips(definition),
    ...ofFirmware(definition),
    ...ofProcessors(definition),
    ...ofMemory(definition),
    ...ofMemoryDevices(definition),
  ]
  for (const [path, isVain, why, remedy] of all) if (isVain) throw unsupported(path, why, remedy)
}

const isX86 = ({ os }: CompleteDefinition) => os.arch === 'x86_64' || os.arch === 'i686'

function ofChips(definition: CompleteDefinition): Vain[] {
  const { features, type, powerManagement: sleep, os, clock } = definition
  const isPc = ['pc', 'q35'].includes(familyOf(os.machine ?? ''))
  const timer = (name: string) => clock.timers.find((one) => one.name === name)
  const ofPc = 'only PCs can have it switched'
  return [
    ['features.tbCacheKiB', type === 'kvm' && features.tbCacheKiB !== undefined, 'KVM translates nothing'],
    ['powerManagement.suspendToMemory', !isPc && sleep?.suspendToMemory !== undefined, ofPc],
    ['powerManagement.suspendToDisk', !isPc && sleep?.suspendToDisk !== undefined, ofPc],
    ['clock.timers', timer('tsc')?.present === false, "the timer 'tsc' cannot be left out"],
    ['clock.timers', timer('pit') !== undefined && !isX86(definition), "only PCs have the timer 'pit'"],
    [
      'clock.timers',
      timer('rtc')?.tickPolicy === 'catchup' && !isX86(definition),
      "only the 'rtc' of PCs catches up",
    ],
  ]
}

function ofFirmware({ os }: CompleteDefinition): Vain[] {
  const isFlash = os.loader !== undefined && os.loaderType === 'pflash'
  const needs = 'is a matter of UEFI in a flash chip'
  const remedy = "Use firmware 'efi', or a loader of type 'pflash'."
  const keys = os.firmwareFeatures.some(({ name, enabled }) => name === 'enrolled-keys' && enabled)
  return [
    ['os.firmwareFeatures', keys && !isFlash, needs, remedy],
    ['os.loaderSecure', os.loaderSecure === true && !isFlash, needs, remedy],
    ['os.loaderStateless', os.loaderStateless === true && !isFlash, needs, remedy],
    ['os.nvram', os.nvram !== undefined && !isFlash, needs, remedy],
  ]
}

function ofProcessors(definition: CompleteDefinition): Vain[] {
  const { cpu, type, cputune, iothreads = 0, iothreadIds } = definition
  const flags = type === 'kvm' ? readProcessor(hostFiles()).flags : new Set<string>()
  const migratable = cpu?.migratable !== undefined && !/^(?:host-passthrough|maximum)$/u.test(cpu.mode)
  const known = new Set(iothreadIds.map(({ id }) => id))
  const hasThread = (id: number) => known.has(id) || (id >= 1 && id <= iothreads)
  const { dies = 1, clusters = 1 } = cpu?.topology ?? {}
  const family = familyOf(definition.os.machine ?? '')
  return [
    ['cpu.topology.dies', dies > 1 && !['pc', 'q35'].includes(family), 'only processors of PCs have several'],
    [
      'cpu.topology.clusters',
      clusters > 1 && (isX86(definition) || family !== 'virt'),
      'only ARM machines have them',
    ],
    ['cpu.migratable', migratable, "is a matter of the modes 'host-passthrough' and 'maximum'"],
    ...(cpu?.features ?? []).map(
      ({ name, policy }, index): Vain => [
        `cpu.features[${index}]`,
        policy === 'forbid' && flags.has(name),
        `forbids '${name}', which the processor of this host has`,
        'Run it on another host, or disable the feature instead.',
      ],
    ),
    ...(cputune?.iothreadPins ?? []).map(
      ({ iothread }, index): Vain => [
        `cputune.iothreadPins[${index}].iothread`,
        !hasThread(iothread),
        `there is no I/O thread ${iothread}`,
      ],
    ),
  ]
}

function ofMemory({ memoryBacking: backing, numatune, cpu }: CompleteDefinition): Vain[] {
  const cells = (cpu?.numa ?? []).map(({ id }, index) => id ?? index)
  const lacks = (cell: number) => (cells.length > 0 ? !cells.includes(cell) : cell !== 0)
  return [
    [
      'memoryBacking.allocationThreads',
      backing?.allocationThreads !== undefined && backing.allocation !== 'immediate',
      "needs the allocation 'immediate'",
    ],
    ...(numatune?.cells ?? []).map(
      ({ cell }, index): Vain => [
        `numatune.cells[${index}].cell`,
        !cells.includes(cell),
        `the machine has no cell ${cell}`,
        'Describe it in cpu.numa.',
      ],
    ),
    ...(backing?.hugePages?.pages ?? []).map(
      ({ nodeset }, index): Vain => [
        `memoryBacking.hugePages.pages[${index}].nodeset`,
        nodeset !== undefined && parseCpuSet(nodeset).some(lacks),
        'names a cell that the machine does not have',
        'Describe it in cpu.numa.',
      ],
    ),
  ]
}

/** What only some kinds of modules have. */
function ofMemoryDevices({ devices }: CompleteDefinition): Vain[] {
  return devices.memories.flatMap((one, index) => {
    const only = (field: keyof typeof one, models: readonly string[]): Vain => [
      `devices.memories[${index}].${field}`,
      one[field] !== undefined && one[field] !== false && !models.includes(one.model),
      `only modules of the model ${models.map((name) => `'${name}'`).join(' or ')} have it`,
    ]
    return [
      only('path', ['nvdimm', 'virtio-pmem']),
      only('pmem', ['nvdimm', 'virtio-pmem']),
      only('alignKiB', ['nvdimm', 'virtio-pmem']),
      only('uuid', ['nvdimm']),
      only('labelKiB', ['nvdimm']),
      only('readonly', ['nvdimm']),
      only('blockKiB', ['virtio-mem']),
      only('requestedKiB', ['virtio-mem']),
      only('node', ['dimm', 'nvdimm', 'virtio-mem']),
    ]
  })
}
