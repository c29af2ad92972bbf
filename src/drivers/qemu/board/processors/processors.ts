/** Processors as arguments of QEMU. Source: qemu(1), "-smp" and "-cpu"; docs/system/i386/hyperv. */
import { type DomainDefinition, type HyperV, parseCpuSet } from '../../../../model/index.ts'
import type { CompleteDefinition } from '../../definition/definition.ts'
import { type Fields, keyValue } from '../../definition/key-value.ts'
import { object, type Part } from '../../definition/parts.ts'
import type { Emulator } from '../../emulator/emulator.ts'
import { featureFields } from './cpu-features.ts'

export const onOff = (value: boolean): string => (value ? 'on' : 'off')
const onOffMaybe = (value: boolean | undefined) => (value === undefined ? undefined : onOff(value))

/** Processors that are there when QEMU starts; others are plugged in before the guest runs. */
export function bootProcessors({ vcpus, currentVcpus, vcpuStates }: CompleteDefinition): number {
  if (vcpuStates.length === 0) return currentVcpus ?? vcpus
  return vcpuStates.filter(({ enabled, hotpluggable }) => enabled && hotpluggable !== true).length
}

export function processorArguments(definition: CompleteDefinition, emulator: Emulator): string[] {
  const { sockets, dies, clusters, cores, threads } = definition.cpu?.topology ?? {}
  const layout = { sockets, dies: dies === 1 ? undefined : dies, clusters, cores, threads }
  return [
    '-smp',
    keyValue('', { cpus: bootProcessors(definition), maxcpus: definition.vcpus, ...layout }),
    ...processorModel(definition, emulator),
  ]
}

function processorModel(definition: CompleteDefinition, emulator: Emulator): string[] {
  const { type, cpu, features: board, clock, devices } = definition
  const most = type === 'kvm' ? 'host' : 'max'
  const models = { custom: cpu?.model, 'host-model': most, 'host-passthrough': 'host', maximum: 'max' }
  const timer = (name: string) => clock.timers.find((one) => one.name === name)
  const flags: Fields = {
    ...(board.hyperv ? hyperV(board.hyperv) : {}),
    'hv-crash': devices.panics.some(({ model }) => model === 'hyperv') ? 'on' : undefined,
    'hv-time': onOffMaybe(timer('hypervclock')?.present),
    kvmclock: onOffMaybe(timer('kvmclock')?.present),
    'tsc-frequency': timer('tsc')?.frequencyHz,
    kvm: board.kvm?.hidden ? 'off' : undefined,
    'kvm-hint-dedicated': onOffMaybe(board.kvm?.dedicated),
    'kvm-poll-control': onOffMaybe(board.kvm?.pollControl),
    'kvm-pv-ipi': onOffMaybe(board.kvm?.pvIpi),
    'kvm-pv-unhalt': onOffMaybe(board.pvspinlock),
    pmu: onOffMaybe(board.pmu),
  }
  const isSet = Object.values(flags).some((value) => value !== undefined)
  const model = models[cpu?.mode ?? 'custom'] ?? (isSet || cpu ? defaultModel(definition) : undefined)
  if (model === undefined) return []
  const { enforce, ...features } = featureFields(definition, emulator)
  return [
    '-cpu',
    keyValue(model, {
      ...features,
      ...flags,
      vendor: cpu?.vendorId,
      ...cacheFields(definition),
      ...addressFields(definition),
      migratable: model === 'host' ? onOffMaybe(cpu?.migratable) : undefined,
      // What was required and cannot be had stops the start, instead of being left out with a warning.
      enforce,
    }),
  ]
}

function defaultModel({ os }: CompleteDefinition): string {
  const models: Readonly<Record<string, string>> = { x86_64: 'qemu64', i686: 'qemu32', riscv64: 'rv64' }
  return models[os.arch ?? ''] ?? 'max'
}

function cacheFields({ cpu }: CompleteDefinition): Fields {
  switch (cpu?.cacheMode) {
    case 'emulate':
      return { 'l3-cache': 'on' }
    case 'passthrough':
      return { 'host-cache-info': 'on', 'l3-cache': 'off' }
    case 'disable':
      return { 'host-cache-info': 'off', 'l3-cache': 'off' }
    default:
      return {}
  }
}

function addressFields({ cpu }: CompleteDefinition): Fields {
  if (cpu?.addressBitsMode === 'passthrough') return { 'host-phys-bits': 'on' }
  return { 'phys-bits': cpu?.addressBits }
}

function hyperV(features: HyperV): Fields {
  return {
    'hv-passthrough': features.mode === 'passthrough' ? 'on' : undefined,
    'hv-relaxed': onOffMaybe(features.relaxed),
    'hv-vapic': onOffMaybe(features.vapic),
    'hv-spinlocks': features.spinlocks ? `0x${(features.spinlockRetries ?? 4095).toString(16)}` : undefined,
    'hv-vpindex': onOffMaybe(features.vpindex),
    'hv-runtime': onOffMaybe(features.runtime),
    'hv-synic': onOffMaybe(features.synic),
    'hv-stimer': onOffMaybe(features.stimer),
    'hv-stimer-direct': onOffMaybe(features.stimerDirect),
    'hv-reset': onOffMaybe(features.reset),
    'hv-vendor-id': features.vendorId ? features.vendorIdValue : undefined,
    'hv-frequencies': onOffMaybe(features.frequencies),
    'hv-reenlightenment': onOffMaybe(features.reenlightenment),
    'hv-tlbflush': onOffMaybe(features.tlbflush),
    'hv-ipi': onOffMaybe(features.ipi),
    'hv-evmcs': onOffMaybe(features.evmcs),
    'hv-avic': onOffMaybe(features.avic),
  }
}

type IoThreads = Pick<DomainDefinition, 'iothreads' | 'iothreadIds'>

/** Numbers of the threads that serve disks: those that are named, and as many more from 1 as there shall be. */
export function ioThreadIds({ iothreads = 0, iothreadIds }: IoThreads): number[] {
  const ids = new Set(iothreadIds.map(({ id }) => id))
  for (let id = 1; ids.size < iothreads; id++) ids.add(id)
  return [...ids].sort((a, b) => a - b)
}

export function ioThreadProperties(one: IoThreads['iothreadIds'][number] | undefined) {
  return {
    'poll-max-ns': one?.pollMaximumNs,
    'poll-grow': one?.pollGrow,
    'poll-shrink': one?.pollShrink,
    'thread-pool-min': one?.minimumWorkers,
    'thread-pool-max': one?.maximumWorkers,
  }
}

export function ioThreadParts({ iothreads, iothreadIds, ...more }: CompleteDefinition): Part[] {
  const given = new Map(iothreadIds.map((one) => [one.id, one]))
  const threads = ioThreadIds({ iothreads, iothreadIds }).map((id) =>
    object('iothread', { id: `iothread${id}`, ...ioThreadProperties(given.get(id)) }),
  )
  const { defaultWorkersMinimum: least, defaultWorkersMaximum: most } = more
  if (least === undefined && most === undefined) return threads
  return [
    object('main-loop', { id: 'main-loop', 'thread-pool-min': least, 'thread-pool-max': most }),
    ...threads,
  ]
}

/** A set as QEMU takes it: the key again for each run of numbers. */
export function cpuRanges(set: string): string[] {
  const runs: [number, number][] = []
  for (const one of parseCpuSet(set)) {
    const last = runs.at(-1)
    if (last && last[1] === one - 1) last[1] = one
    else runs.push([one, one])
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`))
}
