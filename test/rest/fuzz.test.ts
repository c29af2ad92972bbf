/** Whatever is sent, the server answers with something it means: never a 500, never nothing. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { routes } from '../../src/rest/index.ts'
import { type Api, admin, openApi, type Served, serveApi } from './served.ts'

const settings = { numRuns: Number(process.env.VISOR_FUZZ_RUNS ?? 400) }
let api: Api
let served: Served
before(async () => {
  api = await openApi('test:///default?domains=3&running=2', { bodyLimitBytes: 50_000 })
  served = await serveApi('tcp')
})
after(async () => {
  await api.close()
  await served.close()
})

const patienceMs = 30_000

/** The answer, whose body is read unless it is a stream. */
async function ask(request: Request): Promise<Response> {
  const response = await within(
    api.app.fetch(request, { transport: 'unix', peer: { pid: 1, uid: 0, gid: 0 } }),
  )
  if (response.headers.get('content-type') === 'text/event-stream') await response.body?.cancel()
  else await within(response.text())
  return response
}

async function within<T>(answer: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error('The server did not answer.')), patienceMs)
  return Promise.race([answer, promise]).finally(() => clearTimeout(timer))
}

const word = fc.oneof(
  fc.constantFrom('test', 'guest-0001', 'nobody', 'true', 'false', '0', '-1', '1e99', '*', '', 'running'),
  fc.constantFrom(
    '7e570000-0000-4000-8000-000000000001',
    '__proto__',
    'constructor',
    '..',
    '%',
    '%00',
    '%ff',
  ),
  fc.string({ unit: 'binary', maxLength: 30 }),
)
const names = fc.constantFrom(
  'states',
  'names',
  'driver',
  'fields',
  'filter',
  'inactive',
  'maxBytes',
  'device',
  'screen',
  'after',
  'kinds',
  'timeoutMs',
  'domains',
  'savedState',
  'x',
)
const query = fc.oneof(fc.constant([]), fc.array(fc.tuple(names, word), { maxLength: 4 }))
const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH', 'OPTIONS')
const key = fc.oneof(
  fc.constantFrom('test', 'guest-0001', 'fuzz', '7e570000-0000-4000-8000-000000000001'),
  word,
)
const put = { method: 'PUT', path: '/v1/domains/{domain}/definition' }
const target = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom(...routes, put).map((route) => [route.method, route.path] as const),
  },
  { weight: 1, arbitrary: fc.tuple(method, fc.constantFrom(...routes.map((route) => route.path))) },
  { weight: 1, arbitrary: fc.tuple(method, fc.webPath()) },
)
const headers = fc.dictionary(
  fc.constantFrom(
    'accept',
    'content-type',
    'if-match',
    'if-none-match',
    'prefer',
    'last-event-id',
    'origin',
    'cookie',
    'x-request-id',
    'sec-fetch-site',
    'content-length',
    'upgrade',
  ),
  fc.oneof(
    fc.constantFrom(
      '*',
      '*/*',
      'application/json',
      'application/xml',
      'application/yaml',
      'respond-async',
      'wait=0',
      '"a", W/"b"',
      '"',
      'text/plain',
      'null',
      'http://x',
      'a=b; visor_session_default=x',
      '0',
      ',;=q=,',
    ),
    fc.stringMatching(/^[ -~]{0,40}$/u).map((text) => text.trim()),
  ),
  { maxKeys: 4 },
)
const definition = JSON.stringify({ type: 'test', name: 'fuzz', memory: '64MiB' })
const xml = `<domain type='test'><name>fuzz</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>`
const body = fc.oneof(
  fc.constantFrom('', '{}', definition),
  fc.json(),
  fc.constantFrom(
    '',
    '{}',
    '[]',
    'null',
    definition,
    xml,
    `${definition}x`,
    '{"paused":true}',
    '<!DOCTYPE a>',
    '&a *a',
  ),
  fc
    .tuple(fc.constantFrom(definition, xml), fc.nat(120), fc.string({ maxLength: 5 }))
    .map(([text, at, change]) => text.slice(0, at) + change + text.slice(at + change.length)),
  fc.string({ unit: 'binary', maxLength: 200 }),
)

test('random requests are answered with something meant', async () => {
  await fc.assert(
    fc.asyncProperty(target, key, query, headers, body, async ([verb, place], name, pairs, given, text) => {
      const search = pairs
        .map(([name, value]) => `${name}=${value}`)
        .join('&')
        .replaceAll('#', '%23')
      const url = `http://localhost${place.replace(/\{\w+\}/u, () => encodeURIComponent(name.toWellFormed()))}?${search}`
      const hasBody = verb !== 'GET' && verb !== 'HEAD'
      const waits = place.endsWith('/wait') || place.endsWith('/events')
      const request = new Request(url, {
        method: verb,
        headers: { ...given, ...(waits && { prefer: 'wait=0' }) },
        ...(hasBody && text !== '' && { body: text }),
      })
      const response = await ask(request)
      assert.ok(
        response.status < 500 || [501, 502, 503].includes(response.status),
        `${verb} ${url}: ${response.status}`,
      )
      assert.ok(response.headers.get('x-request-id'))
    }),
    settings,
  )
  assert.equal((await ask(new Request('http://localhost/v1/domains'))).status, 200)
})

test('random consoles are refused or opened', async () => {
  await fc.assert(
    fc.asyncProperty(key, query, headers, async (name, pairs, given) => {
      const url = `http://localhost/v1/domains/${encodeURIComponent(name.toWellFormed())}/console`
      const request = new Request(`${url}?${new URLSearchParams(pairs)}`, {
        headers: given,
      })
      const answer = await within(api.app.openConsole(request, { transport: 'unix' }))
      if (answer instanceof Response) assert.notEqual(answer.status, 500)
      else await answer.stream.close()
    }),
    { numRuns: settings.numRuns / 4 },
  )
})

test('random bytes on the wire get an answer or an end, and the next client is served', async () => {
  const { port } = new URL(served.address)
  const line = fc.constantFrom(
    'GET /v1/domains HTTP/1.1\r\n',
    'POST /v1/domains HTTP/1.1\r\n',
    'GET * HTTP/1.1\r\n',
    'GET http://[ HTTP/1.1\r\n',
    'GET //x/..%2f HTTP/1.1\r\n',
    'OPTIONS * HTTP/1.1\r\n',
    'BREW / HTTP/9.9\r\n',
  )
  const field = fc.constantFrom(
    'host: 127.0.0.1\r\n',
    'host: [\r\n',
    'host:\r\n',
    'host: a b\r\n',
    'connection: upgrade\r\n',
    'upgrade: websocket\r\n',
    'sec-websocket-key: x\r\n',
    'content-length: 5\r\n',
    'transfer-encoding: chunked\r\n',
    `authorization: ${admin.authorization}\r\n`,
  )
  await fc.assert(
    fc.asyncProperty(
      line,
      fc.array(field, { maxLength: 6 }),
      fc.string({ unit: 'binary', maxLength: 50 }),
      async (first, fields, rest) => {
        const socket = connectSocket({ host: '127.0.0.1', port: Number(port) })
        socket.on('error', () => {})
        socket.resume()
        socket.end(`${first}${fields.join('')}\r\n${rest}`)
        if (!socket.destroyed) await within(once(socket, 'close'))
      },
    ),
    { numRuns: settings.numRuns / 4 },
  )
  const response = await fetch(`${served.address}/v1/domains`, { headers: admin })
  assert.equal(response.status, 200)
  await response.text()
})
