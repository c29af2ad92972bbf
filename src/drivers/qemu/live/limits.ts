/** What a machine may take of its host, changed while it runs or for the next start. */
import type { SetLimitsOptions } from '../../../driver/index.ts'
import type { CgroupLimits } from '../../../host/index.ts'
import { type DomainDefinition, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import { hostLimits } from '../machine/host-limits.ts'
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
          await machine.guest.limit(context.cgroups, changed(before, after))
        } catch (error) {
          await machine.record({ definition: before })
          throw error
        }
      },
    })
  }
}

type Wanted = Omit<SetLimitsOptions, 'signal' | 'progress' | 'onJob' | 'live' | 'config'>

/** -1 takes a limit of memory away. */
function withLimits<D extends DomainDefinition>(definition: D, wanted: Wanted): D {
  const { cpuShares, cpuPeriodUs, cpuQuotaUs, ioWeight, hardLimitKiB, softLimitKiB, swapHardLimitKiB } =
    wanted
  const cputune = set(definition.cputune, {
    shares: cpuShares,
    globalPeriodUs: cpuPeriodUs,
    globalQuotaUs: cpuQuotaUs,
  })
  const memtune = set(definition.memtune, { hardLimitKiB, softLimitKiB, swapHardLimitKiB })
  const blkiotune = set(definition.blkiotune, { weight: ioWeight })
  const pins = { vcpuPins: [], iothreadPins: [], vcpuSchedulers: [], iothreadSchedulers: [] }
  return {
    ...definition,
    ...(cputune ? { cputune: { ...pins, ...cputune } } : {}),
    ...(memtune ? { memtune } : {}),
    ...(blkiotune ? { blkiotune: { ...blkiotune, devices: definition.blkiotune?.devices ?? [] } } : {}),
  }
}

/** With these values in the place of what was there; -1 stays only for a quota, whose word it is. */
function set<T extends object>(before: T | undefined, values: Readonly<Record<string, number | undefined>>) {
  const named = Object.entries(values).filter(([, value]) => value !== undefined)
  if (named.length === 0) return before
  const after: Record<string, unknown> = { ...before }
  for (const [key, value] of named)
    if (value === -1 && key !== 'globalQuotaUs') delete after[key]
    else after[key] = value
  return after as T
}

/** What is other than before, with what stands in one file with it in version 2; a limit that is gone as none. */
function changed(before: DomainDefinition, after: DomainDefinition): CgroupLimits {
  const [old, next] = [hostLimits(before), hostLimits(after)]
  const differs = (...keys: (keyof CgroupLimits)[]) => keys.some((key) => next[key] !== old[key])
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
  }
}
