/** Sends the memory of a running machine, up to the point where only the destination can run it. */
import type { MigrateOptions } from '../../../driver/index.ts'
import type { Progress } from '../../../model/index.ts'
import { VisorError } from '../../../model/index.ts'
import { grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import { type MigrateStatus, queryMigrate } from './channel.ts'
import { type Copy, checkCopies, endCopies } from './disks.ts'
import { brokenPostcopy } from './postcopy.ts'
import type { Watch } from './watch.ts'

export interface SendOptions extends Omit<MigrateOptions, 'to'> {
  readonly uri: string
  readonly copies: readonly Copy[]
  readonly watch: Watch
  /** Done while the machine stands still, before its state leaves; resolves when it is on record. */
  readonly beforeSwitch: () => Promise<void>
}

export interface Sent {
  readonly status: 'completed' | 'postcopy-active'
  readonly diskBytes: number
}

/** As much as the network carries. */
const unlimited = 2 ** 40
const defaultDowntimeMs = 300

/**
 * Resolves when the destination has all of it, or, after the switch of a postcopy, enough to run. The machine stands
 * still then. Fails with `failed` and what QEMU said, `cancelled`, or `timeout`; it may be let go on then.
 */
export async function sendMachine(machine: Machine, options: SendOptions): Promise<Sent> {
  const { monitor } = machine
  const { uri, copies, watch, beforeSwitch } = options
  await monitor.execute('migrate-set-parameters', {
    'max-bandwidth': (options.bandwidthMiBps ?? 0) * 2 ** 20 || unlimited,
    // What is not asked for: the pages that the guest waits for go first, and as fast as they can.
    'max-postcopy-bandwidth': (options.bandwidthMiBps ?? 0) * 2 ** 20,
    'downtime-limit': options.maxDowntimeMs ?? defaultDowntimeMs,
    ...(options.tls ? { 'tls-hostname': tlsHost(options) } : {}),
  })
  if (uri.startsWith('unix:'))
    await grantAccess(machine, [{ path: uri.slice('unix:'.length), write: true, what: 'socket' }])
  await monitor.execute('migrate', { uri })
  await untilSwitch(machine, options)
  const diskBytes = await endCopies(machine, copies, watch)
  // A switch by postcopy cannot be taken back: on record first. Another one can, until the destination is told.
  const recorded = beforeSwitch()
  if (options.postcopy) await recorded
  await monitor.execute('migrate-continue', { state: 'pre-switchover' })
  const [status] = await Promise.all([untilSent(machine, watch), recorded])
  return { status, diskBytes }
}

/** Over TCP QEMU takes the host that it connects to. */
function tlsHost({ uri, address }: SendOptions): string {
  return uri.startsWith('unix:') ? (address ?? 'localhost') : ''
}

/** Resolves when the machine stands still for the last pass. */
async function untilSwitch(machine: Machine, options: SendOptions): Promise<void> {
  const { watch, signal, progress, copies } = options
  const started = performance.now()
  const { timeoutMs = Number.POSITIVE_INFINITY } = options
  let late = false
  let switched = false
  const startPostcopy = async () => {
    if (switched) return
    switched = true
    await machine.monitor.execute('migrate-start-postcopy')
  }
  for (;;) {
    if (signal?.aborted) throw cancelled(machine)
    const status = await queryMigrate(machine)
    if (status.status === 'pre-switchover') return
    refuseEnd(machine, status)
    await checkCopies(machine, copies)
    if (!late && performance.now() - started > timeoutMs) {
      late = true
      await whenLate(machine, options, startPostcopy)
    }
    if (options.postcopy && status.status === 'active' && status.passes > (options.postcopyAfter ?? 1))
      await startPostcopy()
    progress?.(memoryProgress(status))
    await watch.next(200)
  }
}

async function whenLate(
  machine: Machine,
  { timeoutAction = 'suspend', timeoutMs, postcopy }: SendOptions,
  startPostcopy: () => Promise<void>,
): Promise<void> {
  if (timeoutAction === 'cancel')
    throw new VisorError(
      'timeout',
      `The migration of domain '${machine.details.definition.name}' took longer than ${timeoutMs} ms.`,
      {
        remedy: 'Give it longer, more bandwidth or a longer downtime, or let it run there early (postcopy).',
      },
    )
  if (timeoutAction === 'postcopy' && postcopy) await startPostcopy()
  // It changes its memory no more, so the pass that is under way is the last.
  else await machine.monitor.execute('stop')
}

/** Resolves when the last of it has left. */
async function untilSent(machine: Machine, watch: Watch): Promise<Sent['status']> {
  for (;;) {
    const status = await queryMigrate(machine)
    if (status.status === 'completed') return status.status
    if (status.status.startsWith('postcopy-')) return 'postcopy-active'
    refuseEnd(machine, status)
    await watch.next(20)
  }
}

/** After the switch of a postcopy: resolves when the rest of memory has gone too. */
export async function untilCompleted(
  machine: Machine,
  watch: Watch,
  progress?: (progress: Progress) => void,
): Promise<MigrateStatus> {
  for (;;) {
    const status = await queryMigrate(machine)
    if (status.status === 'completed') return status
    if (status.status === 'postcopy-paused') throw brokenPostcopy(machine)
    refuseEnd(machine, status)
    progress?.(memoryProgress(status))
    await watch.next(200)
  }
}

function refuseEnd(machine: Machine, { status, why }: MigrateStatus): void {
  if (!['failed', 'cancelled', 'cancelling', 'none'].includes(status)) return
  const { name } = machine.details.definition
  throw new VisorError('failed', `QEMU could not send domain '${name}': ${why ?? `it is ${status}`}.`)
}

export function cancelled(machine: Machine): VisorError {
  return new VisorError(
    'cancelled',
    `The migration of domain '${machine.details.definition.name}' was cancelled.`,
  )
}

function memoryProgress({ status, total, remaining, mbps, passes }: MigrateStatus): Progress {
  const speed = mbps > 0 ? `, ${Math.round(mbps / 8.388608)} MiB/s` : ''
  const pass = passes > 1 ? `, pass ${passes}` : ''
  const phase = status.startsWith('postcopy-') ? 'copying the rest of memory' : 'copying memory'
  return { phase: `${phase}${pass}${speed}`, done: Math.max(0, total - remaining), total, unit: 'bytes' }
}
