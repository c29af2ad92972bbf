/**
 * What QEMU's events make of the state of a machine. Source: QEMU's QMP reference, qapi/run-state.json.
 *
 *               STOP                       SUSPEND
 *   running ----------> paused   running ----------> pmsuspended
 *      ^ <---------        |        ^ <---------------
 *      |   RESUME          |             WAKEUP
 *      | SHUTDOWN          | SHUTDOWN
 *      '-----> shutdown <--'  --- process ends ---> shutoff
 */
import type { DomainState, DomainStateReason } from '../../../model/index.ts'
import { isRecord, type QmpEvent } from '../qmp/index.ts'

export interface MachineState {
  readonly state: DomainState
  readonly reason: DomainStateReason
  readonly message?: string
  /** Why the process will end, once QEMU has told. */
  readonly ending?: 'shutdown' | 'crashed'
  /** Memory the guest has now, as far as its balloon told. */
  readonly memoryKiB?: number
}

export interface StateEvent {
  readonly type: string
  readonly reason?: string
  readonly message?: string
}

/** The state after an event, and what is to be told about it. */
export function afterEvent(
  before: MachineState,
  { event, data }: QmpEvent,
): { readonly state: MachineState; readonly tell?: StateEvent } {
  switch (event) {
    case 'STOP':
      if (before.state !== 'running') return { state: before }
      return { state: to(before, 'paused', 'user'), tell: { type: 'suspended', reason: 'user' } }
    case 'RESUME':
      if (before.state === 'running') return { state: before }
      return { state: to(before, 'running', 'resumed'), tell: { type: 'resumed', reason: 'user' } }
    case 'SUSPEND':
      return {
        state: to(before, 'pmsuspended', 'unknown'),
        tell: { type: 'suspended', reason: 'pmsuspended' },
      }
    case 'WAKEUP':
      return { state: to(before, 'running', 'resumed'), tell: { type: 'resumed', reason: 'wakeup' } }
    case 'RESET':
      return { state: before, tell: { type: 'rebooted', reason: data.guest === true ? 'guest' : 'user' } }
    case 'SHUTDOWN':
      return shutdown(before, data)
    case 'GUEST_PANICKED':
      return {
        state: { ...to(before, 'crashed', 'crashed', 'The guest panicked.'), ending: 'crashed' },
        tell: { type: 'crashed', reason: 'panicked', message: 'The guest panicked.' },
      }
    case 'WATCHDOG':
      return watchdog(before, String(data.action))
    case 'BLOCK_IO_ERROR':
      return ioError(before, data)
    case 'BALLOON_CHANGE':
      return typeof data.actual === 'number'
        ? {
            state: { ...before, memoryKiB: Math.floor(data.actual / 1024) },
            tell: { type: 'changed', reason: 'memory' },
          }
        : { state: before }
    default:
      return { state: before }
  }
}

function shutdown(before: MachineState, data: QmpEvent['data']): ReturnType<typeof afterEvent> {
  if (before.ending === 'crashed' || data.reason === 'guest-panic')
    return { state: { ...before, ending: 'crashed' } }
  return {
    state: { ...to(before, 'shutdown', 'shutdown'), ending: 'shutdown' },
    tell: { type: 'stopping', reason: data.guest === true ? 'guest' : 'user' },
  }
}

/** The rest of what a watchdog does, QEMU tells as it does it. */
function watchdog(before: MachineState, action: string): ReturnType<typeof afterEvent> {
  const message = 'A watchdog found that the guest hangs.'
  if (action !== 'pause') return { state: before, tell: { type: 'watchdog', reason: action, message } }
  return {
    state: to(before, 'paused', 'watchdog', message),
    tell: { type: 'suspended', reason: 'watchdog', message },
  }
}

function ioError(before: MachineState, data: QmpEvent['data']): ReturnType<typeof afterEvent> {
  const why = typeof data.reason === 'string' ? data.reason : 'unknown reason'
  const message = `A disk (${String(data.device || data['node-name'] || 'unnamed')}) failed: ${why}.`
  if (data.action !== 'stop')
    return { state: { ...before, message }, tell: { type: 'changed', reason: 'io-error', message } }
  return {
    state: to(before, 'paused', 'io-error', message),
    tell: { type: 'suspended', reason: 'io-error', message },
  }
}

function to(
  before: MachineState,
  state: DomainState,
  reason: DomainStateReason,
  message?: string,
): MachineState {
  const { memoryKiB, ending } = before
  return {
    state,
    reason,
    ...(memoryKiB === undefined ? {} : { memoryKiB }),
    ...(message === undefined ? {} : { message }),
    ...(ending === undefined ? {} : { ending }),
  }
}

/** What `query-status` tells; `prelaunch`: the processors have never run. */
export function fromStatus(answer: unknown): MachineState & { readonly prelaunch: boolean } {
  const status = isRecord(answer) && typeof answer.status === 'string' ? answer.status : ''
  const [state, reason] = statuses[status] ?? (['paused', 'unknown'] as const)
  return { state, reason, prelaunch: status === 'prelaunch' || status === 'inmigrate' }
}

const statuses: Readonly<Record<string, readonly [DomainState, DomainStateReason]>> = {
  running: ['running', 'adopted'],
  paused: ['paused', 'user'],
  prelaunch: ['paused', 'starting'],
  suspended: ['pmsuspended', 'unknown'],
  'io-error': ['paused', 'io-error'],
  watchdog: ['paused', 'watchdog'],
  shutdown: ['shutdown', 'shutdown'],
  'guest-panicked': ['crashed', 'crashed'],
}
