import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'
import { parseCount, parseSize } from '../units.ts'

interface Flags {
  readonly cpuShares?: string
  readonly cpuQuota?: string
  readonly cpuPeriod?: string
  readonly hardLimit?: string
  readonly softLimit?: string
  readonly swapHardLimit?: string
  readonly weight?: string
  readonly live?: true
  readonly config?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Set limits on what machines take of their host; those that are not named stay as they are. ' +
        "'visor show NAME --xml' shows them, in cputune, memtune and blkiotune.",
    )
    .argument('<domains...>', 'names or uuids')
    .option('--cpu-shares <weight>', 'weight against others; 1024 is usual, or 100 with cgroup v2')
    .option('--cpu-quota <microseconds>', 'processor time of the whole machine in each period; -1 for all')
    .option('--cpu-period <microseconds>', 'that period; 100000 is usual')
    .option('--hard-limit <size>', "the most memory, with QEMU's own; or 'none'")
    .option('--soft-limit <size>', "memory it is pressed back to when the host is short; or 'none'")
    .option('--swap-hard-limit <size>', "the most memory and swap together; or 'none'")
    .option('--weight <weight>', "share of the host's disks against others, 10 to 1000")
    .option('--live', 'of what runs; also what is meant for what runs, without either')
    .option('--config', 'of the definition, for the next start')
    .action(async (domains: string[], flags: Flags) => {
      const { live, config } = flags
      const limits = {
        ...number('cpuShares', flags.cpuShares, 'shares', 1, 262_144),
        ...(flags.cpuQuota === '-1'
          ? { cpuQuotaUs: -1 }
          : number('cpuQuotaUs', flags.cpuQuota, 'quota', 1000, 2 ** 53 - 1)),
        ...number('cpuPeriodUs', flags.cpuPeriod, 'period', 1000, 1_000_000),
        ...size('hardLimitKiB', flags.hardLimit, 'hard limit'),
        ...size('softLimitKiB', flags.softLimit, 'soft limit'),
        ...size('swapHardLimitKiB', flags.swapHardLimit, 'limit with swap'),
        ...number('ioWeight', flags.weight, 'weight', 10, 1000),
        ...(live ? { live } : {}),
        ...(config ? { config } : {}),
      }
      await eachDomain(context, domains, {
        doing: 'Limiting',
        done: 'is held to its new limits',
        run: ({ connection, name, call }) => connection.domains.setLimits(name, { ...call, ...limits }),
      })
    })
  addExamples(command, [
    ['visor limits web --cpu-quota 50000', 'half a processor, in periods of 100 ms, from now on'],
    ['visor limits web --hard-limit 3GiB --live --config', 'now and at the next start'],
    ['visor limits web --hard-limit none', 'as much as there is again'],
  ])
}

function number(
  key: string,
  text: string | undefined,
  what: string,
  min: number,
  max: number,
): Record<string, number> {
  return text === undefined ? {} : { [key]: parseCount(text, what, min, max) }
}

function size(key: string, text: string | undefined, what: string): Record<string, number> {
  if (text === undefined) return {}
  return { [key]: text === 'none' || text === '-1' ? -1 : Math.ceil(parseSize(text, what, 'MiB') / 1024) }
}
