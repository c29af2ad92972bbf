/** `fetch` on Node's HTTP client, which, unlike Node's own `fetch`, also speaks over unix sockets. */
import { Agent, type ClientRequest, type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps, Agent as TlsAgent } from 'node:https'
import { ReadableStream } from 'node:stream/web'

export interface HttpTransport {
  /** As the standard `fetch`, for bodies of text and streams; connections are kept and used again. */
  fetch(url: string, init: RequestInit): Promise<Response>
  /** Ends the connections that are kept. */
  close(): void
}

/** Statuses whose answer has no body (Fetch, 2.2.3). */
const bodiless = [204, 205, 304]

/** Sends requests over TCP, or over the unix socket at `socketPath`. */
export function httpTransport(socketPath?: string): HttpTransport {
  const agent = new Agent({ keepAlive: true })
  const tlsAgent = new TlsAgent({ keepAlive: true })

  function start(url: string, { method = 'GET', headers, signal }: RequestInit): ClientRequest {
    const options = { method, headers: Object.fromEntries(new Headers(headers)), ...(signal && { signal }) }
    if (socketPath !== undefined) return requestHttp(url, { ...options, agent, socketPath })
    return url.startsWith('https:')
      ? requestHttps(url, { ...options, agent: tlsAgent })
      : requestHttp(url, { ...options, agent })
  }

  async function send(url: string, init: RequestInit): Promise<Response> {
    const { promise, resolve, reject } = Promise.withResolvers<Response>()
    const request = start(url, init)
    request.on('response', (response) => resolve(toResponse(response)))
    request.on('error', (error: NodeJS.ErrnoException) => {
      // A kept connection that the server closed just now: nothing was done, so a read may go again.
      const again = request.reusedSocket && error.code === 'ECONNRESET' && (init.method ?? 'GET') === 'GET'
      if (again) resolve(send(url, init))
      else reject(error)
    })
    if (init.body instanceof ReadableStream) void sendStream(init.body, request)
    else request.end(typeof init.body === 'string' ? init.body : undefined)
    return promise
  }

  return {
    fetch: send,
    close() {
      agent.destroy()
      tlsAgent.destroy()
    },
  }
}

/** As fast as it is taken. An answer before all is sent ends it: the rest is not wanted. */
async function sendStream(body: ReadableStream<Uint8Array>, request: ClientRequest): Promise<void> {
  const reader = body.getReader()
  let isAnswered = false
  const leave = () => {
    isAnswered = true
    reader.cancel().catch(() => {})
  }
  request.once('response', (response: IncomingMessage) => {
    leave()
    response.once('close', () => request.writableEnded || request.destroy())
  })
  request.once('close', leave)
  try {
    while (!isAnswered) {
      const { done, value } = await reader.read()
      if (isAnswered) return
      if (done) return void request.end()
      if (!request.write(value)) await drained(request)
    }
  } catch (error) {
    request.destroy(error instanceof Error ? error : new Error(String(error)))
  }
}

/** Resolves when it takes more, or nothing any more. */
function drained(request: ClientRequest): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const events = ['drain', 'close', 'response'] as const
  const done = () => {
    for (const event of events) request.off(event, done)
    resolve()
  }
  for (const event of events) request.once(event, done)
  return promise
}

/** As `Readable.toWeb`, which copies every chunk. */
function toStream(message: IncomingMessage): ReadableStream<Uint8Array> {
  const chunks: AsyncIterator<Uint8Array> = message[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel: () => void message.destroy(),
  })
}

function toResponse(message: IncomingMessage): Response {
  const headers = new Headers()
  for (const [name, values] of Object.entries(message.headersDistinct))
    for (const value of values ?? []) headers.append(name, value)
  const status = message.statusCode ?? 502
  if (bodiless.includes(status)) message.resume()
  const body = bodiless.includes(status) ? null : toStream(message)
  return new Response(body, { status, headers })
}
