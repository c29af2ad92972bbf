import { type Position, toVisorError, VisorError } from '../model/index.ts'
import { exitCodes } from './exit-code.ts'
import type { Output } from './output.ts'
import { safeText } from './text-width.ts'

/**
 * An error in a file that a person wrote: its message then begins with file:line:column, and so does each line of
 * it when several things are wrong. `found` is the place when the error does not know it itself.
 */
export function inFile(thrown: unknown, file: string, found?: Position): VisorError {
  const error = toVisorError(thrown)
  const { code, message, remedy, path, object, issues } = error
  const line = error.line ?? found?.line
  const column = error.column ?? found?.column
  const prefix = (place: Partial<Position>) =>
    [file, place.line, place.line && place.column].filter(Boolean).join(':')
  const sentence =
    issues && issues.length > 0
      ? issues
          .map((issue) => `${prefix(issue)}: ${issue.path === '' ? '' : `${issue.path} `}${issue.message}`)
          .join('\n')
      : `${prefix({ ...(line !== undefined && { line }), ...(column !== undefined && { column }) })}: ${message}`
  return new VisorError(code, sentence, { remedy, line, column, path, object, issues, cause: thrown })
}

/** Tells a person (or, with `--json`, a program) what went wrong, on standard error; gives the exit code. */
export function reportError(thrown: unknown, output: Output): number {
  const error = toVisorError(thrown)
  if (output.json) output.error(`${JSON.stringify({ error: error.toJSON() })}\n`)
  else {
    const { red, bold, dim } = output.noteColours
    output.error(`${bold(red('error:'))} ${formatMessage(error.message)}\n`)
    if (error.remedy) output.error(`  ${dim('try:')} ${formatMessage(error.remedy)}\n`)
    if (process.env.VISOR_DEBUG) output.error(`${formatCauses(error)}\n`)
  }
  return exitCodes[error.code]
}

/** Lines of a message stay lines, indented; control characters become visible. */
function formatMessage(message: string): string {
  return message.trimEnd().split('\n').map(safeText).join('\n  ')
}

function formatCauses(error: unknown): string {
  const stacks: string[] = []
  for (let cause = error; cause instanceof Error && stacks.length < 8; cause = cause.cause)
    stacks.push(cause.stack ?? cause.message)
  return stacks.join('\ncaused by ')
}
