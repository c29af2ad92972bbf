import type { Log } from '../../driver/index.ts'
import { toVisorError, type VisorError } from '../../model/index.ts'
import type { RestContext } from './call.ts'
import { finish, problem } from './reply.ts'

/** What is known of a request for the log. */
export interface Trace {
  readonly requestId: string
  /** Who asked, once that is known. */
  user?: string
}

/**
 * Does the work of one request and gives its answer: a failure becomes a problem, and each request a line in
 * the log (reads at `debug`, changes at `info`, faults at `warn`). Never rejects.
 */
export async function answer<T>(
  log: Log,
  request: Request,
  context: RestContext,
  work: (trace: Trace) => Promise<T | Response>,
): Promise<T | Response> {
  const trace: Trace = { requestId: readRequestId(request) }
  const startedAt = performance.now()
  const result = await work(trace).catch((cause: unknown) => {
    const error = toVisorError(cause)
    if (error.code === 'internal') log.error({ ...trace, cause: describeCause(error) }, error.message)
    return problem(error, trace.requestId)
  })
  const status = result instanceof Response ? result.status : 101
  const durationMs = Math.round((performance.now() - startedAt) * 10) / 10
  const { method } = request
  const level = status >= 500 ? 'warn' : method === 'GET' || method === 'HEAD' ? 'debug' : 'info'
  const { transport } = context
  log[level]({ ...trace, method, path: pathOf(request.url), status, durationMs, transport }, 'request')
  return result instanceof Response ? finish(result, trace.requestId) : result
}

/** The caller's id, so that its logs and ours can be joined, or one of our own. */
function readRequestId(request: Request): string {
  const given = request.headers.get('x-request-id')
  return given !== null && /^[\w.:-]{1,128}$/u.test(given) ? given : crypto.randomUUID()
}

/** Without the query, which may hold what is nobody's business. */
function pathOf(url: string): string {
  return url.replace(/^[a-z]+:\/\/[^/]*|[?#].*$/gu, '')
}

function describeCause({ cause }: VisorError): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
}
