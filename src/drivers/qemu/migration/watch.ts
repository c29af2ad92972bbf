/** Wakes whoever waits for a migration when its QEMU tells something, so that nothing waits for a clock. */
import type { VisorError } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import type { QmpEvent } from '../qmp/index.ts'

export interface Watch {
  /** Resolves at the next event of the migration or its copies, or after a while; fails as {@link fail} was told. */
  next(timeoutMs: number): Promise<void>
  /** When the processors stopped last, as performance.now(); undefined while they run. */
  readonly stoppedAt: number | undefined
  /** Whether it was let run at the destination before all of its memory had gone. */
  readonly postcopied: boolean
  /** Whoever waits, now or next, fails with this. */
  fail(error: VisorError): void
  close(): void
}

/** Events that tell how it goes on; those of the processors are no news to users meanwhile. */
const telling = /^(MIGRATION|MIGRATION_PASS|STOP|RESUME|JOB_STATUS_CHANGE|BLOCK_JOB_\w+)$/u
const kept = /^(MIGRATION|MIGRATION_PASS|STOP|RESUME)$/u

export function watchMigration(machine: Machine, signal: AbortSignal | undefined): Watch {
  let stoppedAt: number | undefined
  let postcopied = false
  let news = false
  let failure: VisorError | undefined
  let wake = () => {}
  const rouse = () => {
    news = true
    wake()
  }
  const intercept = ({ event, data }: QmpEvent): boolean => {
    if (!telling.test(event)) return false
    if (event === 'MIGRATION' && data.status === 'postcopy-active') postcopied = true
    if (event === 'STOP') stoppedAt = performance.now()
    if (event === 'RESUME') stoppedAt = undefined
    rouse()
    return kept.test(event)
  }
  machine.interceptors.add(intercept)
  signal?.addEventListener('abort', rouse, { once: true })
  void machine.ended.then(rouse)
  return {
    get postcopied() {
      return postcopied
    },
    get stoppedAt() {
      return stoppedAt
    },
    async next(timeoutMs) {
      if (!news) {
        const { promise, resolve } = Promise.withResolvers<void>()
        wake = resolve
        const timer = setTimeout(resolve, timeoutMs)
        await promise
        clearTimeout(timer)
      }
      news = false
      if (failure) throw failure
    },
    fail(error) {
      failure = error
      rouse()
    },
    close() {
      machine.interceptors.delete(intercept)
      signal?.removeEventListener('abort', rouse)
    },
  }
}
