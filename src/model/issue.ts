/** What is wrong with a document: all of it at once, in one error. */
import { xmlPathOf } from './described.ts'
import { type ErrorCode, type Issue, VisorError } from './error.ts'
import { nearest, type Positions } from './position.ts'
import type { Schema } from './schema.ts'

/** More than these are counted, not listed. */
const mostListed = 20

/** A part and what is wrong with it, before its place in the text is known. */
export interface Fault {
  readonly path: string
  readonly message: string
}

export interface Verdict {
  readonly code: ErrorCode
  readonly schema: Schema
  readonly positions?: Positions | undefined
  readonly remedy?: string
}

/** The error that tells all `faults`, each with its path and its place in the text. */
export function faultError(faults: readonly Fault[], verdict: Verdict): VisorError {
  const issues = faults.slice(0, mostListed).map((fault) => toIssue(fault, verdict))
  const sentences = issues.map(({ path, message, line, column }) => {
    const name = placeName(path, verdict)
    return `${name === '' ? '' : `${name}: `}${message}${line === undefined ? '' : ` (line ${line}, column ${column})`}`
  })
  if (faults.length > mostListed) sentences.push(`and ${faults.length - mostListed} more`)
  const first = issues[0]
  return new VisorError(verdict.code, `${sentences.join('; ')}.`, {
    issues,
    path: first?.path,
    line: first?.line,
    column: first?.column,
    remedy: verdict.remedy,
  })
}

function toIssue(fault: Fault, { positions }: Verdict): Issue {
  const position = positions && nearest(positions, fault.path)
  return { ...fault, ...position }
}

/** Readers of XML are told where it is in their XML, all others the path. */
function placeName(path: string, { schema, positions }: Verdict): string {
  return (positions?.format === 'xml' && xmlPathOf(schema, path)) || path
}
