import type { VisorError } from '../../model/index.ts'
import { problemType, toProblem } from '../problem.ts'
import { HttpRefusal } from './body.ts'

/** JSON with status 200 or another. */
export function json(value: unknown, init: ResponseInit = {}): Response {
  const headers = new Headers(init.headers)
  if (!headers.has('content-type')) headers.set('content-type', 'application/json')
  return new Response(JSON.stringify(value), { ...init, headers })
}

/** Nothing to say. */
export function noContent(headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(null, { status: 204, headers })
}

/** Raw bytes of a media type. */
export function bytes(body: Uint8Array, mediaType: string): Response {
  return new Response(body as Uint8Array<ArrayBuffer>, { headers: { 'content-type': mediaType } })
}

/** The answer that tells of an error. */
export function problem(error: VisorError, requestId: string): Response {
  const refusal = error instanceof HttpRefusal ? error : undefined
  const body = toProblem(error, requestId, refusal?.status)
  const headers = new Headers(refusal?.headers)
  headers.set('content-type', problemType)
  if (body.status === 401) headers.set('www-authenticate', 'Bearer realm="visor"')
  return new Response(JSON.stringify(body), { status: body.status, headers })
}

const common: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
}
const strictPolicy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

/** Adds what every answer has: request id, and what keeps browsers from doing more than shown. */
export function finish(response: Response, requestId: string): Response {
  const { headers } = response
  headers.set('x-request-id', requestId)
  for (const [name, value] of Object.entries(common)) if (!headers.has(name)) headers.set(name, value)
  if (!headers.has('content-security-policy')) headers.set('content-security-policy', strictPolicy)
  return response
}
