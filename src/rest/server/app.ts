/** The HTTP API: a request in, its answer out. Knows no sockets; visord's listeners bring the requests. */
import { type ByteStream, type Connection, type Log, permit, silentLog } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import { routeOf, routes } from '../routes.ts'
import { answer, type Trace } from './answer.ts'
import { HttpRefusal } from './body.ts'
import type { Call, Handler, Identity, RestContext } from './call.ts'
import { appendUpload, describeUpload, putContent } from './content.ts'
import { definitionHandlers } from './definition.ts'
import { describeApi, type ServerInfo } from './describe-api.ts'
import { createEventStreams, type EventStreams } from './events.ts'
import { openApiDocument } from './openapi.ts'
import { operate } from './operate.ts'
import { checkHost, checkOrigin } from './origin.ts'
import { docsPage } from './pages/docs.ts'
import { overviewPage } from './pages/overview.ts'
import { readQuery } from './query.ts'
import { json, noContent } from './reply.ts'
import { createRouter, type Router } from './router.ts'
import { createSessions, type Sessions } from './session.ts'

export interface RestOptions {
  /** What is served; guarded, and the same for all, each seeing what its access permits. */
  readonly connection: Connection
  /** Who the request is from, by its `Authorization` or its peer; undefined: nobody. */
  authenticate(request: Request, context: RestContext): Identity | undefined | Promise<Identity | undefined>
  readonly info: ServerInfo
  readonly log?: Log
  /** Whether requests will be served as they should; without it, always. */
  ready?(): boolean
  /** Host names, beside `localhost` and addresses, that requests over TCP may be for. */
  readonly allowedHosts?: readonly string[]
  /** The longest body; 1 MiB without it. */
  readonly bodyLimitBytes?: number
  /** How often an event stream shows that it lives; 15 s without it. */
  readonly heartbeatMs?: number
  /** Event streams at once; 256 without it. */
  readonly eventStreamLimit?: number
}

export interface RestApp {
  /** Answers; never rejects. */
  fetch(request: Request, context: RestContext): Promise<Response>
  /** For an upgrade to WebSocket: the console to join to it, or the answer that refuses it. Never rejects. */
  openConsole(request: Request, context: RestContext): Promise<{ readonly stream: ByteStream } | Response>
  /** Ends the event streams, which would otherwise hold their connections open. */
  close(): void
}

interface Entry {
  readonly handle: Handler
  /** Needs no login: says nothing about this host. */
  readonly open?: true
}

/** Makes the HTTP API of a connection. */
export function restApp(options: RestOptions): RestApp {
  const { log = silentLog, heartbeatMs = 15_000, eventStreamLimit = 256 } = options
  const sessions = createSessions()
  const streams = createEventStreams(heartbeatMs, eventStreamLimit)
  const router = createRouter<Entry>()
  for (const route of routes) router.add(route.method, route.path, { handle: operate(route) })
  addResources(router, options, sessions, streams)
  addOpenPages(router, options)
  const prepare = preparer(router, options, sessions)

  return {
    fetch: (request, context) =>
      answer<never>(log, request, context, async (trace) => {
        const { call, handle } = await prepare(request, context, trace)
        const response = await handle(call)
        return request.method === 'HEAD' ? withoutBody(response) : response
      }),
    openConsole: (request, context) =>
      answer(log, request, context, async (trace) => {
        if (request.headers.has('origin')) checkOrigin(request, new URL(request.url))
        const { call } = await prepare(request, context, trace)
        return { stream: await openConsole(call) }
      }),
    close: () => streams.close(),
  }
}

/** What is served beside the operations of the table, or instead of their plain form. */
function addResources(
  router: Router<Entry>,
  { connection, info }: RestOptions,
  sessions: Sessions,
  streams: EventStreams,
): void {
  const add = (method: string, path: string, handle: Handler) => router.add(method, path, { handle })
  add('GET', '/v1', async ({ identity }) => json(describeApi(connection, info, identity)))
  for (const { part, noun, define, get, put } of definitionHandlers) {
    add('POST', `/v1/${part}`, define)
    add('GET', `/v1/${part}/{${noun}}/definition`, get)
    add('PUT', `/v1/${part}/{${noun}}/definition`, put)
  }
  add('GET', '/v1/pools/{pool}/uploads/{upload}', describeUpload)
  add('PATCH', '/v1/pools/{pool}/uploads/{upload}', appendUpload)
  add('PUT', '/v1/pools/{pool}/volumes/{volume}/content', putContent)
  add('GET', '/v1/events', (call) => streams.open(call))
  add('GET', '/v1/session', async ({ identity }) => json(identity))
  add('POST', '/v1/session', async ({ identity, url, context }) => {
    const cookie = sessions.open(identity, url, context)
    return json(identity, { status: 201, headers: { 'set-cookie': cookie } })
  })
  add('DELETE', '/v1/session', async ({ request, url }) =>
    noContent({ 'set-cookie': sessions.close(request, url) }),
  )
}

/** What everybody may see. */
function addOpenPages(router: Router<Entry>, { info, ready }: RestOptions): void {
  const add = (path: string, handle: Handler) => router.add('GET', path, { handle, open: true })
  const document = lazy(() => openApiDocument(info.version))
  add('/v1/openapi.json', async () => json(document()))
  add('/docs', async () => docsPage(document()))
  add('/', async () => overviewPage(info.version))
  add('/healthz', async () => json({ status: 'alive' }))
  add('/readyz', async () =>
    (ready?.() ?? true) ? json({ status: 'ready' }) : json({ status: 'starting' }, { status: 503 }),
  )
}

/** From a request to the handler of its path and all that the handler needs: the way in for everything. */
function preparer(router: Router<Entry>, options: RestOptions, sessions: Sessions) {
  const { connection, allowedHosts = [], bodyLimitBytes = 1 << 20 } = options

  async function identify(request: Request, url: URL, context: RestContext): Promise<Identity> {
    const session = request.headers.has('authorization') ? undefined : sessions.find(request, url)
    if (session) {
      const changes = request.method !== 'GET' && request.method !== 'HEAD'
      if (changes || request.headers.has('upgrade')) checkOrigin(request, url)
      return session
    }
    const identity = await options.authenticate(request, context)
    if (!identity) throw unauthenticated()
    return identity
  }

  return async (request: Request, context: RestContext, trace: Trace) => {
    const url = new URL(request.url)
    checkHost(request, url, context, allowedHosts)
    const found = router.find(request.method, url.pathname)
    if (!found) throw noSuchPath(url.pathname)
    if ('allow' in found) throw wrongMethod(request.method, url.pathname, found.allow)
    const { handle, open } = found.value
    const identity = open ? nobody : await identify(request, url, context)
    trace.user = identity.name
    const { parameters } = found
    const permitted = permit(connection, identity.access)
    const call: Call = { request, url, context, parameters, identity, connection: permitted, bodyLimitBytes }
    return { call, handle }
  }
}

const nobody: Identity = { name: 'nobody', access: 'read' }

async function openConsole({ url, parameters, connection }: Call): Promise<ByteStream> {
  if (!/^\/v1\/domains\/[^/]+\/console$/u.test(url.pathname))
    throw new VisorError('invalid-argument', `There is no WebSocket at '${url.pathname}'.`, {
      remedy: 'A console is at /v1/domains/{domain}/console.',
    })
  const { options } = readQuery(url, routeOf('domains.openConsole').operation.options)
  return connection.domains.openConsole(parameters.domain ?? '', options)
}

function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

async function withoutBody(response: Response): Promise<Response> {
  await response.body?.cancel()
  return new Response(null, { status: response.status, headers: response.headers })
}

function unauthenticated(): VisorError {
  return new VisorError('unauthenticated', 'This needs a login, and the request has none that is valid.', {
    remedy:
      "Send 'Authorization: Bearer TOKEN'; the file 'token' in the state directory of visord holds the token.",
  })
}

function noSuchPath(path: string): VisorError {
  return new VisorError('not-found', `There is nothing at '${path}'.`, {
    remedy: 'See /docs for what there is.',
  })
}

function wrongMethod(method: string, path: string, allow: readonly string[]): HttpRefusal {
  const error = new VisorError('invalid-argument', `'${path}' does not take ${method}.`, {
    remedy: `It takes ${allow.join(', ')}.`,
  })
  return new HttpRefusal(405, error, { allow: allow.join(', ') })
}
