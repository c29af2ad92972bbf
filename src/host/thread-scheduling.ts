/** Where and how threads run. Sources: sched_setaffinity(2), sched_setscheduler(2), sched(7), proc(5). */
import { readdir } from 'node:fs/promises'
import { VisorError } from '../model/index.ts'

interface Calls {
  readonly setAffinity: (tid: number, size: number, mask: Buffer) => number
  readonly setScheduler: (tid: number, policy: number, parameter: Int32Array) => number
  readonly errno: () => number
}

let calls: Promise<Calls> | undefined

async function bind(): Promise<Calls> {
  const { default: koffi } = await import('koffi')
  const libc = koffi.load(null)
  return {
    setAffinity: libc.func('int sched_setaffinity(int, size_t, const uint8_t *)'),
    setScheduler: libc.func('int sched_setscheduler(int, int, const int *)'),
    errno: () => koffi.errno(),
  }
}

/** From <linux/sched.h>. */
const policies = { other: 0, fifo: 1, rr: 2, batch: 3, idle: 5 } as const

export type SchedulingPolicy = keyof typeof policies

/** Lets a thread run on these processors only. Fails with `failed`. */
export async function pinThread(tid: number, cpus: readonly number[]): Promise<void> {
  calls ??= bind()
  const { setAffinity, errno } = await calls
  const mask = Buffer.alloc(Math.ceil((Math.max(...cpus, 0) + 1) / 64) * 8)
  for (const cpu of cpus) mask[cpu >> 3] = (mask[cpu >> 3] ?? 0) | (1 << (cpu & 7))
  if (setAffinity(tid, mask.length, mask) !== 0)
    throw new VisorError('failed', `Thread ${tid} cannot run on the processors ${cpus} (error ${errno()}).`)
}

/** Schedules a thread so; `priority` counts for `fifo` and `rr`. Fails with `failed`. */
export async function scheduleThread(tid: number, policy: SchedulingPolicy, priority = 0): Promise<void> {
  calls ??= bind()
  const { setScheduler, errno } = await calls
  const isRealTime = policy === 'fifo' || policy === 'rr'
  if (setScheduler(tid, policies[policy], Int32Array.of(isRealTime ? Math.max(priority, 1) : 0)) !== 0)
    throw new VisorError('failed', `Thread ${tid} cannot be scheduled as '${policy}' (error ${errno()}).`, {
      remedy: 'Real-time scheduling needs the capability CAP_SYS_NICE.',
    })
}

/** The threads of a process. */
export async function threadsOf(pid: number): Promise<number[]> {
  return (await readdir(`/proc/${pid}/task`).catch(() => [])).map(Number)
}
