import type { CallOptions } from '../../driver/index.ts'
import { type Job, VisorError } from '../../model/index.ts'
import { fromErrorJson } from '../problem.ts'
import { type HttpRequest, readJson, type Send } from './http.ts'

/** How long one request waits for the end of a job; with a progress callback, how often that is called. */
const waitMs = 20_000
const progressMs = 250

/**
 * Follows a job to its end: tells of its progress, and cancels it when `signal` aborts. Resolves to its
 * result, or fails as the operation did.
 */
export async function followJob(send: Send, job: Job, options: CallOptions): Promise<unknown> {
  const { signal, progress, onJob } = options
  onJob?.(job)
  const path = `/v1/jobs/${job.id}`
  const cancel = () => void send({ method: 'POST', path: `${path}/cancel` }).catch(() => {})
  if (signal?.aborted) cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  try {
    let now = job
    while (now.endedAt === undefined) {
      const query = { timeoutMs: progress ? progressMs : waitMs }
      now = (await readJson(await send({ method: 'GET', path: `${path}/wait`, query }))) as Job
      if (now.progress) progress?.(now.progress)
    }
    return outcome(now)
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}

/** `jobs.wait` in pieces that no proxy on the way finds too long. */
export async function waitForJob(
  send: Send,
  request: HttpRequest,
  timeoutMs: unknown,
  signal: AbortSignal | undefined,
): Promise<Job> {
  const deadline = performance.now() + (typeof timeoutMs === 'number' ? timeoutMs : Number.POSITIVE_INFINITY)
  while (true) {
    const left = Math.max(0, Math.round(deadline - performance.now()))
    const query = { timeoutMs: Math.min(waitMs, left) }
    const job = (await readJson(await send({ ...request, query, signal }))) as Job
    if (job.endedAt !== undefined || performance.now() >= deadline) return job
  }
}

function outcome(job: Job): unknown {
  if (job.state === 'done') return job.result
  if (job.error !== undefined) throw fromErrorJson(job.error)
  throw new VisorError('cancelled', `${job.operation} was cancelled.`)
}
