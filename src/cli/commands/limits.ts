import type { Command } from 'commander'
import type { BlockDeviceLimits } from '../../model/index.ts'
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
  readonly vcpuQuota?: string
  readonly vcpuPeriod?: string
  readonly emulatorQuota?: string
  readonly emulatorPeriod?: string
  readonly iothreadQuota?: string
  readonly iothreadPeriod?: string
  readonly deviceWeights?: string
  readonly deviceReadBytesSec?: string
  readonly deviceWriteBytesSec?: string
  readonly deviceReadIopsSec?: string
  readonly deviceWriteIopsSec?: string
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
    .option('--vcpu-quota <microseconds>', 'processor time of each virtual processor; -1 for all')
    .option('--vcpu-period <microseconds>', 'its period')
    .option('--emulator-quota <microseconds>', 'that of threads that are no processors; -1 for all')
    .option('--emulator-period <microseconds>', 'its period')
    .option('--iothread-quota <microseconds>', 'that of each I/O thread; -1 for all')
    .option('--iothread-period <microseconds>', 'its period')
    .option('--device-weights <device,weight>', 'share of one disk of the host, as /dev/sda,500; 0 for none')
    .option('--device-read-bytes-sec <device,rate>', 'bytes read from it a second; 0 for all')
    .option('--device-write-bytes-sec <device,rate>', 'bytes written to it a second; 0 for all')
    .option('--device-read-iops-sec <device,rate>', 'reads from it a second; 0 for all')
    .option('--device-write-iops-sec <device,rate>', 'writes to it a second; 0 for all')
    .option('--live', 'of what runs; also what is meant for what runs, without either')
    .option('--config', 'of the definition, for the next start')
    .action(async (domains: string[], flags: Flags) => {
      const { live, config } = flags
      const limits = {
        ...number('cpuShares', flags.cpuShares, 'shares', 1, 262_144),
        ...time('cpu', flags.cpuQuota, flags.cpuPeriod),
        ...time('vcpu', flags.vcpuQuota, flags.vcpuPeriod),
        ...time('emulator', flags.emulatorQuota, flags.emulatorPeriod),
        ...time('iothread', flags.iothreadQuota, flags.iothreadPeriod),
        ...ofDevices(flags),
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
    ['visor limits web --device-write-bytes-sec /dev/sda,1048576', '1 MiB a second to that disk of the host'],
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

/** A quota, which may be -1, and its period. */
function time(whose: string, quota: string | undefined, period: string | undefined): Record<string, number> {
  return {
    ...(quota === '-1'
      ? { [`${whose}QuotaUs`]: -1 }
      : number(`${whose}QuotaUs`, quota, 'quota', 1000, 2 ** 53 - 1)),
    ...number(`${whose}PeriodUs`, period, 'period', 1000, 1_000_000),
  }
}

/** As virsh takes them: a device, its limit, another device, its limit. */
function ofDevices(flags: Flags): { ioDevices?: BlockDeviceLimits[] } {
  const given = {
    weight: flags.deviceWeights,
    readBytes: flags.deviceReadBytesSec,
    writeBytes: flags.deviceWriteBytesSec,
    readRequests: flags.deviceReadIopsSec,
    writeRequests: flags.deviceWriteIopsSec,
  }
  const devices = new Map<string, BlockDeviceLimits>()
  for (const [key, text] of Object.entries(given)) {
    const words = text?.split(',') ?? []
    for (let at = 0; at < words.length; at += 2) {
      const [path = '', limit = ''] = words.slice(at, at + 2)
      const most = key === 'weight' ? 1000 : key.endsWith('Bytes') ? 2 ** 53 - 1 : 2 ** 32 - 1
      devices.set(path, {
        ...devices.get(path),
        path,
        [key]: parseCount(limit, `The limit of '${path}'`, 0, most),
      })
    }
  }
  return devices.size === 0 ? {} : { ioDevices: [...devices.values()] }
}

function size(key: string, text: string | undefined, what: string): Record<string, number> {
  if (text === undefined) return {}
  return { [key]: text === 'none' || text === '-1' ? -1 : Math.ceil(parseSize(text, what, 'MiB') / 1024) }
}
