/** Keeps a guest that crashes as soon as it runs from being started anew without end. */
import type { Machine } from '../machine.ts'

/** A guest that ran this long did not crash for how it was started. */
const longEnoughMs = 60_000
const firstWaitMs = 1_000
const longestWaitMs = 60_000

/** How often it has crashed soon after a start, this time too; 0 when it ran long enough. */
export function countCrashes(before: number, ranMs: number): number {
  return ranMs >= longEnoughMs ? 0 : before + 1
}

/** How long it stands still before it is started anew: 1 s, 2 s, 4 s and so on, to a minute. */
export function restartDelayMs(crashes: number): number {
  return crashes === 0 ? 0 : Math.min(longestWaitMs, firstWaitMs * 2 ** Math.min(crashes - 1, 30))
}

interface Crash {
  readonly count: number
  /** When it was last started, milliseconds as of Date.now(). */
  readonly startedAt: number
}

const crashes = new WeakMap<Machine, Crash>()

/** Notes a crash; waits as long as that asks for, then gives whether the machine is still there as it was. */
export function noteCrash(machine: Machine): () => Promise<boolean> {
  const now = Date.now()
  const before = crashes.get(machine) ?? { count: 0, startedAt: Date.parse(machine.details.startedAt) }
  const crash: Crash = { count: countCrashes(before.count, now - before.startedAt), startedAt: now }
  crashes.set(machine, crash)
  return async () => {
    const delayMs = restartDelayMs(crash.count)
    if (delayMs > 0) {
      machine.setState({ ...machine.state, message: explain(crash.count, delayMs) })
      await wait(machine, delayMs)
    }
    // Its user may have ended it or started it anew meanwhile.
    const isSame = crashes.get(machine) === crash && machine.state.state === 'crashed'
    if (isSame) crashes.set(machine, { ...crash, startedAt: Date.now() })
    return isSame
  }
}

function explain(count: number, delayMs: number): string {
  const often = count === 1 ? 'soon after its start' : `${count} times in a row, soon after its start`
  const when = new Date(Date.now() + delayMs).toISOString().replace(/\.\d+Z$/u, 'Z')
  return `The guest panicked ${often}; it is started anew after ${delayMs / 1000} s, at ${when}.`
}

async function wait({ ended }: Machine, delayMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise((resolve) => {
    timer = setTimeout(resolve, delayMs).unref()
  })
  await Promise.race([ended, over])
  clearTimeout(timer)
}
