/** Copies the disks of a running machine to where the destination receives them. */
import type { Migration, Progress } from '../../../model/index.ts'
import { VisorError } from '../../../model/index.ts'
import { grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import type { Watch } from './watch.ts'

/** A disk on its way. */
export interface Copy {
  readonly target: string
  readonly node: string
  readonly sync: 'full' | 'top'
}

export interface CopyOptions {
  readonly received: Migration['disks']
  readonly credentials: string | undefined
  readonly bandwidthMiBps: number | undefined
  readonly progress?: ((progress: Progress) => void) | undefined
  readonly watch: Watch
  readonly signal?: AbortSignal | undefined
}

/** Of jobs and nodes of ours, so that a later daemon finds them. */
const prefix = 'migration-'
const jobOf = (target: string) => `${prefix}${target}`
const nodeOf = (target: string) => `${prefix}${target}-there`

interface BlockJob {
  readonly id: string
  readonly status: string
  readonly current: number
  readonly total: number
  readonly error?: string
}

/**
 * Resolves when each copy has caught up with its disk; from then on all that the guest writes goes to both, until
 * {@link endCopies}. Fails with `failed` when the destination cannot take it.
 */
export async function copyDisks(
  machine: Machine,
  copies: readonly Copy[],
  options: CopyOptions,
): Promise<void> {
  const { received, credentials, bandwidthMiBps, progress, watch, signal } = options
  for (const { target, node, sync } of copies) {
    const where = received.find(({ name }) => name === target)
    if (!where) throw new VisorError('failed', `The destination does not receive the disk '${target}'.`)
    await machine.monitor.execute('blockdev-add', await remoteNode(machine, target, where.uri, credentials))
    await machine.monitor.execute('blockdev-mirror', {
      'job-id': jobOf(target),
      device: node,
      target: nodeOf(target),
      sync,
      'auto-dismiss': false,
      ...(bandwidthMiBps === undefined ? {} : { speed: bandwidthMiBps * 2 ** 20 }),
    })
  }
  for (;;) {
    if (signal?.aborted) throw new VisorError('cancelled', 'Copying the disks was cancelled.')
    const jobs = await copyJobs(machine)
    checkJobs(jobs, copies)
    const done = jobs.reduce((sum, { current }) => sum + current, 0)
    progress?.({
      phase: 'copying disks',
      done,
      total: Math.max(
        done,
        jobs.reduce((sum, { total }) => sum + total, 0),
      ),
      unit: 'bytes',
    })
    if (jobs.every(({ status }) => status === 'ready')) return
    await watch.next(200)
  }
}

async function remoteNode(machine: Machine, target: string, uri: string, credentials: string | undefined) {
  const { protocol, hostname, port, pathname, searchParams } = new URL(uri)
  const socket = protocol === 'nbd+unix:' ? (searchParams.get('socket') ?? '') : undefined
  if (socket !== undefined) await grantAccess(machine, [{ path: socket, write: true, what: 'socket' }])
  const host = hostname.replace(/^\[|\]$/gu, '')
  return {
    driver: 'nbd',
    'node-name': nodeOf(target),
    export: decodeURIComponent(pathname.slice(1)),
    server: socket === undefined ? { type: 'inet', host, port } : { type: 'unix', path: socket },
    ...(credentials ? { 'tls-creds': credentials } : {}),
  }
}

async function copyJobs({ monitor }: Machine): Promise<BlockJob[]> {
  const answer = await monitor.execute('query-jobs')
  return (Array.isArray(answer) ? answer.filter(isRecord) : [])
    .filter(({ id }) => String(id).startsWith(prefix))
    .map((job) => ({
      id: String(job.id),
      status: String(job.status),
      current: Number(job['current-progress'] ?? 0),
      total: Number(job['total-progress'] ?? 0),
      ...(typeof job.error === 'string' ? { error: job.error } : {}),
    }))
}

/** Fails when a copy has ended by itself, as it does when the other side does. */
function checkJobs(jobs: readonly BlockJob[], copies: readonly Copy[]): void {
  for (const { target } of copies) {
    const job = jobs.find(({ id }) => id === jobOf(target))
    if (job && !['concluded', 'aborting', 'null'].includes(job.status)) continue
    throw new VisorError(
      'failed',
      `The disk '${target}' could not be copied: ${job?.error ?? 'the connection to the destination broke'}.`,
    )
  }
}

/** As {@link checkJobs}, asked now. */
export async function checkCopies(machine: Machine, copies: readonly Copy[]): Promise<void> {
  if (copies.length > 0) checkJobs(await copyJobs(machine), copies)
}

/** Ends the copies of a machine that stands still: each is whole when this resolves. Gives what was copied, bytes. */
export async function endCopies(machine: Machine, copies: readonly Copy[], watch: Watch): Promise<number> {
  if (copies.length === 0) return 0
  const { monitor } = machine
  await checkCopies(machine, copies)
  await Promise.all(
    copies.map(({ target }) => monitor.execute('block-job-cancel', { device: jobOf(target) })),
  )
  for (;;) {
    const jobs = await copyJobs(machine)
    const failed = jobs.find(({ error }) => error !== undefined)
    if (failed) throw new VisorError('failed', `A disk could not be copied to its end: ${failed.error}.`)
    if (jobs.every(({ status }) => status === 'concluded')) {
      await dropCopies(machine)
      return jobs.reduce((sum, { current }) => sum + current, 0)
    }
    await watch.next(20)
  }
}

/** Removes all copies and what they need, whatever they have got to. */
export async function dropCopies(machine: Machine): Promise<void> {
  const { monitor } = machine
  for (let tries = 0; tries < 500; tries++) {
    const jobs = await copyJobs(machine)
    if (jobs.length === 0) break
    for (const { id, status } of jobs)
      await (status === 'concluded'
        ? monitor.execute('job-dismiss', { id })
        : monitor.execute('block-job-cancel', { device: id, force: true })
      ).catch(() => {})
    if (tries > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const answer = await monitor.execute('query-named-block-nodes', { flat: true })
  for (const node of Array.isArray(answer) ? answer.filter(isRecord) : []) {
    const name = String(node['node-name'])
    if (name.startsWith(prefix) && name.endsWith('-there'))
      await monitor.execute('blockdev-del', { 'node-name': name }).catch(() => {})
  }
}

/** Changes how much the copies may send in a second. */
export async function setCopySpeed(machine: Machine, bandwidthMiBps: number): Promise<void> {
  for (const { id } of await copyJobs(machine))
    await machine.monitor.execute('block-job-set-speed', { device: id, speed: bandwidthMiBps * 2 ** 20 })
}
