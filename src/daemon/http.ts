/** Joins a listening server to the REST application: requests, streams, and upgrades to WebSocket. */
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Log } from '../driver/index.ts'
import { peerCredentials } from '../host/index.ts'
import { problemType, type RestApp, type RestContext } from '../rest/index.ts'
import { answerFault, describeFault } from './client-fault.ts'
import { watchStalled } from './stalled.ts'
import { type ConsoleSockets, consoleSockets } from './web-socket.ts'

export interface HttpOptions {
  readonly app: RestApp
  readonly transport: RestContext['transport']
  readonly secure: boolean
  readonly log: Log
  /** How long a request may stand still; 60 s without it. */
  readonly stallMs?: number
}

/** A server that answers with the application. */
export interface HttpFront {
  /**
   * No more connections; those that are idle end now, consoles are told to. Resolves when all have ended, or
   * after `timeoutMs`, when what is left is cut off.
   */
  close(timeoutMs: number): Promise<void>
}

/** Answers the requests of a server with the application until it is closed. */
export function serveHttp(server: Server, { app, transport, secure, log, stallMs }: HttpOptions): HttpFront {
  const consoles = consoleSockets(log)
  const contexts = new WeakMap<Socket, Promise<RestContext>>()

  /** Asked once per connection: the kernel remembers who connected. */
  function contextOf(socket: Socket): Promise<RestContext> {
    const known = contexts.get(socket)
    if (known) return known
    const made = makeContext(socket, transport, secure)
    contexts.set(socket, made)
    return made
  }

  const listener = getRequestListener(
    async (request, env) => {
      const { incoming } = env as { incoming: IncomingMessage }
      const context = await contextOf(incoming.socket)
      if (incoming.method !== 'PUT' && incoming.method !== 'PATCH') return app.fetch(request, context)
      // Who stops reading still answers, on the same connection.
      const body = { [Symbol.asyncIterator]: () => incoming.iterator({ destroyOnReturn: false }) }
      return app.fetch(request, { ...context, body })
    },
    {
      // Its own Request and Response wait with what nobody asks for: a quarter of the time of a request.
      overrideGlobalObjects: true,
      errorHandler: (error) => {
        if (error instanceof RequestError) return malformedRequest()
        log.error({ error }, 'A request could not be answered.')
        return new Response(null, { status: 500 })
      },
    },
  )
  const stalled = watchStalled(stallMs)
  server.on('request', (incoming, outgoing) => {
    stalled.add(incoming, outgoing)
    void listener(incoming, outgoing)
  })
  server.on('upgrade', (incoming, socket, head) => {
    upgrade(incoming, socket, head, { app, consoles, contextOf }).catch((error) => {
      log.warn({ error }, 'A console could not be joined.')
      socket.destroy()
    })
  })
  server.on('clientError', answerFault)

  return {
    async close(timeoutMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      const timer = setTimeout(() => server.closeAllConnections(), timeoutMs)
      // A connection whose answer ends now is kept for a next request, that will not be served.
      server.closeIdleConnections()
      const sweeper = setInterval(() => server.closeIdleConnections(), 20)
      await Promise.all([consoles.close(timeoutMs), closed])
      clearTimeout(timer)
      clearInterval(sweeper)
      stalled.close()
    },
  }
}

/** Read by the parser, but its address or host is none. */
function malformedRequest(): Response {
  const { status, body } = describeFault(undefined)
  return new Response(body, { status, headers: { 'content-type': problemType } })
}

async function makeContext(
  socket: Socket,
  transport: RestContext['transport'],
  secure: boolean,
): Promise<RestContext> {
  const peer = transport === 'unix' ? await peerCredentials(socket) : undefined
  return { transport, secure, ...(peer && { peer }) }
}

interface UpgradeOptions {
  readonly app: RestApp
  readonly consoles: ConsoleSockets
  contextOf(socket: Socket): Promise<RestContext>
}

async function upgrade(
  incoming: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  { app, consoles, contextOf }: UpgradeOptions,
): Promise<void> {
  // An error without a listener would end the daemon; the close that follows it is what counts.
  socket.on('error', () => {})
  const request = toRequest(incoming)
  if (!request || incoming.headers.upgrade?.toLowerCase() !== 'websocket') return refuse(socket, 400)
  const answer = await app.openConsole(request, await contextOf(incoming.socket))
  if (answer instanceof Response) return refuse(socket, answer.status, answer.headers, await answer.text())
  consoles.join(incoming, socket, head, answer.stream)
}

function toRequest(incoming: IncomingMessage): Request | undefined {
  const headers = new Headers()
  for (const [name, values] of Object.entries(incoming.headersDistinct))
    for (const value of values ?? []) headers.append(name, value)
  try {
    return new Request(new URL(incoming.url ?? '/', `http://${incoming.headers.host || 'localhost'}`), {
      headers,
    })
  } catch {
    return undefined
  }
}

function refuse(socket: Duplex, status: number, headers: Headers = new Headers(), body = ''): void {
  const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const length = Buffer.byteLength(body)
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-length: ${length}\r\n${lines}\r\n${body}`,
  )
}
