import { type Check, toVisorError } from '../model/index.ts'
import type { CheckGroup } from './diagnosis.ts'
import type { CheckFunction, CheckTable, Subject } from './subject.ts'

/** No single check may hold up the rest for longer. */
const checkTimeoutMs = 10_000

/** Runs all checks of a table side by side. Never fails: a check that does is reported as one that did. */
export async function runChecks(table: CheckTable, subject: Subject): Promise<CheckGroup> {
  const rows = Object.entries(table.checks).map(([id, check]) => runCheck(id, check, subject))
  return { id: table.id, title: table.title, checks: (await Promise.all(rows)).flat() }
}

async function runCheck(id: string, check: CheckFunction, subject: Subject): Promise<Check[]> {
  try {
    const found = await within(checkTimeoutMs, async () => check(subject), subject.signal)
    const findings = found === undefined ? [] : [found].flat()
    return findings.map((finding) => ({ id, ...finding }))
  } catch (error) {
    const { message } = toVisorError(error)
    return [
      {
        id,
        title: id,
        status: 'warn',
        detail: `This could not be checked: ${message}`,
        remedy: 'Run visor doctor again; when this stays, report it together with the line above.',
      },
    ]
  }
}

/** The result of `work`, unless it takes longer than `timeoutMs` or `signal` aborts: then it fails, and `work` is left behind. */
export async function within<T>(timeoutMs: number, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  signal?.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`it took longer than ${timeoutMs / 1000} s.`)), timeoutMs)
  const onAbort = () => reject(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work(), promise])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}
