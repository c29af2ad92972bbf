/** Gives memory back after a burst of work, so that a quiet daemon is a small one. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { trimMemory } from '../host/index.ts'
import type { RestApp } from '../rest/index.ts'

export interface Tidier {
  /** Something was done; when nothing follows for a while, it is tidied up after. */
  touch(): void
  stop(): void
}

export interface TidierOptions {
  /** So long nothing must happen first; 2 s without it: what asks once in a second is not quiet. */
  readonly quietMs?: number
  /** Less growth than this since the last time is left alone; 8 MiB without it. */
  readonly growthBytes?: number
}

/**
 * V8 and the C library keep what a burst needed for the next one. A collection takes some 30 ms and forgets what
 * the compilers learnt, hence only when all is quiet, and not again before memory has grown.
 */
export function createTidier({ quietMs = 2_000, growthBytes = 8 * 2 ** 20 }: TidierOptions = {}): Tidier {
  let floor = process.memoryUsage.rss()
  const timer = setTimeout(async () => {
    if (process.memoryUsage.rss() < floor + growthBytes) return
    collect()
    await trimMemory()
    floor = process.memoryUsage.rss()
  }, quietMs).unref()
  return { touch: () => void timer.refresh(), stop: () => clearTimeout(timer) }
}

/** The application, whose every answer is work to tidy up after, when it is over. */
export function tidyAfter(tidier: Tidier, app: RestApp): RestApp {
  return {
    ...app,
    async fetch(request, context) {
      tidier.touch()
      const answer = await app.fetch(request, context)
      tidier.touch()
      return answer
    },
  }
}

/** V8 has no other way to be asked while it runs than the function behind its flag. */
function collect(): void {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as (options: object) => void
  setFlagsFromString('--no-expose-gc')
  gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
