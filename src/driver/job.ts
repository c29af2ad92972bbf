import { type Job, notFound, type Progress, toVisorError, VisorError } from '../model/index.ts'
import type { Jobs } from './connection.ts'

/** Ended jobs that are remembered, the newest. */
const rememberedJobs = 1_000
/** A call that waited this long for another one on the same target fails with `busy`. */
const defaultPatienceMs = 30_000
/** More calls than this waiting for one target is a program gone wild. */
const queueLimit = 64
/** How long a cancelled job may take to clean up before what interrupted it goes ahead. */
const interruptMs = 5_000

export interface JobRequest {
  /** `domains.save` */
  readonly operation: string
  /** What it works on; jobs of one target run one at a time, in the order asked. */
  readonly target: string
  readonly interrupts?: boolean | undefined
  /** Jobs of one target in different lanes run beside each other. */
  readonly lane?: string | undefined
  readonly signal?: AbortSignal
  readonly progress?: (progress: Progress) => void
  readonly onJob?: (job: Job) => void
}

export interface JobBook extends Jobs {
  /**
   * Runs `work` when its turn comes. Fails as `work` does, with `cancelled` when given up before its turn,
   * or with `busy` when its turn does not come.
   */
  run<T>(
    request: JobRequest,
    work: (call: { signal: AbortSignal; progress: (progress: Progress) => void }) => Promise<T>,
  ): Promise<T>
  /** Resolves when no job is under way, or after `timeoutMs` with false. */
  idle(timeoutMs: number): Promise<boolean>
}

interface Entry {
  job: Job
  readonly abort: AbortController
  readonly ended: Promise<void>
  readonly end: () => void
}

/**
 * The jobs of a connection.
 *
 *     waiting --turn--> running --ok--> done
 *        |                 |---error--> failed
 *        '----cancel-------'----------> cancelled
 *
 * `onChange` is told every change of state and of progress.
 */
export function jobBook(
  onChange: (job: Job) => void = () => {},
  { patienceMs = defaultPatienceMs }: { readonly patienceMs?: number } = {},
): JobBook {
  const entries = new Map<string, Entry>()
  /** By target and lane. */
  const queues = new Map<string, Map<string, Entry[]>>()
  const endedIds: string[] = []

  function find(id: string): Entry {
    const entry = entries.get(id)
    if (!entry) throw notFound('job', id)
    return entry
  }

  function change(entry: Entry, fields: Partial<Job>): void {
    entry.job = { ...entry.job, ...fields }
    onChange(entry.job)
  }

  function enter({ operation, target, lane = '' }: JobRequest): { entry: Entry; queue: Entry[] } {
    const lanes = queues.get(target) ?? new Map<string, Entry[]>()
    const queue = lanes.get(lane) ?? []
    if (queue.length > queueLimit)
      throw new VisorError(
        'busy',
        `${queue.length} operations on '${target}' wait already; ${operation} was refused.`,
        {
          remedy: "See 'visor jobs list'.",
        },
      )
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const job: Job = {
      id: crypto.randomUUID(),
      operation,
      target,
      state: 'waiting',
      startedAt: new Date().toISOString(),
    }
    const entry: Entry = { job, abort: new AbortController(), ended, end }
    entries.set(job.id, entry)
    queues.set(target, lanes.set(lane, queue))
    queue.push(entry)
    return { entry, queue }
  }

  function leave(entry: Entry, queue: Entry[]): void {
    queue.splice(queue.indexOf(entry), 1)
    const { target = '' } = entry.job
    const lanes = queues.get(target)
    for (const [lane, others] of lanes ?? []) if (others.length === 0) lanes?.delete(lane)
    if (lanes?.size === 0) queues.delete(target)
    entry.end()
    endedIds.push(entry.job.id)
    if (endedIds.length > rememberedJobs) entries.delete(endedIds.shift() ?? '')
  }

  /** Cancels all others on the target; resolves when they have ended, or after a while. */
  async function interrupt(entry: Entry): Promise<void> {
    const lanes = queues.get(entry.job.target ?? '') ?? new Map<string, Entry[]>()
    const others = [...lanes.values()].flat().filter((other) => other !== entry)
    for (const other of others) other.abort.abort()
    await endOrAbort(Promise.all(others.map(({ ended }) => ended)), entry.abort.signal, interruptMs)
  }

  async function turn(entry: Entry, queue: Entry[], interrupts: boolean): Promise<void> {
    if (interrupts) return interrupt(entry)
    const deadline = performance.now() + patienceMs
    while (queue[0] !== entry) {
      const first = queue[0] as Entry
      const left = deadline - performance.now()
      if (left <= 0) throw busy(entry.job, first.job)
      await endOrAbort(first.ended, entry.abort.signal, left)
      if (entry.abort.signal.aborted) throw cancelled(entry.job)
    }
  }

  return {
    async run(request, work) {
      const { entry, queue } = enter(request)
      const { signal } = request
      const onAbort = () => entry.abort.abort()
      if (signal?.aborted) onAbort()
      signal?.addEventListener('abort', onAbort, { once: true })
      try {
        request.onJob?.(entry.job)
        await turn(entry, queue, request.interrupts ?? false)
        if (entry.abort.signal.aborted) throw cancelled(entry.job)
        change(entry, { state: 'running' })
        const result = await work({
          signal: entry.abort.signal,
          progress: (progress) => {
            change(entry, { progress })
            request.progress?.(progress)
          },
        })
        change(entry, { state: 'done', endedAt: new Date().toISOString(), result })
        return result
      } catch (cause) {
        const error = toVisorError(cause)
        const state = error.code === 'cancelled' ? 'cancelled' : 'failed'
        change(entry, { state, endedAt: new Date().toISOString(), error: error.toJSON() })
        throw error
      } finally {
        signal?.removeEventListener('abort', onAbort)
        leave(entry, queue)
      }
    },
    async list() {
      return [...entries.values()].map(({ job }) => job)
    },
    async get(id) {
      return find(id).job
    },
    async wait(id, { timeoutMs = 2 ** 31 - 1, signal } = {}) {
      const entry = find(id)
      await endOrAbort(entry.ended, signal, timeoutMs)
      if (signal?.aborted) throw new VisorError('cancelled', `Waiting for job ${id} was cancelled.`)
      return entry.job
    },
    async cancel(id) {
      const entry = find(id)
      if (entry.job.endedAt !== undefined)
        throw new VisorError('invalid-state', `Job ${id} has ended already: it is ${entry.job.state}.`)
      entry.abort.abort()
    },
    async idle(timeoutMs) {
      const deadline = performance.now() + timeoutMs
      while (queues.size > 0) {
        const left = deadline - performance.now()
        if (left <= 0) return false
        const waited = [...queues.values()].flatMap((lanes) => [...lanes.values()].flat())
        await endOrAbort(Promise.all(waited.map(({ ended }) => ended)), undefined, left)
      }
      return true
    },
  }
}

/** Resolves when `ended` does, `signal` aborts or the time is over, whichever is first. */
function endOrAbort(
  ended: Promise<unknown>,
  signal: AbortSignal | undefined,
  timeoutMs: number,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = () => resolve()
  const timer = setTimeout(done, Math.min(timeoutMs, 2 ** 31 - 1))
  if (signal?.aborted) done()
  signal?.addEventListener('abort', done, { once: true })
  void ended.then(done, done)
  return promise.finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', done)
  })
}

function busy(job: Job, holder: Job): VisorError {
  return new VisorError(
    'busy',
    `'${job.target}' is busy with ${holder.operation} (job ${holder.id}); ${job.operation} gave up waiting.`,
    { remedy: `Wait for it, or cancel it: visor jobs cancel ${holder.id}` },
  )
}

function cancelled(job: Job): VisorError {
  return new VisorError('cancelled', `${job.operation} on '${job.target}' was cancelled before it began.`)
}
