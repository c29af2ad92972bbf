/** Ends what QEMU calls a migration: the sending of a machine's state, wherever to. */
import { isRecord, type QmpClient } from '../qmp/index.ts'

const over = ['none', 'completed', 'failed', 'cancelled', 'postcopy-paused']

/**
 * Cancels it and waits until QEMU has let go of it: only then does the guest go on when it is told to. Resolves to
 * false when QEMU has not in 10 seconds, or does not answer; never fails. Source: QEMU's QMP reference,
 * migrate_cancel, migrate-continue.
 */
export async function giveUpSending(monitor: Pick<QmpClient, 'execute'>): Promise<boolean> {
  await monitor.execute('migrate_cancel').catch(() => {})
  const deadline = performance.now() + 10_000
  for (let pause = 2; performance.now() < deadline; pause = Math.min(pause * 2, 20)) {
    const answer = await monitor.execute('query-migrate').catch(() => undefined)
    if (answer === undefined) return false
    const status = isRecord(answer) && typeof answer.status === 'string' ? answer.status : 'none'
    if (over.includes(status)) return true
    // Who is cancelled on the way into `pre-switchover` stays there for ever, frozen, unless it is told to go on.
    if (status === 'cancelling')
      await monitor.execute('migrate-continue', { state: 'cancelling' }).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
  return false
}

/** QEMU takes its disks back first, which may be slow. */
const contTimeoutMs = 60_000

/** Lets the guest go on after its state was sent, or was not; what QEMU refuses for a moment is asked again. */
export async function resumeAfterSending(monitor: Pick<QmpClient, 'execute'>): Promise<void> {
  const deadline = performance.now() + 10_000
  for (;;) {
    try {
      await monitor.execute('cont', undefined, { timeoutMs: contTimeoutMs })
      return
    } catch (error) {
      if (performance.now() > deadline || !/finalized|finish/iu.test(String(error))) throw error
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}
