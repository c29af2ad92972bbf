import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect as dial } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { type ByteStream, silentLog } from '../driver/index.ts'
import type { RestApp, RestContext } from '../rest/index.ts'
import { parseConfig } from './config.ts'
import { type HttpFront, serveHttp } from './http.ts'
import { listenUnix } from './listen.ts'

/** The parts of an application that put the adapter to work. */
class Application implements RestApp {
  contexts: RestContext[] = []
  aborted = Promise.withResolvers<void>()
  /** What a console was sent, and how it ends. */
  received: Buffer[] = []
  closedConsoles = 0
  output: (() => AsyncGenerator<Uint8Array>) | undefined

  async fetch(request: Request, context: RestContext): Promise<Response> {
    this.contexts.push(context)
    const { pathname } = new URL(request.url)
    if (pathname === '/echo') return new Response(await request.text(), { status: 201 })
    if (pathname === '/fail') throw new Error('a fault of the application')
    if (pathname === '/stream') return new Response(this.drip(request), { headers: { 'x-kind': 'stream' } })
    return Response.json({ method: request.method, pathname })
  }

  drip(request: Request): ReadableStream<Uint8Array> {
    const ended = this.aborted
    request.signal.addEventListener('abort', () => ended.resolve())
    return new ReadableStream({
      start: (controller) => controller.enqueue(Buffer.from('data: 1\n\n')),
      cancel: () => ended.resolve(),
    })
  }

  async openConsole(request: Request, context: RestContext) {
    this.contexts.push(context)
    if (new URL(request.url).pathname === '/denied')
      return new Response('{"code":"denied"}', { status: 403, headers: { 'x-request-id': 'r1' } })
    const done = Promise.withResolvers<void>()
    const { received, output } = this
    const stream: ByteStream = {
      async write(bytes) {
        received.push(Buffer.from(bytes))
      },
      close: async () => {
        this.closedConsoles++
        done.resolve()
      },
      async *[Symbol.asyncIterator]() {
        if (output) yield* output()
        else {
          yield Buffer.from('hello')
          await done.promise
        }
      },
    }
    return { stream }
  }

  close() {}
}

describe('http', () => {
  let directory: string
  let socketPath: string
  let app: Application
  let front: HttpFront
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-http-'))
    socketPath = join(directory, 'test.sock')
    app = new Application()
    const server = await listenUnix(socketPath, parseConfig('', 'none'))
    front = serveHttp(server, { app, transport: 'unix', secure: false, log: silentLog })
  })
  afterEach(async () => {
    await front.close(0)
    await rm(directory, { recursive: true })
  })

  const ask = async (path: string, body?: string) => {
    const request = httpRequest({ socketPath, path, method: body === undefined ? 'GET' : 'POST' })
    request.end(body)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const chunks = []
    for await (const chunk of response) chunks.push(chunk)
    return { status: response.statusCode, text: Buffer.concat(chunks).toString() }
  }
  const webSocket = (path: string) => new WebSocket(`ws+unix://${socketPath}:${path}`)

  it('hands over requests with who is at the other end', async () => {
    assert.deepEqual(await ask('/v1/x?y=1'), { status: 200, text: '{"method":"GET","pathname":"/v1/x"}' })
    assert.deepEqual(await ask('/echo', 'ü'.repeat(50_000)), { status: 201, text: 'ü'.repeat(50_000) })
    const peer = { pid: process.pid, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
    assert.deepEqual(app.contexts, Array(2).fill({ transport: 'unix', secure: false, peer }))
  })

  it('survives an application that throws, and requests that are none', async () => {
    assert.equal((await ask('/fail')).status, 500)
    const raw = dial(socketPath)
    raw.write('this is no HTTP\r\n\r\n')
    assert.match(String((await once(raw, 'data'))[0]), /^HTTP\/1.1 400 /)
    raw.destroy()
    assert.equal((await ask('/v1')).status, 200)
  })

  it('says what is wrong with a request that is too large', async () => {
    const raw = dial(socketPath)
    raw.write(`GET /v1/${'x'.repeat(40_000)} HTTP/1.1\r\nhost: x\r\n\r\n`)
    let answer = ''
    for await (const chunk of raw) answer += chunk
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    assert.match(head, /^HTTP\/1.1 431 Request Header Fields Too Large\r\n/)
    assert.match(head, /^content-type: application\/problem\+json$/m)
    const { status, code, detail } = JSON.parse(body)
    assert.deepEqual({ status, code }, { status: 431, code: 'invalid-argument' })
    assert.match(detail, /larger than 16 KiB/)
  })

  it('streams answers as they come, and tells the application when the reader is gone', async () => {
    const request = httpRequest({ socketPath, path: '/stream' })
    request.on('error', () => {})
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(String((await once(response, 'data'))[0]), 'data: 1\n\n')
    request.destroy()
    await app.aborted.promise
  })

  it('joins consoles to WebSockets both ways', async () => {
    const client = webSocket('/console')
    const [first] = await once(client, 'message')
    assert.equal(String(first), 'hello')
    client.send(Buffer.from('ls\n'))
    client.send('text too')
    client.close()
    await once(client, 'close')
    while (app.closedConsoles === 0) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(Buffer.concat(app.received).toString(), 'ls\ntext too')
  })

  it('does not read more from the guest than the viewer takes', async () => {
    let produced = 0
    app.output = async function* () {
      const chunk = Buffer.alloc(64 * 1024)
      for (; produced < 1024; produced++) yield chunk
    }
    const client = webSocket('/console')
    await once(client, 'open')
    client.pause()
    // What the kernel and both buffers hold is far less than the 64 MiB the guest has to say.
    let before = -1
    while (before !== produced) {
      before = produced
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.ok(produced < 512, `${produced} chunks were read ahead`)
    let bytes = 0
    client.on('message', (data: Buffer) => {
      bytes += data.length
    })
    client.resume()
    const [code] = await once(client, 'close')
    assert.deepEqual({ bytes, code }, { bytes: 1024 * 64 * 1024, code: 1000 })
  })

  it('refuses an upgrade with the answer of the application', async () => {
    const client = webSocket('/denied')
    const [request, response] = (await once(client, 'unexpected-response')) as [
      { destroy(): void },
      IncomingMessage,
    ]
    assert.equal(response.statusCode, 403)
    assert.equal(response.headers['x-request-id'], 'r1')
    assert.equal(String((await once(response, 'data'))[0]), '{"code":"denied"}')
    request.destroy()
  })

  it('tells why a console ended', async () => {
    // biome-ignore lint/correctness/useYield: it fails at once
    app.output = async function* () {
      throw new Error('the hypervisor went away')
    }
    const client = webSocket('/console')
    const [code, reason] = await once(client, 'close')
    assert.equal(code, 1011)
    assert.match(String(reason), /the hypervisor went away/)
  })

  it('ends consoles and streams when it closes', async () => {
    const client = webSocket('/console')
    await once(client, 'open')
    const streaming = httpRequest({ socketPath, path: '/stream' })
    streaming.on('error', () => {})
    streaming.end()
    const [response] = (await once(streaming, 'response')) as [IncomingMessage]
    response.on('error', () => {}).resume()
    const closed = once(client, 'close')
    await front.close(100)
    assert.equal((await closed)[0], 1001)
    assert.equal(app.closedConsoles, 1)
  })
})
