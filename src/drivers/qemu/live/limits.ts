/** What a machine may take of its host, changed while it runs or for the next start. */
import type { SetLimitsOptions } from '../../../driver/index.ts'
import type { CgroupLimits, IoDeviceLimits } from '../../../host/index.ts'
import { type BlockDeviceLimits, type DomainDefinition, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Machine } from '../machine/machine.ts'
import { hostLimits } from '../machine/placement/host-limits.ts'
import { limitMachineThreads } from '../machine/placement/thread-limits.ts'
import type { Registry } from '../registry.ts'
import { changeDomain } from './affect.ts'

export function settingLimits(context: Context, registry: Registry) {
  return async function setLimits(uuid: string, options: SetLimitsOptions): Promise<void> {
    registry.definition(uuid)
    const { signal: _, progress: _p, onJob: _j, live: _l, config: _c, ...wanted } = options
    if (Object.values(wanted).every((value) => value === undefined))
      throw new VisorError('invalid-argument', 'No limit is named that shall be set.', {
        remedy: "Name one or more: 'visor limits --help' lists them.",
      })
    await changeDomain(context, registry, uuid, options, {
      reason: 'limits',
      edit: (definition) => withLimits(definition, wanted),
      async apply(machine) {
        const { definition: before } = machine.details
        const after = withLimits(before, wanted)
        // First, so that a later daemon tells what is held to, or was about to be.
        await machine.record({ definition: after })
        try {
          await hold(context, machine, before, after)
        } catch (error) {
          await machine.record({ definition: before })
          await hold(context, machine, after, before).catch(() => {})
          throw error
        }
      },
    })
  }
}

/**
 * A thread is never given more than its machine: which of both goes first depends on whether they are given more
 * or less, so that the other order is tried as well.
 */
async function hold(
  context: Context,
  machine: Machine,
  before: Definition,
  after: Definition,
): Promise<void> {
  const { guest, monitor } = machine
  const limits = changed(before, after)
  const ofThreads = threadKeys.some((key) => before.cputune?.[key] !== after.cputune?.[key])
  const all = async () => {
    if (Object.keys(limits).length > 0) await guest.limit(context.cgroups, limits)
  }
  const threads = async () => {
    if (ofThreads)
      await limitMachineThreads(context.cgroups, { guest, definition: unlimited(before, after), monitor })
  }
  try {
    await all()
    await threads()
  } catch (error) {
    if (!ofThreads || Object.keys(limits).length === 0) throw error
    await threads()
    await all()
  }
}

const threadKeys = [
  'vcpuPeriodUs',
  'vcpuQuotaUs',
  'emulatorPeriodUs',
  'emulatorQuotaUs',
  'iothreadPeriodUs',
  'iothreadQuotaUs',
] as const

/** A quota that was there before and is not now is one for all of the time. */
function unlimited(before: Definition, after: Definition): Definition {
  const { cputune } = after
  const gone = (['vcpuQuotaUs', 'emulatorQuotaUs', 'iothreadQuotaUs'] as const).filter(
    (key) => before.cputune?.[key] !== undefined && cputune?.[key] === undefined,
  )
  if (gone.length === 0) return after
  return { ...after, cputune: { ...noPins, ...cputune, ...Object.fromEntries(gone.map((key) => [key, -1])) } }
}

type Definition = CompleteDefinition
type Wanted = Omit<SetLimitsOptions, 'signal' | 'progress' | 'onJob' | 'live' | 'config'>
const noPins = { vcpuPins: [], iothreadPins: [], vcpuSchedulers: [], iothreadSchedulers: [] }

/** -1 takes a limit of memory away. */
function withLimits<D extends DomainDefinition>(definition: D, wanted: Wanted): D {
  const { cpuShares, cpuPeriodUs, cpuQuotaUs, ioWeight, ioDevices } = wanted
  const { hardLimitKiB, softLimitKiB, swapHardLimitKiB } = wanted
  const cputune = set(definition.cputune, {
    shares: cpuShares,
    globalPeriodUs: cpuPeriodUs,
    globalQuotaUs: cpuQuotaUs,
    ...Object.fromEntries(threadKeys.map((key) => [key, wanted[key]])),
  })
  const memtune = set(definition.memtune, { hardLimitKiB, softLimitKiB, swapHardLimitKiB })
  const blkiotune = set(definition.blkiotune, { weight: ioWeight })
  const devices = withDevices(definition.blkiotune?.devices ?? [], ioDevices ?? [])
  return {
    ...definition,
    ...(cputune ? { cputune: { ...noPins, ...cputune } } : {}),
    ...(memtune ? { memtune } : {}),
    ...(blkiotune || devices.length > 0 ? { blkiotune: { ...blkiotune, devices } } : {}),
  }
}

type DeviceTune = NonNullable<DomainDefinition['blkiotune']>['devices'][number]

/** With what is named in the place of what was there; limits of 0 are none. */
function withDevices(before: readonly DeviceTune[], wanted: readonly BlockDeviceLimits[]): DeviceTune[] {
  const devices = new Map(before.map((one) => [one.path, one]))
  for (const { path, ...limits } of wanted) {
    const named = Object.entries({ ...devices.get(path), ...limits })
    devices.set(path, { path, ...Object.fromEntries(named.filter(([, value]) => value !== 0)) })
  }
  return [...devices.values()].filter((one) => Object.keys(one).length > 1)
}

/** With these values in the place of what was there; -1 stays only for a quota, whose word it is. */
function set<T extends object>(before: T | undefined, values: Readonly<Record<string, number | undefined>>) {
  const named = Object.entries(values).filter(([, value]) => value !== undefined)
  if (named.length === 0) return before
  const after: Record<string, unknown> = { ...before }
  for (const [key, value] of named)
    if (value === -1 && !key.endsWith('QuotaUs')) delete after[key]
    else after[key] = value
  return after as T
}

const rates = ['readBytes', 'writeBytes', 'readRequests', 'writeRequests'] as const

/** Limits of single devices that are other than before; one that is gone is 0. */
function changedDevices(before: DomainDefinition, after: DomainDefinition): IoDeviceLimits[] {
  const [old, next] = [before, after].map(
    ({ blkiotune }) => new Map((blkiotune?.devices ?? []).map((one) => [one.path, one])),
  )
  const paths = new Set([...(old?.keys() ?? []), ...(next?.keys() ?? [])])
  return [...paths].flatMap((path) => {
    const differing = [...rates, 'weight' as const].flatMap((key) => {
      const [was, is] = [old?.get(path)?.[key], next?.get(path)?.[key]]
      return was === is ? [] : [[key, is ?? 0] as const]
    })
    return differing.length === 0 ? [] : [{ path, ...Object.fromEntries(differing) }]
  })
}

/** What is other than before, with what stands in one file with it in version 2; a limit that is gone as none. */
function changed(before: DomainDefinition, after: DomainDefinition): CgroupLimits {
  const [old, next] = [hostLimits(before), hostLimits(after)]
  const differs = (...keys: (keyof CgroupLimits)[]) => keys.some((key) => next[key] !== old[key])
  const ioDevices = changedDevices(before, after)
  const { memoryBytes = -1, memorySoftBytes = -1, memorySwapBytes = -1 } = next
  return {
    ...(differs('cpuShares') ? { cpuShares: next.cpuShares } : {}),
    ...(differs('cpuQuotaUs', 'cpuPeriodUs')
      ? { cpuQuotaUs: next.cpuQuotaUs, cpuPeriodUs: next.cpuPeriodUs }
      : {}),
    ...(differs('memoryBytes', 'memorySwapBytes') ? { memoryBytes } : {}),
    ...(differs('memorySoftBytes') ? { memorySoftBytes } : {}),
    // A kernel that does not count swap has no file for it: only for those who ask.
    ...(differs('memoryBytes', 'memorySwapBytes') && (next.memorySwapBytes ?? old.memorySwapBytes)
      ? { memorySwapBytes }
      : {}),
    ...(differs('ioWeight') ? { ioWeight: next.ioWeight } : {}),
    ...(ioDevices.length > 0 ? { ioDevices } : {}),
  }
}
