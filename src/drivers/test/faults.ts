/**
 * The fault switch: makes the driver slow, failing, hanging or gone, so that what stands in front of it can
 * be tested against all that.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { findOperation, type OperationName } from '../../driver/index.ts'
import { type ErrorCode, errorCodes, VisorError } from '../../model/index.ts'

/** One operation, or all of them. */
export type FaultTarget = OperationName | '*'

/** What goes wrong. Handed out by `faultsOf`; a URI's query sets the same: see {@link readFaults}. */
export interface Faults {
  /** From now on the operation takes this much longer; 0 takes it back. */
  delay(target: FaultTarget, delayMs: number): void
  /** The next `times` calls (without it: all) fail with this code, before anything was changed. */
  fail(target: FaultTarget, code: ErrorCode, options?: { readonly times?: number }): void
  /** Calls do not return until they are aborted, the switch is cleared or the hypervisor is lost. */
  hang(target: FaultTarget): void
  /** Takes back the delays, failures and hangs of one target, or of all. */
  clear(target?: FaultTarget): void
  /** The hypervisor is gone: every call, also those under way, fails with `unavailable`; events and consoles end. */
  lose(): void
}

/** The switch and the driver's side of it. */
export interface FaultSwitch extends Faults {
  /** What every operation does first: waits, fails or hangs as told. */
  before(name: OperationName | 'events', signal?: AbortSignal): Promise<void>
  /** Told once when the hypervisor is lost. */
  onLost: (() => void) | undefined
}

interface Fault {
  delayMs?: number
  code?: ErrorCode
  times?: number
  hung?: { readonly promise: Promise<void>; readonly resolve: () => void }
}

export function faultSwitch(uri: string): FaultSwitch {
  const faults = new Map<FaultTarget, Fault>()
  const lost = new AbortController()

  function of(target: FaultTarget): Fault {
    const fault = faults.get(target) ?? {}
    faults.set(target, fault)
    return fault
  }

  async function apply(fault: Fault, name: string, signal: AbortSignal): Promise<void> {
    if (fault.delayMs) await sleep(fault.delayMs, undefined, { signal }).catch(() => {})
    if (fault.hung && !signal.aborted) await untilAborted(fault.hung.promise, signal)
    if (fault.code && !signal.aborted && (fault.times ?? 1) > 0) {
      if (fault.times !== undefined) fault.times--
      throw new VisorError(
        fault.code,
        `${name} failed: the fault switch of ${uri} is set to '${fault.code}'.`,
      )
    }
  }

  return {
    onLost: undefined,
    async before(name, signal) {
      const set = [faults.get('*'), faults.get(name as OperationName)].filter((fault) => fault !== undefined)
      const any = signal ? AbortSignal.any([signal, lost.signal]) : lost.signal
      for (const fault of set) if (!any.aborted) await apply(fault, name, any)
      if (lost.signal.aborted) throw gone(uri)
      if (signal?.aborted)
        throw new VisorError('cancelled', `${name} was cancelled before it changed anything.`)
    },
    delay(target, delayMs) {
      of(target).delayMs = delayMs
    },
    fail(target, code, { times } = {}) {
      const fault = of(target)
      fault.code = code
      fault.times = times
    },
    hang(target) {
      of(target).hung ??= Promise.withResolvers<void>()
    },
    clear(target) {
      for (const key of target ? [target] : [...faults.keys()]) {
        faults.get(key)?.hung?.resolve()
        faults.delete(key)
      }
    },
    lose() {
      if (lost.signal.aborted) return
      lost.abort()
      this.onLost?.()
    },
  }
}

function gone(uri: string): VisorError {
  return new VisorError('unavailable', `The hypervisor of ${uri} is gone.`, {
    remedy: 'Open the connection again.',
  })
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, resolve } = Promise.withResolvers<void>()
  const onAbort = () => resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await Promise.race([promise, aborted])
  signal.removeEventListener('abort', onAbort)
}

/**
 * Sets the switch from a URI's query: `delayMs=200`, `delay=domains.start:500`, `fail=domains.start:failed`,
 * `fail=domains.start:busy:2` (twice), `hang=domains.save`; each may stand several times, `*` is every
 * operation. Fails with `invalid-argument`.
 */
export function readFaults(query: URLSearchParams, faults: Faults): void {
  for (const value of query.getAll('delayMs')) faults.delay('*', readNumber('delayMs', value))
  for (const value of query.getAll('delay')) {
    const [target, delayMs] = value.split(':')
    faults.delay(readTarget(target), readNumber('delay', delayMs))
  }
  for (const value of query.getAll('fail')) {
    const [target, code, times] = value.split(':')
    const options = times === undefined ? {} : { times: readNumber('fail', times) }
    faults.fail(readTarget(target), readCode(code), options)
  }
  for (const value of query.getAll('hang')) faults.hang(readTarget(value))
}

function readTarget(text = ''): FaultTarget {
  if (text === '*' || findOperation(text)) return text as FaultTarget
  throw new VisorError('invalid-argument', `There is no operation '${text}' for the fault switch.`, {
    remedy: "Name one such as 'domains.start', or '*' for all.",
  })
}

function readCode(text = 'failed'): ErrorCode {
  if (Object.hasOwn(errorCodes, text)) return text as ErrorCode
  throw new VisorError('invalid-argument', `There is no error code '${text}' for the fault switch.`, {
    remedy: `Use one of ${Object.keys(errorCodes).join(', ')}.`,
  })
}

export function readNumber(what: string, text = ''): number {
  if (/^\d{1,9}$/u.test(text)) return Number(text)
  throw new VisorError('invalid-argument', `'${what}' of a test URI needs a whole number, not '${text}'.`)
}
