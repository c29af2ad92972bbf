/** What visord tells: one line per happening on standard error, JSON for machines or text for a terminal. */
import pino from 'pino'
import type { Log } from '../driver/index.ts'
import { VisorError } from '../model/index.ts'

const levels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof levels)[number]

export interface LogOptions {
  readonly level: LogLevel
  readonly format: 'json' | 'pretty'
}

/** A log whose level can be set anew, for all its children too. */
export interface DaemonLog extends Log {
  setLevel(level: LogLevel): void
}

/** A log whose lines are written when the call returns, so that the last one before an end is there. */
export function openLog({ level, format }: LogOptions): DaemonLog {
  const destination = pino.destination({ fd: 2, sync: true })
  // Whoever reads may go away; that is no reason to end.
  destination.on('error', () => {})
  const lines = pino(
    {
      level: 'debug',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError },
    },
    format === 'json' ? destination : { write: (line: string) => destination.write(formatPretty(line)) },
  )
  return levelled(lines, level)
}

/** pino's own children keep the level that they were born with. */
export function levelled(lines: Log, level: LogLevel): DaemonLog {
  let least = levels.indexOf(level)
  const limit = (inner: Log): Log => {
    const at = (name: LogLevel) => (fields: object, message: string) => {
      if (levels.indexOf(name) >= least) inner[name](fields, message)
    }
    const methods = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
    return { ...methods, child: (fields) => limit(inner.child(fields)) }
  }
  return {
    ...limit(lines),
    setLevel(wanted) {
      least = levels.indexOf(wanted)
    },
  }
}

/** An error as fields: all of a {@link VisorError}, and the stack of what was not expected. */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  if (!(error instanceof VisorError)) return { message: error.message, stack: error.stack }
  const cause = error.cause instanceof Error ? error.cause : undefined
  const deep = error.code === 'internal' ? (cause?.stack ?? error.stack) : undefined
  return { ...error.toJSON(), cause: cause?.message, stack: deep }
}

/** A line of JSON as one for people: time, level, message, then the fields. */
export function formatPretty(line: string): string {
  const { time, level, msg, ...fields } = JSON.parse(line) as Record<string, unknown>
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${formatField(value)}`)
  const mark = level === 'info' ? '' : `${String(level).toUpperCase()} `
  return `${String(time).slice(11, 23)} ${mark}${msg}${rest.join('')}\n`
}

function formatField(value: unknown): string {
  return typeof value === 'string' && /^[\w./:@+-]+$/u.test(value) ? value : JSON.stringify(value)
}
