import { readFile } from 'node:fs/promises'
import { type ProcessIdentity, readCgroupCpu } from '../../host/index.ts'

/** What a process uses. */
export interface Usage {
  readonly totalNs: number
  readonly userNs: number
  readonly systemNs: number
  readonly residentKiB: number
}

/** Of proc(5): fields are counted in ticks, of which Linux shows 100 a second to programs everywhere. */
const nsPerTick = 10_000_000

/** What a machine's process uses, from its cgroup where there is one; undefined when it is gone. */
export async function readUsage(
  { pid }: ProcessIdentity,
  cgroups: readonly string[],
): Promise<Usage | undefined> {
  try {
    const [stat, status, group] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'latin1'),
      readFile(`/proc/${pid}/status`, 'latin1'),
      readCgroupCpu(cgroups),
    ])
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [userNs, systemNs] = [Number(fields[11]) * nsPerTick, Number(fields[12]) * nsPerTick]
    const resident = /^VmRSS:\s+(\d+) kB$/mu.exec(status)?.[1]
    return {
      ...(group ?? { totalNs: userNs + systemNs, userNs, systemNs }),
      residentKiB: Number(resident ?? 0),
    }
  } catch {
    return undefined
  }
}
