import { type Issue, type Position, toVisorError, VisorError } from '../model/index.ts'
import { exitCodes } from './exit-code.ts'
import type { Output } from './output.ts'
import { joinWords } from './page.ts'
import { safeText } from './text-width.ts'

/**
 * An error in a file that a person wrote: its message then begins with file:line:column, and so does each line of
 * it when several things are wrong. `locate` knows where the parts of the file are; without it, the error does.
 */
export function inFile(
  thrown: unknown,
  file: string,
  locate?: (path: string) => Position | undefined,
): VisorError {
  const error = toVisorError(thrown)
  const { code, remedy, path, object } = error
  const placeOf = (part: Partial<Issue>) => (locate ? locate(part.path ?? '') : part)
  const prefix = (part: Partial<Issue>) => {
    const { line, column } = placeOf(part) ?? {}
    return [file, line, column].filter((word) => word !== undefined).join(':')
  }
  const issues = error.issues?.map(({ path, message }, index) => {
    return { path, message, ...placeOf(error.issues?.[index] ?? {}) }
  })
  const lines = issues?.map((issue) => `${prefix(issue)}: ${joinWords([issue.path, issue.message], ' ')}`)
  const message = withoutPlaces(error.message)
  const sentence = lines && lines.length > 0 ? lines.join('\n') : `${prefix({ ...place(error) })}: ${message}`
  return new VisorError(code, sentence, {
    remedy,
    path,
    object,
    issues,
    ...placeOf(place(error)),
    cause: thrown,
  })
}

/** Places are said in front, and only those in a file of the user's: not in what was sent for a command's flags. */
function withoutPlaces(message: string): string {
  return message.replace(/ \(line \d+, column \d+\)/gu, '')
}

function place({ path, line, column }: VisorError): Partial<Issue> {
  return {
    ...(path !== undefined && { path }),
    ...(line !== undefined && { line }),
    ...(column !== undefined && { column }),
  }
}

/** Tells a person (or, with `--json`, a program) what went wrong, on standard error; gives the exit code. */
export function reportError(thrown: unknown, output: Output): number {
  const error = toVisorError(thrown)
  if (output.json) output.error(`${JSON.stringify({ error: error.toJSON() })}\n`)
  else {
    const { red, bold, dim } = output.noteColours
    output.error(`${bold(red('error:'))} ${formatMessage(withoutPlaces(error.message))}\n`)
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
