/** What the HTTP API answers, asked without a socket. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Problem } from '../../src/rest/index.ts'
import { type Api, admin, openApi } from './served.ts'

let api: Api
before(async () => {
  api = await openApi('test:///default?domains=5&running=2', { bodyLimitBytes: 10_000 })
})
after(() => api.close())

const origin = 'http://127.0.0.1:8430'
type Headers = Readonly<Record<string, string>>

function ask(method: string, path: string, headers: Headers = {}, body?: string): Promise<Response> {
  const request = new Request(origin + path, {
    method,
    headers: { ...admin, ...headers },
    ...(body && { body }),
  })
  return api.app.fetch(request, { transport: 'tcp' })
}
const read = async (path: string, headers?: Headers) => (await ask('GET', path, headers)).json() as never
const definition = (name: string) => JSON.stringify({ type: 'test', name, memory: '64MiB' })

async function expectProblem(response: Response, status: number, code: string): Promise<Problem> {
  const problem = (await response.json()) as Problem
  assert.deepEqual([response.status, problem.status, problem.code], [status, status, code], problem.detail)
  assert.equal(response.headers.get('content-type'), 'application/problem+json')
  assert.match(problem.detail, /\.$/u)
  assert.equal(problem.requestId, response.headers.get('x-request-id'))
  return problem
}

test('lists give what fields and filter ask for', async () => {
  assert.deepEqual(await read('/v1/domains?fields=name,state&filter=name~guest-*,state==running'), [
    { name: 'guest-0001', state: 'running' },
    { name: 'guest-0002', state: 'running' },
  ])
  assert.deepEqual(await read('/v1/domains?states=shutoff&fields=name&names=guest-0003,test'), [
    { name: 'guest-0003' },
  ])
  assert.deepEqual(await read('/v1/domains?names='), [])
})

const refused: readonly [method: string, path: string, status: number, code: string][] = [
  ['GET', '/v1/domains?fields=colour', 400, 'invalid-argument'],
  ['GET', '/v1/domains?filter=colour==red', 400, 'invalid-argument'],
  ['GET', '/v1/domains?states=happy', 400, 'invalid-argument'],
  ['GET', '/v1/domains?nonsense=1', 400, 'invalid-argument'],
  ['GET', '/v1/domains?driver=a&driver=b', 400, 'invalid-argument'],
  ['GET', '/v1/domains?names=%ff', 400, 'invalid-argument'],
  ['GET', '/v1/domains/test/console-log?maxBytes=many', 400, 'invalid-argument'],
  ['GET', '/v1/domains/test/console-log?maxBytes=-1', 400, 'invalid-argument'],
  ['GET', '/v1/domains/%ff', 400, 'invalid-argument'],
  ['GET', '/v1/domains/nobody', 404, 'not-found'],
  ['POST', '/v1/domains/nobody/start', 404, 'not-found'],
  ['POST', '/v1/domains/test/start', 409, 'invalid-state'],
  ['GET', '/v1/nothing', 404, 'not-found'],
  ['PATCH', '/v1/domains', 405, 'invalid-argument'],
  ['GET', '/v1/domains/test/console', 426, 'invalid-argument'],
  ['GET', '/v1/images', 501, 'unsupported'],
  ['GET', '/v1/jobs/nobody', 404, 'not-found'],
  ['GET', '/v1/events?wrong=1', 400, 'invalid-argument'],
]
for (const [method, path, status, code] of refused)
  test(`${method} ${path} is ${status} ${code}`, async () => {
    await expectProblem(await ask(method, path), status, code)
  })

test('a wrong method names the right ones', async () => {
  assert.equal((await ask('PATCH', '/v1/domains')).headers.get('allow'), 'GET, POST')
})

test('bodies are bounded and checked', async () => {
  const post = (body: string, type?: string) =>
    ask('POST', '/v1/domains', type ? { 'content-type': type } : {}, body)
  await expectProblem(await post('x'.repeat(20_000)), 413, 'invalid-argument')
  await expectProblem(await post('{}', 'application/pdf'), 415, 'invalid-argument')
  await expectProblem(await post('{'), 400, 'invalid-definition')
  const problem = await expectProblem(await post('{"type":"test","nam":"x"}'), 400, 'invalid-definition')
  assert.ok((problem.issues?.length ?? 0) >= 2, 'It tells all that is wrong.')
  const xml = await expectProblem(
    await post('<domain type="test">\n<name>x</nam>', 'application/xml'),
    400,
    'invalid-definition',
  )
  assert.equal(xml.line, 2)
  await expectProblem(await ask('POST', '/v1/domains/test/reset', {}, '[]'), 400, 'invalid-argument')
  await expectProblem(await ask('POST', '/v1/domains/test/reset', {}, '{"a":1}'), 400, 'invalid-argument')
  await expectProblem(
    await ask('POST', '/v1/domains/test/start', {}, '{"paused":1}'),
    400,
    'invalid-argument',
  )
})

test('a definition is made, read and changed with its entity tag, in each notation', async () => {
  const made = await ask('POST', '/v1/domains', { 'if-none-match': '*' }, definition('tagged'))
  assert.equal(made.status, 201)
  const location = made.headers.get('location') ?? ''
  const path = `${location}/definition`
  await expectProblem(
    await ask('POST', '/v1/domains', { 'if-none-match': '*' }, definition('tagged')),
    409,
    'already-exists',
  )
  for (const type of ['application/json', 'application/xml', 'application/yaml']) {
    const got = await ask('GET', path, { accept: type })
    const etag = got.headers.get('etag') ?? ''
    assert.match(got.headers.get('content-type') ?? '', new RegExp(`^${type}`, 'u'))
    assert.equal((await ask('GET', path, { accept: type, 'if-none-match': etag })).status, 304)
    const text = await got.text()
    const put = () => ask('PUT', path, { 'content-type': type, 'if-match': `"x", ${etag}` }, text)
    assert.equal((await put()).status, 200, `${type} goes back as it came`)
    const other = JSON.stringify({ type: 'test', name: 'tagged', memory: '64MiB', title: `after ${type}` })
    assert.equal((await ask('PUT', path, {}, other)).status, 200)
    await expectProblem(await put(), 412, 'conflict')
  }
})

test('a definition that is of another domain than the path says is refused', async () => {
  await expectProblem(
    await ask('PUT', '/v1/domains/one/definition', {}, definition('two')),
    400,
    'invalid-argument',
  )
  assert.equal((await ask('PUT', '/v1/domains/one/definition', {}, definition('one'))).status, 201)
  const { uuid } = (await read('/v1/domains/one')) as { uuid: string }
  const renamed = await ask('PUT', `/v1/domains/${uuid}/definition`, {}, definition('uno'))
  assert.equal(((await renamed.json()) as { name: string }).name, 'uno')
  await expectProblem(
    await ask('PUT', '/v1/domains/one/definition', { 'if-match': '*' }, definition('one')),
    404,
    'not-found',
  )
})

test('Accept chooses by quality, and refuses what there is not', async () => {
  const typeOf = async (accept: string) =>
    (await ask('GET', '/v1/domains/test/definition', { accept })).headers.get('content-type')?.split(';')[0]
  assert.equal(await typeOf('text/html, application/xml;q=0.9, */*;q=0.1'), 'application/xml')
  assert.equal(await typeOf('application/json;q=0, application/yaml;q=0.5'), 'application/yaml')
  assert.equal(await typeOf('*/*'), 'application/json')
  await expectProblem(
    await ask('GET', '/v1/domains/test/definition', { accept: 'image/png' }),
    406,
    'invalid-argument',
  )
})

test('Prefer chooses between an answer and a job', async () => {
  const plain = await ask('POST', '/v1/domains/guest-0003/start')
  assert.equal(plain.status, 204)
  const job = await ask('POST', '/v1/domains/guest-0003/destroy', { prefer: 'respond-async' })
  assert.equal(job.status, 202)
  assert.equal(job.headers.get('preference-applied'), 'respond-async')
  const ended = (await read(`${job.headers.get('location')}/wait`)) as { state: string; operation: string }
  assert.deepEqual([ended.state, ended.operation], ['done', 'domains.destroy'])

  api.faults.delay('domains.start', 50)
  const waited = await ask('POST', '/v1/domains/guest-0003/start', { prefer: 'respond-async, wait=20' })
  assert.equal(waited.status, 204)
  api.faults.hang('domains.save')
  const long = await ask('POST', '/v1/domains/guest-0003/save', { prefer: 'wait=0' })
  assert.equal(long.status, 202)
  const { id } = (await long.json()) as { id: string }
  assert.equal((await ask('POST', `/v1/jobs/${id}/cancel`)).status, 204)
  assert.equal(((await read(`/v1/jobs/${id}/wait`)) as { state: string }).state, 'cancelled')
  api.faults.clear()
})

test('a long operation answers with its job at once, but tells at once what is wrong', async () => {
  await expectProblem(await ask('POST', '/v1/domains/nobody/save'), 404, 'not-found')
  const saved = await ask('POST', '/v1/domains/guest-0001/save')
  assert.equal(saved.status, 202)
  await read(`${saved.headers.get('location')}/wait`)
  assert.equal((await ask('POST', '/v1/domains/guest-0001/restore', { prefer: 'wait=20' })).status, 204)
})

test('who has no login sees nothing of the host, and each access what it may', async () => {
  for (const path of ['/v1', '/v1/domains', '/v1/events', '/v1/host', '/v1/session']) {
    const response = await ask('GET', path, { authorization: 'Bearer wrong' })
    assert.match(response.headers.get('www-authenticate') ?? '', /^Bearer/u)
    await expectProblem(response, 401, 'unauthenticated')
  }
  for (const path of ['/', '/docs', '/v1/openapi.json', '/healthz', '/readyz'])
    assert.equal((await ask('GET', path, { authorization: '' })).status, 200, path)
  const reader = { authorization: 'Bearer token-of-a-reader' }
  assert.equal((await ask('GET', '/v1/domains', reader)).status, 200)
  await expectProblem(await ask('POST', '/v1/domains/test/reset', reader), 403, 'denied')
  const writer = { authorization: 'Bearer token-of-a-writer' }
  assert.equal((await ask('POST', '/v1/domains/test/reset', writer)).status, 204)
  await expectProblem(await ask('DELETE', '/v1/domains/guest-0005', writer), 403, 'denied')
})

test('a browser trades the token for a cookie that only its own pages can use', async () => {
  const opened = await ask('POST', '/v1/session')
  const cookie = opened.headers.get('set-cookie') ?? ''
  assert.match(cookie, /^visor_session_8430=[0-9a-f]{64}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+$/u)
  const session = { authorization: '', cookie: `theme=dark; ${cookie.split(';')[0]}` }
  const browse = (method: string, path: string, headers: Headers = {}) => {
    const given = new Headers({ ...session, ...headers })
    given.delete('authorization')
    const request = new Request(origin + path, { method, headers: given })
    return api.app.fetch(request, { transport: 'tcp' })
  }
  assert.equal((await browse('GET', '/v1/domains')).status, 200)
  assert.equal((await browse('POST', '/v1/domains/test/reset', { origin })).status, 204)
  for (const elsewhere of [
    'http://evil.example',
    'http://127.0.0.1:9999',
    'null',
    'http://127.0.0.1:8430.evil.example',
  ])
    await expectProblem(await browse('POST', '/v1/domains/test/reset', { origin: elsewhere }), 403, 'denied')
  await expectProblem(
    await browse('POST', '/v1/domains/test/reset', { 'sec-fetch-site': 'cross-site' }),
    403,
    'denied',
  )
  assert.equal((await browse('DELETE', '/v1/session', { origin })).status, 204)
  await expectProblem(await browse('GET', '/v1/domains'), 401, 'unauthenticated')
})

test('a name that was made to point here is not ours', async () => {
  await expectProblem(await ask('GET', '/v1/domains', { host: 'evil.example' }), 403, 'denied')
  for (const host of ['localhost:8430', '127.0.0.1', '[::1]:8430'])
    assert.equal((await ask('GET', '/v1/domains', { host })).status, 200, host)
})

test('every answer has a request id and keeps browsers strict', async () => {
  for (const path of ['/', '/docs', '/v1/domains', '/v1/nothing']) {
    const { headers } = await ask('GET', path, { 'x-request-id': 'mine-1' })
    assert.equal(headers.get('x-request-id'), 'mine-1')
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.equal(headers.get('cache-control'), 'no-store')
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'.*frame-ancestors 'none'/u)
  }
  const { headers } = await ask('GET', '/', { 'x-request-id': 'a b' })
  assert.match(headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/u)
})

test('HEAD is GET without the body', async () => {
  const response = await ask('HEAD', '/v1/domains')
  assert.deepEqual([response.status, await response.text()], [200, ''])
})

test('events are replayed after an id, and end with the app', async () => {
  const own = await openApi('test:///default')
  const open = (headers: Headers) =>
    own.app.fetch(new Request(`${origin}/v1/events`, { headers: { ...admin, ...headers } }), {
      transport: 'tcp',
    })
  const first = await open({})
  await own.connection.domains.suspend('test')
  await own.connection.domains.resume('test')
  const reader = first.body?.getReader()
  let text = ''
  while (!text.includes('"resumed"')) text += new TextDecoder().decode((await reader?.read())?.value)
  const suspended = /id: (\S+)\ndata: [^\n]*"type":"suspended"/u.exec(text)?.[1] ?? ''
  const again = (await open({ 'last-event-id': suspended })).body?.getReader()
  let replayed = ''
  while (!replayed.includes('"resumed"')) replayed += new TextDecoder().decode((await again?.read())?.value)
  assert.doesNotMatch(replayed, /"type":"suspended"/u)
  const lost = await open({ 'last-event-id': 'other-5' })
  const missed = lost.body?.getReader()
  let told = ''
  while (!told.includes('data:')) told += new TextDecoder().decode((await missed?.read())?.value)
  assert.match(told, /"type":"resync"/u)
  own.app.close()
  for (const stream of [reader, again, missed]) while (!(await stream?.read())?.done);
  await own.close()
})

test('event streams are limited', async () => {
  const own = await openApi('test:///default', { eventStreamLimit: 1 })
  const open = () =>
    own.app.fetch(new Request(`${origin}/v1/events`, { headers: admin }), { transport: 'tcp' })
  const first = await open()
  await expectProblem(await open(), 409, 'busy')
  await first.body?.cancel()
  assert.equal((await open()).status, 200)
  await own.close()
})

test('a console is refused with the same problems', async () => {
  const open = async (path: string, headers: Headers = {}) => {
    const request = new Request(origin + path, { headers: { ...admin, ...headers } })
    const answer = await api.app.openConsole(request, { transport: 'tcp' })
    assert.ok(answer instanceof Response)
    return answer
  }
  await expectProblem(await open('/v1/domains/nobody/console'), 404, 'not-found')
  await expectProblem(await open('/v1/domains'), 400, 'invalid-argument')
  await expectProblem(await open('/v1/domains/guest-0005/console'), 409, 'invalid-state')
  await expectProblem(await open('/v1/domains/test/console?force=maybe'), 400, 'invalid-argument')
  await expectProblem(await open('/v1/domains/test/console', { authorization: '' }), 401, 'unauthenticated')
  await expectProblem(
    await open('/v1/domains/test/console', { origin: 'http://evil.example' }),
    403,
    'denied',
  )
  await expectProblem(
    await open('/v1/domains/test/console', { authorization: 'Bearer token-of-a-reader' }),
    403,
    'denied',
  )
})

test('the host failing is told as it is', async () => {
  api.faults.fail('domains.list', 'unavailable')
  await expectProblem(await ask('GET', '/v1/domains'), 503, 'unavailable')
  api.faults.clear()
})
