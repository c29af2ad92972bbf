/** The HTTP API: a request in, its answer out. Knows no sockets; visord's listeners bring the requests. */
import { type ByteStream, type Connection, type Log, permit, silentLog } from '../../driver/index.ts'
import { toVisorError, VisorError } from '../../model/index.ts'
import { routes } from '../routes.ts'
import { HttpRefusal } from './body.ts'
import type { Call, Handler, Identity, RestContext } from './call.ts'
import { defineDomain, getDefinition, putDefinition } from './definition.ts'
import { describeApi, type ServerInfo } from './describe-api.ts'
import { createEventStreams } from './events.ts'
import { openApiDocument } from './openapi.ts'
import { operate } from './operate.ts'
import { checkHost, checkOrigin } from './origin.ts'
import { docsPage } from './pages/docs.ts'
import { overviewPage } from './pages/overview.ts'
import { readQuery } from './query.ts'
import { finish, json, noContent, problem } from './reply.ts'
import { createRouter } from './router.ts'
import { createSessions } from './session.ts'

export interface RestOptions {
  /** What is served; guarded, and the same for all, each seeing what its access permits. */
  readonly connection: Connection
  /** Who the request is from, by its `Authorization` or its peer; undefined: nobody. */
  authenticate(request: Request, context: RestContext): Identity | undefined | Promise<Identity | undefined>
  readonly info: ServerInfo
  readonly log?: Log
  /** Whether requests will be served as they should; without it, always. */
  ready?(): boolean
  /** Host names beside the loopback's that requests over TCP may be for. */
  readonly allowedHosts?: readonly string[]
  /** The longest body; 1 MiB without it. */
  readonly bodyLimitBytes?: number
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
  const { connection, info, log = silentLog, allowedHosts = [], bodyLimitBytes = 1 << 20 } = options
  const sessions = createSessions()
  const streams = createEventStreams(options.heartbeatMs ?? 15_000, options.eventStreamLimit ?? 256)
  const router = createRouter<Entry>()
  const document = lazy(() => openApiDocument(info.version))

  for (const route of routes) router.add(route.method, route.path, { handle: operate(route) })
  add('GET', '/v1', async (call) => json(describeApi(connection, info, call.identity)))
  add('POST', '/v1/domains', defineDomain)
  add('GET', '/v1/domains/{domain}/definition', getDefinition)
  add('PUT', '/v1/domains/{domain}/definition', putDefinition)
  add('GET', '/v1/events', (call) => streams.open(call))
  add('GET', '/v1/session', async ({ identity }) => json(identity))
  add('POST', '/v1/session', openSession)
  add('DELETE', '/v1/session', async ({ request, url }) =>
    withCookie(noContent(), sessions.close(request, url)),
  )
  addOpen('/v1/openapi.json', async () => json(document()))
  addOpen('/docs', async () => docsPage(document()))
  addOpen('/', async () => overviewPage(info.version))
  addOpen('/healthz', async () => json({ status: 'alive' }))
  addOpen('/readyz', async () => readiness())

  function add(method: string, path: string, handle: Handler): void {
    router.add(method, path, { handle })
  }
  function addOpen(path: string, handle: Handler): void {
    router.add('GET', path, { handle, open: true })
  }

  async function openSession({ identity, url, context }: Call): Promise<Response> {
    return withCookie(json(identity, { status: 201 }), sessions.open(identity, url, context))
  }

  function readiness(): Response {
    const ready = options.ready?.() ?? true
    return json({ status: ready ? 'ready' : 'starting' }, { status: ready ? 200 : 503 })
  }

  async function identify(request: Request, url: URL, context: RestContext): Promise<Identity> {
    const session = request.headers.has('authorization') ? undefined : sessions.find(request, url)
    if (session) {
      const safe = ['GET', 'HEAD'].includes(request.method) && !request.headers.has('upgrade')
      if (!safe) checkOrigin(request, url)
      return session
    }
    const identity = await options.authenticate(request, context)
    if (identity) return identity
    throw new VisorError('unauthenticated', 'This needs a login, and the request has none that is valid.', {
      remedy:
        'Send "Authorization: Bearer TOKEN"; the file \'token\' in the state directory of visord holds the token.',
    })
  }

  async function prepare(request: Request, context: RestContext, requestId: string) {
    const url = new URL(request.url)
    checkHost(request, url, context, allowedHosts)
    const found = router.find(request.method, url.pathname)
    if (!found) throw noSuchPath(url.pathname)
    if ('allow' in found) throw wrongMethod(request.method, url.pathname, found.allow)
    const identity = found.value.open ? nobody : await identify(request, url, context)
    const call: Call = {
      request,
      url,
      context,
      parameters: found.parameters,
      identity,
      connection: permit(connection, identity.access),
      bodyLimitBytes,
      log: log.child({ requestId }),
    }
    return { call, handle: found.value.handle }
  }

  async function answer<T>(
    request: Request,
    context: RestContext,
    work: (requestId: string) => Promise<T | Response>,
  ): Promise<T | Response> {
    const requestId = readRequestId(request)
    const startedAt = performance.now()
    let result: T | Response
    try {
      result = await work(requestId)
    } catch (cause) {
      const error = toVisorError(cause)
      if (error.code === 'internal') log.error({ requestId, cause: describeCause(error) }, error.message)
      result = problem(error, requestId)
    }
    const status = result instanceof Response ? result.status : 101
    const durationMs = Math.round((performance.now() - startedAt) * 10) / 10
    const { method } = request
    const path = request.url.replace(/^[a-z]+:\/\/[^/]*|[?#].*$/gu, '')
    log.info({ requestId, method, path, status, durationMs, transport: context.transport }, 'request')
    return result instanceof Response ? finish(result, requestId) : result
  }

  return {
    fetch: (request, context) =>
      answer<never>(request, context, async (requestId) => {
        const { call, handle } = await prepare(request, context, requestId)
        const response = await handle(call)
        return request.method === 'HEAD' ? await withoutBody(response) : response
      }),
    openConsole: (request, context) =>
      answer(request, context, async (requestId) => {
        if (request.headers.has('origin')) checkOrigin(request, new URL(request.url))
        const { call } = await prepare(request, context, requestId)
        const domain = /^\/v1\/domains\/[^/]+\/console$/u.test(call.url.pathname) && call.parameters.domain
        if (!domain) throw noConsoleThere(call.url.pathname)
        const { options: query } = readQuery(call.url, consoleOptions)
        return { stream: await call.connection.domains.openConsole(domain, query) }
      }),
    close: () => streams.close(),
  }
}

const consoleOptions = routes.find(({ name }) => name === 'domains.openConsole')?.operation.options
const nobody: Identity = { name: 'nobody', access: 'read' }

function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

function withCookie(response: Response, cookie: string): Response {
  response.headers.append('set-cookie', cookie)
  return response
}

async function withoutBody(response: Response): Promise<Response> {
  await response.body?.cancel()
  return new Response(null, { status: response.status, headers: response.headers })
}

/** The caller's id, so that its logs and ours can be joined, or one of our own. */
function readRequestId(request: Request): string {
  const given = request.headers.get('x-request-id')
  return given !== null && /^[\w.:-]{1,128}$/u.test(given) ? given : crypto.randomUUID()
}

function describeCause({ cause }: VisorError): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
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

function noConsoleThere(path: string): VisorError {
  return new VisorError('invalid-argument', `There is no WebSocket at '${path}'.`, {
    remedy: 'A console is at /v1/domains/{domain}/console.',
  })
}
