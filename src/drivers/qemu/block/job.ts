/**
 * A job of QEMU's, from its start to its end. Source: QEMU's QMP reference, qapi/job.json.
 *
 *   created -> running -> ready -> (complete, cancel) -> concluded -> dismissed
 *                 '-----> concluded (done, failed, cancelled) -> dismissed
 */
import { randomUUID } from 'node:crypto'
import type { CallOptions } from '../../../driver/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'

/** Jobs and nodes that begin with this are ours, also those of a daemon before. */
export const ours = 'visor-'

/** A name that no other job, node or bitmap has; QEMU takes 31 characters for a node. */
export const newName = (kind: string): string => `${ours}${kind}-${randomUUID().slice(0, 8)}`

export interface QemuJob {
  readonly id: string
  readonly status: string
  readonly done: number
  readonly total: number
  readonly error: string | undefined
}

export async function listJobs({ monitor }: Machine): Promise<QemuJob[]> {
  const answer = await monitor.execute('query-jobs')
  return (Array.isArray(answer) ? answer.filter(isRecord) : []).map((job) => ({
    id: String(job.id),
    status: String(job.status),
    done: Number(job['current-progress'] ?? 0),
    total: Number(job['total-progress'] ?? 0),
    error: typeof job.error === 'string' ? job.error : undefined,
  }))
}

export interface FollowOptions extends Pick<CallOptions, 'signal' | 'progress'> {
  readonly phase: string
  /** Whether it is enough that the job is ready: both sides are the same, and stay so. */
  readonly untilReady?: boolean
}

/**
 * Resolves when the jobs have ended (and are dismissed) or, with `untilReady`, are ready. When one fails or
 * `signal` aborts, all are ended, and it fails with what QEMU said, or `cancelled`.
 */
export async function followJobs(
  machine: Machine,
  ids: readonly string[],
  { signal, progress, phase, untilReady = false }: FollowOptions,
): Promise<void> {
  try {
    for (let pause = 5; ; pause = Math.min(pause * 2, 200)) {
      if (signal?.aborted) throw new VisorError('cancelled', 'The work on the disk was cancelled.')
      const jobs = (await listJobs(machine)).filter(({ id }) => ids.includes(id))
      const failed = jobs.find(({ status, error }) => status === 'concluded' && error !== undefined)
      if (failed) throw jobFailure(failed.error ?? '')
      const left = jobs.filter(({ status }) => status !== 'concluded' && !(untilReady && status === 'ready'))
      if (left.length === 0) break
      const done = jobs.reduce((sum, job) => sum + job.done, 0)
      progress?.({ phase, done, total: jobs.reduce((sum, job) => sum + job.total, 0), unit: 'bytes' })
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  } catch (error) {
    await endJobs(machine, ids).catch(() => {})
    throw error
  }
  if (!untilReady) await dismissJobs(machine, ids)
}

function jobFailure(why: string): VisorError {
  const full = /No space left/iu.test(why)
  return new VisorError(
    'failed',
    `QEMU could not finish its work on the disk: ${why.replace(/\.?$/u, '.')}`,
    {
      remedy: full ? 'Make room where the image is, and try again.' : undefined,
    },
  )
}

async function dismissJobs({ monitor }: Machine, ids: readonly string[]): Promise<void> {
  for (const id of ids) await monitor.execute('job-dismiss', { id }).catch(() => {})
}

/** Gives jobs up, and waits until they are gone. */
export async function endJobs(machine: Machine, ids: readonly string[]): Promise<void> {
  const { monitor } = machine
  for (let tries = 0; tries < 600; tries++) {
    const left = (await listJobs(machine)).filter(({ id }) => ids.includes(id))
    if (left.length === 0) return
    for (const { id, status } of left) {
      if (status === 'concluded') await monitor.execute('job-dismiss', { id }).catch(() => {})
      else if (status !== 'aborting')
        // Of a job that is ready, 'job-cancel' alone would make a finished copy.
        await monitor
          .execute('block-job-cancel', { device: id, force: true })
          .catch(() => monitor.execute('job-cancel', { id }))
          .catch(() => {})
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new VisorError('timeout', `A job on a disk of '${machine.details.definition.name}' does not end.`)
}

/** Lets a ready job switch over, and waits until it has. */
export async function completeJob(machine: Machine, id: string): Promise<void> {
  await machine.monitor.execute('job-complete', { id })
  await followJobs(machine, [id], { phase: 'switching over' })
}
