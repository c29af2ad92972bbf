/** A visord far or near as a {@link Connection}: the same contract, over HTTP. */
import {
  type ByteStream,
  buildConnection,
  type CallOptions,
  type CompleteConnection,
  type OperationName,
} from '../../driver/index.ts'
import { type Job, VisorError } from '../../model/index.ts'
import { changes, optionsInQuery, pathParameters, type Route, routeOf } from '../routes.ts'
import type { ApiDescription } from '../server/describe-api.ts'
import { transferContent } from './content.ts'
import { clientEvents } from './events.ts'
import { formatQuery, type HttpOptions, type HttpRequest, httpSender, readJson, type Send } from './http.ts'
import { followJob, waitForJob } from './job.ts'
import { openStreams } from './open-streams.ts'
import { splitQuery } from './split.ts'

export interface RestClientOptions extends HttpOptions {
  /** Opens the WebSocket of a console; without it, consoles cannot be opened. */
  readonly openWebSocket?: (path: string, headers: Readonly<Record<string, string>>) => Promise<ByteStream>
  /** What the connection calls itself; `baseUrl` without it. */
  readonly uri?: string
}

/** A connection to a visord. */
export interface RestConnection extends CompleteConnection {
  /** What the server said of itself when the connection was made. */
  readonly server: ApiDescription
}

/**
 * Connects to the REST API of a visord: asks it what it can do, so that `supports` answers as it would there.
 * Long operations are followed to their end; aborting `signal` cancels them there. Errors are the ones that
 * were thrown there. Fails with `unavailable` when nothing answers, `unauthenticated` without a valid token.
 */
export async function restClient(options: RestClientOptions): Promise<RestConnection> {
  const direct = httpSender(options)
  const server = (await readJson(await direct({ method: 'GET', path: '/v1' }))) as ApiDescription
  if (!Array.isArray(server?.operations))
    throw new VisorError('unavailable', `What answers at ${options.baseUrl} is not a visord.`)
  const events = clientEvents(direct)
  const send: Send = async (request) => {
    await events.settled()
    return direct(request)
  }
  const consoles = openStreams()
  const known = new Set<OperationName>(server.operations)
  const openConsole: OpenConsole = async (path, query) =>
    consoles.add(await openWebSocket(options, path, query))
  const connection = buildConnection(
    {
      uri: options.uri ?? options.baseUrl,
      events: (eventOptions) => events.listen(eventOptions),
      close: async () => {
        events.close()
        await consoles.close()
      },
    },
    ({ name }) => (known.has(name) ? methodOf(routeOf(name), send, openConsole) : undefined),
  )
  return { ...connection, server }
}

type OpenConsole = (path: string, query: Record<string, unknown>) => Promise<ByteStream>
type Method = (...args: never[]) => Promise<unknown>

function methodOf(route: Route, send: Send, openConsole: OpenConsole): Method {
  const { operation } = route
  return async (...args: unknown[]) => {
    const keys = args.splice(0, pathParameters(route.path).length)
    const body = operation.body ? args.shift() : undefined
    if (operation.body === 'content' || operation.result === 'content')
      return transferContent(route, send, pathOf(route, keys), body, args[0])
    const given = (args[0] ?? {}) as CallOptions & Record<string, unknown>
    const { signal, progress, onJob, ...plain } = given
    const path = pathOf(route, keys)
    if (operation.result === 'stream') return openConsole(path, plain)
    if (signal?.aborted) throw new VisorError('cancelled', `${route.name} was given up before it began.`)
    const request = { method: route.method, path, ...payload(route, body, plain) }
    if (route.name === 'jobs.wait') return waitForJob(send, request, plain.timeoutMs, signal)
    if (route.name === 'domains.stats') return readParts(route, send, request, signal)
    if (!changes(operation)) return readResult(route, await send({ ...request, signal }))
    // Only a job can be cancelled and has progress to tell.
    const asJob = operation.long || signal || progress || onJob
    const headers = { ...request.headers, ...(asJob && { prefer: 'respond-async' }) }
    const response = await send({ ...request, headers })
    if (response.status !== 202) return readResult(route, response)
    const result = await followJob(
      send,
      (await readJson(response)) as Job,
      { signal, progress, onJob } as CallOptions,
    )
    return operation.result === undefined ? undefined : result
  }
}

/** Asks in as many requests as the named domains need. */
async function readParts(
  route: Route,
  send: Send,
  request: HttpRequest,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const answers: unknown[] = []
  for (const query of splitQuery(request.query ?? {}, 'domains'))
    answers.push(await readResult(route, await send({ ...request, query, signal })))
  return answers.flat()
}

function pathOf({ path, name }: Route, keys: readonly unknown[]): string {
  let filled = path
  for (const [index, parameter] of pathParameters(path).entries()) {
    const key = keys[index]
    if (typeof key !== 'string' || key === '' || key === '.' || key === '..')
      throw new VisorError('invalid-argument', `${name} needs the name of its ${parameter}, not '${key}'.`)
    filled = filled.replace(`{${parameter}}`, () => encodeURIComponent(key))
  }
  return filled
}

function payload(route: Route, body: unknown, options: Record<string, unknown>) {
  if (route.operation.body) return { body, headers: conditions(options) }
  if (optionsInQuery(route)) return { query: options }
  return { body: options }
}

/** The conditions of a define as headers. */
function conditions({ ifMatch, ifNoneMatch }: Record<string, unknown>): Record<string, string> {
  return {
    ...(typeof ifMatch === 'string' && { 'if-match': ifMatch === '*' ? '*' : `"${ifMatch}"` }),
    ...(typeof ifNoneMatch === 'string' && { 'if-none-match': ifNoneMatch }),
  }
}

async function readResult({ operation }: Route, response: Response): Promise<unknown> {
  switch (operation.result) {
    case undefined:
      await response.body?.cancel()
      return undefined
    case 'text':
      return response.text()
    case 'bytes':
      return new Uint8Array(await response.arrayBuffer())
    case 'picture':
      return {
        mediaType: response.headers.get('content-type') ?? 'application/octet-stream',
        bytes: new Uint8Array(await response.arrayBuffer()),
      }
    default:
      return readJson(response)
  }
}

function openWebSocket(
  { openWebSocket: open, token }: RestClientOptions,
  path: string,
  query: Record<string, unknown>,
): Promise<ByteStream> {
  if (!open) throw new VisorError('unsupported', 'This client was made without a way to open a WebSocket.')
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {}
  return open(`${path}${formatQuery(query)}`, headers)
}
