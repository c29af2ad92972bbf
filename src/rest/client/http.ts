import { VisorError } from '../../model/index.ts'
import { fromProblem } from '../problem.ts'

export interface HttpOptions {
  /** Where the API is: `http://127.0.0.1:8430`. */
  readonly baseUrl: string
  /** How requests are sent; the runtime's own without it. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>
  /** Sent as a bearer token. */
  readonly token?: string | undefined
}

export interface HttpRequest {
  readonly method: string
  readonly path: string
  readonly query?: Readonly<Record<string, unknown>> | undefined
  /** Sent as JSON. */
  readonly body?: unknown
  /** Sent as they come, instead of a body. */
  readonly stream?: ReadableStream<Uint8Array>
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly signal?: AbortSignal | undefined
}

/** Sends one request; fails with the error of the answer, or `unavailable` when there is none. */
export type Send = (request: HttpRequest) => Promise<Response>

export function httpSender({ baseUrl, fetch: send = globalThis.fetch, token }: HttpOptions): Send {
  const base = baseUrl.replace(/\/+$/u, '')
  return async ({ method, path, query, body, stream, headers, signal }) => {
    const init: RequestInit & { readonly duplex?: 'half' } = {
      method,
      redirect: 'error',
      headers: {
        accept: 'application/json, application/problem+json',
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(stream && { body: stream, duplex: 'half' }),
      ...(signal && { signal }),
    }
    const response = await send(`${base}${path}${formatQuery(query)}`, init).catch((cause) => {
      throw sendError(cause, base, signal)
    })
    if (response.ok) return response
    const text = await response.text().catch(() => '')
    throw fromProblem(response.status, text)
  }
}

/** The body as JSON; a connection that breaks off is `unavailable`. */
export async function readJson(response: Response): Promise<unknown> {
  try {
    return await response.json()
  } catch (cause) {
    throw new VisorError('unavailable', 'The answer of the server broke off.', { cause })
  }
}

/** Options as a query string, lists repeated; no text when there are none. */
export function formatQuery(query: Readonly<Record<string, unknown>> | undefined): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {}))
    for (const item of Array.isArray(value) && value.length > 0 ? value : [value])
      if (item !== undefined) parameters.append(name, String(item))
  const text = parameters.toString()
  return text === '' ? '' : `?${text}`
}

function sendError(cause: unknown, base: string, signal: AbortSignal | undefined): VisorError {
  if (cause instanceof VisorError) return cause
  if (signal?.aborted) return new VisorError('cancelled', 'The request was given up.', { cause })
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  const reason = inner instanceof Error && inner.message ? `: ${inner.message}` : ''
  return new VisorError('unavailable', `No visord answers at ${base}${reason}.`, {
    cause,
    remedy: "Start it with 'visord', or name another address with --connect.",
  })
}
