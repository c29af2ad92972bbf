/** Errors on the wire: problem details, RFC 9457, with visor's own members beside the standard ones. */
import { type ErrorCode, errorCodes, type Issue, schema as s, VisorError } from '../model/index.ts'

export const problemType = 'application/problem+json'

const text = (doc: string) => s.string(doc, { optional: true })
const place = (doc: string) => s.integer(doc, { optional: true, min: 1 })

/** The body of every failed answer. */
export const Problem = s.object('Problem', 'What went wrong, and what to do (RFC 9457)', {
  type: s.string('where the code is explained'),
  title: s.string('the code in words'),
  status: s.integer('HTTP status'),
  detail: s.string('what went wrong, a sentence that names the object'),
  code: s.choice('kind of failure, for programs', Object.keys(errorCodes) as ErrorCode[]),
  remedy: text('what to do about it, a sentence'),
  path: text('part of the request or definition that is wrong: devices.disks[1].target'),
  line: place('line in the definition, from 1'),
  column: place('column in it, from 1'),
  object: s.field(
    s.object('ProblemObject', 'The object', {
      kind: s.string('domain, image, job'),
      name: s.string('name or uuid'),
    }),
    { optional: true },
  ),
  issues: s.array(
    'everything that is wrong with a definition',
    s.object('Issue', 'One thing that is wrong', {
      path: s.string('part that is wrong'),
      message: s.string('what is wrong with it'),
      line: place('line, from 1'),
      column: place('column, from 1'),
    }),
    { optional: true },
  ),
  requestId: text('the X-Request-Id, to find the request in the log'),
})
export type Problem = s.Output<typeof Problem>

/** What each code means, in a few words that never change. */
export const problemTitles: Readonly<Record<ErrorCode, string>> = {
  'not-found': 'There is no such object',
  'already-exists': 'There is one already',
  'invalid-argument': 'The request is not valid',
  'invalid-definition': 'The definition is not valid',
  'invalid-state': 'The object is in the wrong state for this',
  unsupported: 'The driver can never do this',
  'unsupported-config': 'The driver cannot do this with this setting',
  unauthenticated: 'Nobody is logged in',
  denied: 'The login does not have the access this needs',
  conflict: 'Somebody else changed the object meanwhile',
  busy: 'The object is busy',
  timeout: 'It took too long',
  cancelled: 'It was given up',
  unavailable: 'What this needs cannot be reached',
  failed: 'The hypervisor refused or failed',
  internal: 'A fault in visor',
}

/** The error as a problem. `status` stands in for the one of the code where HTTP has a better word. */
export function toProblem(error: VisorError, requestId?: string, status?: number): Problem {
  const { code, remedy, line, column, path, object, issues } = error
  return omitAbsent({
    type: `/docs#error-${code}`,
    title: problemTitles[code],
    status: status ?? errorCodes[code].http,
    detail: error.message,
    code,
    remedy,
    line,
    column,
    path,
    object,
    issues: issues && [...issues],
    requestId,
  })
}

/** So that equal errors are equal objects on both sides. */
function omitAbsent<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T
}

/**
 * The error that an answer carries: the one the other side threw, or, where something on the way answered
 * (a proxy), the nearest code with its status.
 */
export function fromProblem(status: number, body: string): VisorError {
  const problem = parseObject(body)
  const { code, detail } = problem
  if (typeof code === 'string' && Object.hasOwn(errorCodes, code) && typeof detail === 'string')
    return new VisorError(code as ErrorCode, detail, detailsOf(problem))
  const nearest: ErrorCode =
    status === 401 ? 'unauthenticated' : status === 403 ? 'denied' : status >= 500 ? 'unavailable' : 'failed'
  return new VisorError(nearest, `The server answered with HTTP status ${status}.`)
}

/** The error that {@link VisorError.toJSON} wrote, such as that of a job. */
export function fromErrorJson(value: unknown): VisorError {
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  const { code, message } = fields
  const known = typeof code === 'string' && Object.hasOwn(errorCodes, code)
  return new VisorError(
    known ? (code as ErrorCode) : 'failed',
    typeof message === 'string' ? message : 'The operation failed.',
    detailsOf(fields),
  )
}

function detailsOf({ remedy, line, column, path, object, issues }: Record<string, unknown>) {
  const { kind, name } = (object ?? {}) as Record<string, unknown>
  return {
    ...(typeof remedy === 'string' && { remedy }),
    ...(typeof line === 'number' && { line }),
    ...(typeof column === 'number' && { column }),
    ...(typeof path === 'string' && { path }),
    ...(typeof kind === 'string' && typeof name === 'string' && { object: { kind, name } }),
    ...(Array.isArray(issues) && { issues: issues.filter(isIssue) }),
  }
}

function isIssue(value: unknown): value is Issue {
  const { path, message } = (value ?? {}) as Record<string, unknown>
  return typeof path === 'string' && typeof message === 'string'
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
