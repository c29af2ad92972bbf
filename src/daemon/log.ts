/** What visord tells: one line per happening on standard error, JSON for machines or text for a terminal. */
import pino from 'pino'
import type { Log } from '../driver/index.ts'
import { VisorError } from '../model/index.ts'

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly format: 'json' | 'pretty'
}

/** A log whose lines are written when the call returns, so that the last one before an end is there. */
export function openLog({ level, format }: LogOptions): Log {
  const destination = pino.destination({ fd: 2, sync: true })
  // Whoever reads may go away; that is no reason to end.
  destination.on('error', () => {})
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError },
    },
    format === 'json' ? destination : { write: (line: string) => destination.write(formatPretty(line)) },
  )
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
