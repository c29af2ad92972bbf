/**
 * What QEMU says on its monitor, told apart. Source: QEMU's docs/interop/qmp-spec.
 */
import { VisorError } from '../../../model/index.ts'

export interface QmpGreeting {
  readonly version: { readonly major: number; readonly minor: number; readonly micro: number }
}

export interface QmpEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
  /** When it happened, milliseconds since 1970. */
  readonly timeMs: number
}

export interface QmpFailure {
  readonly class: string
  readonly description: string
}

export type QmpMessage =
  | { readonly kind: 'greeting'; readonly greeting: QmpGreeting }
  | { readonly kind: 'event'; readonly event: QmpEvent }
  | { readonly kind: 'return'; readonly id: unknown; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: unknown; readonly failure: QmpFailure }

/** Reads one line; fails with `failed` when it is no message of the protocol. */
export function parseMessage(line: string): QmpMessage {
  let message: unknown
  try {
    message = JSON.parse(line)
  } catch (cause) {
    throw broken(line, cause)
  }
  if (!isRecord(message)) throw broken(line)
  if (typeof message.event === 'string') return { kind: 'event', event: toEvent(message, message.event) }
  if ('return' in message) return { kind: 'return', id: message.id, value: message.return }
  if (isRecord(message.error)) return { kind: 'error', id: message.id, failure: toFailure(message.error) }
  if (isRecord(message.QMP)) return { kind: 'greeting', greeting: toGreeting(message.QMP) }
  throw broken(line)
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function toEvent({ data, timestamp }: Record<string, unknown>, event: string): QmpEvent {
  const { seconds, microseconds } = isRecord(timestamp) ? timestamp : {}
  // QEMU writes -1 when the clock of the host failed it.
  const known = typeof seconds === 'number' && typeof microseconds === 'number' && seconds >= 0
  const timeMs = known ? seconds * 1000 + Math.floor(microseconds / 1000) : Date.now()
  return { event, data: isRecord(data) ? data : {}, timeMs: Math.abs(timeMs) < 8.64e15 ? timeMs : Date.now() }
}

function toFailure({ class: name, desc }: Record<string, unknown>): QmpFailure {
  return {
    class: typeof name === 'string' ? name : 'GenericError',
    description: typeof desc === 'string' && desc !== '' ? desc : 'no reason given',
  }
}

function toGreeting({ version }: Record<string, unknown>): QmpGreeting {
  const numbers = isRecord(version) && isRecord(version.qemu) ? version.qemu : {}
  const { major, minor, micro } = numbers
  if (![major, minor, micro].every((number) => Number.isInteger(number)))
    throw new VisorError('failed', 'The greeting of QEMU has no version.')
  return { version: { major, minor, micro } as QmpGreeting['version'] }
}

function broken(line: string, cause?: unknown): VisorError {
  const shown = line.length > 80 ? `${line.slice(0, 80)}...` : line
  return new VisorError('failed', `QEMU said what is not of its protocol: ${JSON.stringify(shown)}.`, {
    cause,
  })
}
