/** What is wrong with a document: all of it at once, in one error. */
import { xmlPathOf } from './described.ts'
import { type ErrorCode, type Issue, VisorError } from './error.ts'
import { nearest, type Position, type Positions } from './position.ts'
import type { Schema } from './schema.ts'
import { clean } from './show.ts'

/** More than these are counted, not listed. */
const mostListed = 20

/** A part and what is wrong with it, before its place in the text is known. */
export interface Fault {
  readonly path: string
  readonly message: string
  /** XML below the path that it is about, where no description reaches. */
  readonly below?: string
  /** It names something that this visor does not know, and others may. */
  readonly isName?: true
  /** Where it is in the text, when that is not where the path is. */
  readonly position?: Position
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
  const sentences = issues.map(({ path, message, line, column }, index) => {
    const name = placeName(path, faults[index]?.below, verdict)
    return `${name === '' ? 'The document ' : `${clean(name, 300)}: `}${message}${line === undefined ? '' : ` (line ${line}, column ${column})`}`
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

function toIssue({ path, message, position }: Fault, { positions }: Verdict): Issue {
  return { path, message, ...(position ?? (positions && nearest(positions, path))) }
}

/** Readers of XML are told where it is in their XML, all others the path. */
function placeName(path: string, below: string | undefined, { schema, positions }: Verdict): string {
  const xml = positions?.format === 'xml' ? xmlPathOf(schema, path) : undefined
  if (xml !== undefined) return below === undefined ? xml : `${xml}/${below}`
  return below === undefined ? path : `${path} (${below})`
}
