/** What the kernel knows of a machine's process, without asking QEMU. Source: proc(5), sched-stats.txt, cgroup-v2. */
import { readFileSync } from 'node:fs'
import type { KeptFiles } from './kept-files.ts'

/** USER_HZ, the unit of times in /proc/PID/stat: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100

/** Text of a file of the kernel's; empty when it is gone. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

export interface ProcessUsage {
  readonly cpuTimeNs: number
  readonly cpuUserNs: number
  readonly cpuSystemNs: number
  readonly residentKiB?: number
  readonly minorFaults?: number
  readonly majorFaults?: number
}

/** Of the process, and of its control group where one counts processor time: that has the processes beside it too. */
export function readProcessUsage(
  pid: number,
  cgroups: readonly string[],
  files: KeptFiles,
): ProcessUsage | undefined {
  const text = files.read(`/proc/${pid}/stat`)
  if (text === '') return undefined
  // Fields from the third on: the second, a name, may have spaces and brackets.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number) => Number(fields[number - 3] ?? 0)
  const nanoseconds = (number: number) => Math.round((field(number) / ticksPerSecond) * 1e9)
  const [cpuUserNs, cpuSystemNs] = [nanoseconds(14), nanoseconds(15)]
  return {
    ...(readCgroupTime(cgroups, files) ?? { cpuTimeNs: cpuUserNs + cpuSystemNs, cpuUserNs, cpuSystemNs }),
    residentKiB: (field(24) * pageBytes()) / 1024,
    minorFaults: field(10),
    majorFaults: field(12),
  }
}

type Times = Pick<ProcessUsage, 'cpuTimeNs' | 'cpuUserNs' | 'cpuSystemNs'>
/** Which of a machine's groups counts processor time; false when none does. */
const counting = new WeakMap<readonly string[], string | false>()

function readCgroupTime(paths: readonly string[], files: KeptFiles): Times | undefined {
  const known = counting.get(paths)
  if (known === false) return undefined
  for (const path of known === undefined ? paths : [known]) {
    const times = readTimes(`${path}/cpu.stat`, files)
    if (!times) continue
    counting.set(paths, path)
    return times
  }
  if (known === undefined && paths.length > 0) counting.set(paths, false)
  return undefined
}

const timesOfV2 = /^usage_usec (\d+)\nuser_usec (\d+)\nsystem_usec (\d+)$/mu

/** Of a group of version 2. */
function readTimes(path: string, files: KeptFiles): Times | undefined {
  const [, total, user, system] = timesOfV2.exec(files.read(path)) ?? []
  if (total === undefined) return undefined
  return {
    cpuTimeNs: Number(total) * 1000,
    cpuUserNs: Number(user) * 1000,
    cpuSystemNs: Number(system) * 1000,
  }
}

/** Time a thread ran and time it waited to run, nanoseconds. */
export function readThreadTimes(
  pid: number,
  thread: number,
  files: KeptFiles,
): { timeNs: number; delayNs: number } {
  const [time, delay] = files.read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')
  return { timeNs: Number(time || 0), delayNs: Number(delay || 0) }
}

export interface LinkCounters {
  readonly rxBytes: number
  readonly rxPackets: number
  readonly rxErrors: number
  readonly rxDrops: number
  readonly txBytes: number
  readonly txPackets: number
  readonly txErrors: number
  readonly txDrops: number
}

/** Counters of all links of this host, seen by the guests behind them: what the host sends they receive. */
export function readLinks(): ReadonlyMap<string, LinkCounters> {
  const links = new Map<string, LinkCounters>()
  for (const line of read('/proc/net/dev').split('\n').slice(2)) {
    const colon = line.lastIndexOf(':')
    if (colon < 0) continue
    const counters = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/u)
      .map(Number)
    const at = (index: number) => counters[index] ?? 0
    links.set(line.slice(0, colon).trim(), {
      rxBytes: at(8),
      rxPackets: at(9),
      rxErrors: at(10),
      rxDrops: at(11),
      txBytes: at(0),
      txPackets: at(1),
      txErrors: at(2),
      txDrops: at(3),
    })
  }
  return links
}

let knownPageBytes: number | undefined

/** AT_PAGESZ of the auxiliary vector, getauxval(3); pages are not 4 KiB on every host. */
function pageBytes(): number {
  if (knownPageBytes !== undefined) return knownPageBytes
  knownPageBytes = 4096
  try {
    const vector = readFileSync('/proc/self/auxv')
    for (let at = 0; at + 16 <= vector.length; at += 16)
      if (vector.readBigUInt64LE(at) === 6n) knownPageBytes = Number(vector.readBigUInt64LE(at + 8))
  } catch {
    // As most have it.
  }
  return knownPageBytes
}
