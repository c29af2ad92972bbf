/** What a machine of QEMU cannot have: found before anything starts. */
import { hostFiles, readHugePages } from '../../../../host/index.ts'
import { parseCpuSet } from '../../../../model/index.ts'
import type { CompleteDefinition } from '../../definition/definition.ts'
import { unknownName } from '../../definition/unknown-name.ts'
import { unsupported } from '../../definition/unsupported.ts'
import type { Emulator, MachineType } from '../../emulator/emulator.ts'
import { readHostIdentity } from '../host-identity.ts'
import { misnamedEntry } from '../identity.ts'
import { familyOf } from '../machine-type.ts'
import { bootMemoryKiB } from '../memory/memory.ts'
import { checkPerformance } from '../memory/memory-performance.ts'
import { checkSharedMemory } from '../memory/shared-memory.ts'
import { checkFeatures } from '../processors/cpu-features.ts'
import { bootProcessors } from '../processors/processors.ts'
import { checkEffects } from './check-effects.ts'

/** Fails with `unsupported-config` that names the element. */
export function checkBoard(definition: CompleteDefinition, emulator: Emulator): void {
  const machine = emulator.machines.find(({ name }) => name === definition.os.machine)
  checkProcessors(definition, emulator, machine)
  checkHypervisorFeatures(definition)
  checkChips(definition)
  checkTimers(definition)
  checkMemory(definition)
  checkSharedMemory(definition)
  checkPerformance(definition)
  checkPlacement(definition)
  checkIdentity(definition, emulator)
  checkEffects(definition)
}

function checkProcessors(
  definition: CompleteDefinition,
  emulator: Emulator,
  machine: MachineType | undefined,
) {
  const { vcpus, cpu, vcpuStates } = definition
  if (machine && vcpus > machine.maxCpus)
    throw unsupported('vcpus', `'${machine.name}' takes at most ${machine.maxCpus} processors, not ${vcpus}`)
  if (cpu?.mode === 'custom' && cpu.model !== undefined && !emulator.cpuModels.includes(cpu.model))
    throw unknownName('cpu.model', {
      what: `${emulator.path} does not know the processor '${cpu.model}'`,
      name: cpu.model,
      known: emulator.cpuModels,
      list: `${emulator.path} -cpu help`,
    })
  checkFeatures(definition, emulator)
  const first = bootProcessors(definition)
  for (const [index, { id, enabled, hotpluggable }] of vcpuStates.entries()) {
    const path = `vcpuStates[${index}]`
    if (enabled && hotpluggable !== true && id >= first)
      throw unsupported(path, 'the processors that cannot be unplugged must be the first ones')
    if (!enabled && hotpluggable === false) throw unsupported(path, 'a processor that can never come is none')
  }
  const plugs = vcpuStates.some(({ enabled, hotpluggable }) => enabled && hotpluggable)
  if (plugs && machine?.hotplugCpus === false)
    throw unsupported('vcpuStates', `'${machine.name}' cannot have processors plugged in`)
}

function checkHypervisorFeatures({ type, features, cpu, os, clock, devices }: CompleteDefinition): void {
  if (devices.iommu?.model === 'smmuv3' && os.arch !== 'aarch64')
    throw unsupported('devices.iommu.model', "'smmuv3' is on machines of aarch64 only", "Use 'virtio'.")
  const isX86 = os.arch === 'x86_64' || os.arch === 'i686'
  const wanted: readonly [string, boolean | undefined][] = [
    ['features.hyperv', Object.values(features.hyperv ?? {}).some((value) => value === true)],
    ['features.hyperv', features.hyperv?.mode === 'passthrough'],
    ['devices.panics', devices.panics.some(({ model }) => model === 'hyperv')],
    ['features.kvm', Object.values(features.kvm ?? {}).some((value) => value === true)],
    ['features.pvspinlock', features.pvspinlock],
    ['features.ioapic', features.ioapic !== undefined],
    ['cpu.addressBitsMode', cpu?.addressBitsMode === 'passthrough'],
    ['clock.timers', clock.timers.some(({ name, present }) => name === 'hypervclock' && present)],
    ['clock.timers', clock.timers.some(({ name, present }) => name === 'kvmclock' && present)],
    ['clock.timers', clock.timers.some(({ frequencyHz }) => frequencyHz !== undefined)],
  ]
  for (const [path, isWanted] of wanted)
    if (isWanted && type !== 'kvm')
      throw unsupported(
        path,
        'only KVM has it, and this machine is emulated',
        "Use type 'kvm', or remove it.",
      )
    else if (isWanted && !isX86) throw unsupported(path, `processors of '${os.arch}' have no such thing`)
}

function checkChips({ os, features }: CompleteDefinition): void {
  const family = familyOf(os.machine ?? '')
  const isX86 = os.arch === 'x86_64' || os.arch === 'i686'
  if (features.smm && family !== 'q35')
    throw unsupported('features.smm', 'needs the chip set q35', "Use the machine type 'q35'.")
  if (features.tsegKiB !== undefined && family !== 'q35')
    throw unsupported('features.tsegKiB', 'needs the chip set q35')
  if (os.loaderSecure && family !== 'q35')
    throw unsupported('os.loaderSecure', "needs the machine type 'q35'", "Use the machine type 'q35'.")
  if (features.gic && os.arch !== 'aarch64' && os.arch !== 'armv7l')
    throw unsupported('features.gic', `machines of '${os.arch}' have none`)
  if (os.deviceTree !== undefined && isX86) throw unsupported('os.deviceTree', 'a PC has no device tree')
  if (os.acpiTable !== undefined && !isX86) throw unsupported('os.acpiTable', 'only PCs take one')
  if (features.vmport && family !== 'q35' && family !== 'pc')
    throw unsupported('features.vmport', 'only PCs have it')
  if (os.biosSerial && (!isX86 || os.loaderType === 'pflash'))
    throw unsupported('os.biosSerial', 'only the BIOS of PCs speaks on the serial port by itself')
}

function checkTimers({ clock, os }: CompleteDefinition): void {
  const policies: Readonly<Record<string, readonly string[]>> = { rtc: ['catchup', 'delay'], pit: ['delay'] }
  const switched = ['hpet', 'kvmclock', 'hypervclock', 'tsc']
  for (const { name, present, tickPolicy, track } of clock.timers) {
    if (tickPolicy !== undefined && !policies[name]?.includes(tickPolicy))
      throw unsupported('clock.timers', `the timer '${name}' cannot have the tick policy '${tickPolicy}'`)
    if (present === false && !switched.includes(name))
      throw unsupported('clock.timers', `the timer '${name}' cannot be left out`)
    if (track !== undefined && (name !== 'rtc' || track === 'boot'))
      throw unsupported('clock.timers', `the timer '${name}' cannot follow '${track}'`)
  }
  const hpet = clock.timers.some(({ name, present }) => name === 'hpet' && present)
  if (hpet && !['pc', 'q35'].includes(familyOf(os.machine ?? '')))
    throw unsupported('clock.timers', 'only PCs have a hpet')
}

function checkMemory(definition: CompleteDefinition): void {
  const { memoryBacking: backing, maxMemoryKiB, memorySlots, devices, cpu } = definition
  if (bootMemoryKiB(definition) < 1024)
    throw unsupported(
      'memoryKiB',
      'the modules of memory leave less than 1 MiB for the start',
      'Count them in.',
    )
  const { memories } = devices
  if (memories.length > 0 && maxMemoryKiB === undefined)
    throw unsupported('devices.memories', 'need room to be plugged into', 'Set maxMemory and its slots.')
  const modules = memories.filter(({ model }) => model === 'dimm' || model === 'nvdimm').length
  if (modules > (memorySlots ?? 0))
    throw unsupported('devices.memories', `${modules} modules need as many slots, not ${memorySlots ?? 0}`)
  const pages = backing?.hugePages ? backing.hugePages.pages.map(({ sizeKiB }) => sizeKiB) : []
  const there = readHugePages(hostFiles()).map(({ sizeKiB }) => sizeKiB)
  if (backing?.hugePages && there.length === 0)
    throw unsupported('memoryBacking.hugePages', 'the kernel of this host has no huge pages')
  for (const size of pages)
    if (!there.includes(size))
      throw unsupported(
        'memoryBacking.hugePages.pages',
        `this host has no pages of ${size} KiB, only of ${there.join(', ')} KiB`,
      )
  if (backing?.hugePages && backing.source && backing.source !== 'memfd')
    throw unsupported('memoryBacking.source', "huge pages come from 'memfd' here")
  for (const [index, cell] of (cpu?.numa ?? []).entries())
    if (cell.discard && backing?.source !== 'file')
      throw unsupported(`cpu.numa[${index}].discard`, "means something for memory of source 'file' only")
}

/** Fails with `unsupported-config` for processors that this host does not have. */
export function checkHostProcessors(path: string, set: string | undefined): void {
  if (set === undefined) return
  const online = new Set(readSet('/sys/devices/system/cpu/online'))
  const wanted = parseCpuSet(set)
  const missing = wanted.filter((one) => !online.has(one))
  if (missing.length > 0) throw unsupported(path, `this host has no processor ${missing.join(', ')}`)
  if (wanted.length === 0) throw unsupported(path, 'names no processor at all')
}

const readSet = (path: string) => parseCpuSet((hostFiles().read(path) ?? '0').trim() || '0')

/** Host processors and nodes that are named must be there. */
function checkPlacement({ vcpuCpuset, cputune, numatune, vcpus }: CompleteDefinition): void {
  const nodes = new Set(readSet('/sys/devices/system/node/online'))
  const checkNodes = (path: string, set: string | undefined) => {
    const missing = set === undefined ? [] : parseCpuSet(set).filter((one) => !nodes.has(one))
    if (missing.length > 0) throw unsupported(path, `this host has no node ${missing.join(', ')}`)
    if (set !== undefined && parseCpuSet(set).length === 0) throw unsupported(path, 'names no node at all')
  }
  checkHostProcessors('vcpuCpuset', vcpuCpuset)
  checkHostProcessors('cputune.emulatorPin', cputune?.emulatorPin)
  for (const [index, pin] of (cputune?.vcpuPins ?? []).entries()) {
    checkHostProcessors(`cputune.vcpuPins[${index}].cpuset`, pin.cpuset)
    if (pin.vcpu >= vcpus)
      throw unsupported(`cputune.vcpuPins[${index}].vcpu`, `there is no virtual processor ${pin.vcpu}`)
  }
  for (const [index, pin] of (cputune?.iothreadPins ?? []).entries())
    checkHostProcessors(`cputune.iothreadPins[${index}].cpuset`, pin.cpuset)
  checkNodes('numatune.nodeset', numatune?.nodeset)
  for (const [index, cell] of (numatune?.cells ?? []).entries())
    checkNodes(`numatune.cells[${index}].nodeset`, cell.nodeset)
}

function checkIdentity(definition: CompleteDefinition, { devices, path }: Emulator): void {
  const wrong = misnamedEntry(definition)
  if (wrong) throw unsupported(wrong.path, `SMBIOS has no place for '${wrong.name}' there`)
  const { genid, os, sysinfo, features } = definition
  if (genid !== undefined && !features.acpi)
    throw unsupported('genid', 'guests are told by ACPI, which this machine has not', "Add 'features.acpi'.")
  if (genid !== undefined && !devices.includes('vmgenid'))
    throw unsupported('genid', `${path} has no device 'vmgenid'`)
  if (os.smbios === 'host' && !readHostIdentity(hostFiles()))
    throw unsupported('os.smbios', 'this host shows nothing of its own (/sys/class/dmi/id)')
  if (os.smbios === 'sysinfo' && !sysinfo.some(({ type }) => type === 'smbios'))
    throw unsupported('os.smbios', "'sysinfo' needs a sysinfo of type 'smbios'")
}
