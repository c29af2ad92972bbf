/** Bytes of volumes through a real visord, over its unix socket and over TCP, as the command line and as curl do. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { readPresence, runChecked } from '../../src/host/index.ts'
import type { CompleteConnection } from '../../src/index.ts'
import { visorCommand, visorProgram } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const mebibyte = 2 ** 20
const settings = { numRuns: Number(process.env.VISOR_FUZZ_RUNS ?? 100) }
let visord: Visord
let connection: CompleteConnection
let directory: string
let url: string
let token: string
let visor: ReturnType<typeof visorCommand>

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-streams-'))
  visord = await startVisord({ drivers: ['test'], listen: '127.0.0.1:0' })
  connection = await visord.connect()
  url = readPresence(visord.directories.runtime)?.url ?? ''
  token = (await readFile(join(visord.directories.state, 'token'), 'utf8')).trim()
  visor = visorCommand(visord.directories)
})
after(async () => {
  await connection.close()
  await visord.dispose()
  await rm(directory, { recursive: true, force: true })
})

const at = (name: string) => join(directory, name)
const left = async () =>
  (await readdir(join(visord.directories.state, 'volumes'))).filter((name) => name.startsWith('.'))
const volumePath = (name: string) => join(visord.directories.state, 'volumes', name)

function ask(path: string, init: RequestInit & { readonly duplex?: 'half' } = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  headers.set('authorization', `Bearer ${token}`)
  return fetch(`${url}/v1/pools/default${path}`, { ...init, headers })
}

/** A file with data between holes. */
async function makeSparse(name: string, sizeBytes: number): Promise<string> {
  const file = await open(at(name), 'w')
  await file.truncate(sizeBytes)
  for (const place of [0, 5 * mebibyte + 123, sizeBytes - mebibyte])
    await file.write(randomBytes(mebibyte), 0, mebibyte, place)
  await file.close()
  return at(name)
}

test('a sparse file goes to a volume and back, over both ways in', async () => {
  const file = await makeSparse('sparse.img', 2 ** 27)
  for (const way of [[], ['--connect', url, '--token', token]]) {
    const sent = await visor([...way, 'volume', 'upload', file, 'sparse.raw', '--checksum', '--replace'])
    assert.equal(sent.code, 0, sent.stderr)
    await runChecked('cmp', [file, volumePath('sparse.raw')])
    assert.ok((await connection.volumes.get('default', 'sparse.raw')).allocationBytes < 8 * mebibyte)
    const got = await visor([...way, 'volume', 'download', 'sparse.raw', at('back.img'), '--checksum', '-f'])
    assert.equal(got.code, 0, got.stderr)
    await runChecked('cmp', [file, at('back.img')])
    assert.ok((await stat(at('back.img'))).blocks * 512 < 8 * mebibyte)
  }
  assert.deepEqual(await left(), [])
  assert.deepEqual(
    (await readdir(directory)).filter((name) => name.includes('.part')),
    [],
  )
})

test('standard input and output, and the words of virsh', async () => {
  const text = 'some bytes of a program'
  const sent = await visor(['volume', 'upload', '-', 'piped.raw'], { input: text })
  assert.equal(sent.code, 0, sent.stderr)
  assert.equal((await visor(['volume', 'download', 'piped.raw', '-'])).stdout, text)
  await writeFile(at('part'), 'OTHER and more')
  const into = ['--pool', 'default', 'piped.raw', at('part'), '--offset', '5', '--length', '5']
  const written = await visor(['vol-upload', ...into])
  assert.equal(written.code, 0, written.stderr)
  const words = 'some OTHER of a program'
  assert.equal(await readFile(volumePath('piped.raw'), 'utf8'), words)
  const some = ['vol-download', 'piped.raw', at('some'), '--offset', '5', '--length', '8']
  assert.equal((await visor(some)).code, 0)
  assert.equal(await readFile(at('some'), 'utf8'), words.slice(5, 13))
  const again = await visor(['volume', 'download', 'piped.raw', at('some')])
  assert.match(again.stderr, /already a file/u)
  const wrong = await visor(['volume', 'upload', at('part'), 'wrong.raw', '--checksum', '0'.repeat(64)])
  assert.match(wrong.stderr, /SHA-256/u)
  assert.deepEqual(await left(), [])
})

test('GET has ranges, conditions and digests', async () => {
  const bytes = randomBytes(10_000)
  await writeFile(at('ten'), bytes)
  await visor(['volume', 'upload', at('ten'), 'ten.raw'])
  const path = '/volumes/ten.raw/content'
  const whole = await ask(path, { headers: { 'want-repr-digest': 'sha-256=1' } })
  assert.equal(whole.headers.get('content-length'), '10000')
  const digest = createHash('sha256').update(bytes).digest('base64')
  assert.equal(whole.headers.get('repr-digest'), `sha-256=:${digest}:`)
  assert.ok(bytes.equals(Buffer.from(await whole.arrayBuffer())))
  const etag = whole.headers.get('etag') ?? ''
  const part = await ask(path, { headers: { range: 'bytes=-100', 'if-range': etag } })
  assert.equal(part.status, 206)
  assert.equal(part.headers.get('content-range'), 'bytes 9900-9999/10000')
  assert.ok(bytes.subarray(9900).equals(Buffer.from(await part.arrayBuffer())))
  const other = await ask(path, { headers: { range: 'bytes=5-', 'if-range': '"other"' } })
  assert.equal(other.status, 200)
  await other.arrayBuffer()
  assert.equal((await ask(path, { headers: { 'if-none-match': etag } })).status, 304)
  assert.equal((await ask(path, { headers: { 'if-match': '"other"' } })).status, 412)
  assert.equal((await ask(path, { method: 'HEAD' })).headers.get('content-length'), '10000')
  assert.equal((await ask('/volumes/none.raw/content')).status, 404)
})

test('an upload by hand: begun, asked how far it came, gone on with, ended', async () => {
  const bytes = randomBytes(100_000)
  const digest = createHash('sha256').update(bytes).digest('base64')
  const headers = {
    'upload-complete': '?0',
    'upload-length': String(bytes.length),
    'repr-digest': `sha-256=:${digest}:`,
  }
  const begun = await ask('/volumes/hand.raw/content', {
    method: 'PUT',
    headers,
    body: bytes.subarray(0, 40_000),
  })
  assert.equal(begun.status, 201)
  const place = begun.headers.get('location')?.replace('/v1/pools/default', '') ?? ''
  const state = await ask(place, { method: 'HEAD' })
  assert.equal(state.headers.get('upload-offset'), '40000')
  assert.equal(state.headers.get('upload-length'), '100000')
  const patch = (offset: number, complete: string) =>
    ask(place, {
      method: 'PATCH',
      headers: {
        'upload-offset': String(offset),
        'upload-complete': complete,
        'content-type': 'application/partial-upload',
      },
      body: bytes.subarray(offset, complete === '?1' ? undefined : offset + 1000),
    })
  assert.equal((await patch(39_999, '?0')).status, 412)
  assert.equal((await patch(40_000, '?0')).headers.get('upload-offset'), '41000')
  const whole = await patch(41_000, '?1')
  assert.equal(whole.status, 200)
  assert.match(await whole.text(), /"name":"hand.raw"/u)
  assert.ok(bytes.equals(await readFile(volumePath('hand.raw'))))
  const there = await ask('/volumes/hand.raw/content', { method: 'PUT', body: bytes })
  assert.equal(there.status, 409)
  const replaced = await ask('/volumes/hand.raw/content?replace=true', { method: 'PUT', body: bytes })
  assert.equal(replaced.status, 200)
  assert.deepEqual(await left(), [])
})

/** A way to visord that breaks off, once per entry, after so many bytes have gone through either way. */
async function brittleWay(breaks: number[]) {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const target = connectSocket(Number(new URL(url).port), '127.0.0.1')
    let through = 0
    const count = (bytes: Buffer) => {
      through += bytes.length
      if (breaks[0] === undefined || through < breaks[0]) return
      breaks.shift()
      client.destroy()
      target.destroy()
    }
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => other.destroy())
      socket.on('data', count)
      socket.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

test('a way that breaks again and again is gone on with', async () => {
  const file = at('random.img')
  await writeFile(file, randomBytes(24 * mebibyte))
  const breaks: number[] = [6, 9, 3].map((count) => count * mebibyte)
  const way = await brittleWay(breaks)
  const over = ['--connect', way.url, '--token', token, 'volume']
  try {
    const sent = await visor([...over, 'upload', file, 'broken.raw', '--checksum'])
    assert.equal(sent.code, 0, sent.stderr)
    assert.equal(breaks.length, 0)
    await runChecked('cmp', [file, volumePath('broken.raw')])
    breaks.push(5 * mebibyte, 7 * mebibyte)
    const got = await visor([...over, 'download', 'broken.raw', at('broken.img'), '--checksum'])
    assert.equal(got.code, 0, got.stderr)
    assert.equal(breaks.length, 0)
    await runChecked('cmp', [file, at('broken.img')])
  } finally {
    await way.close()
  }
  assert.deepEqual(await left(), [])
})

/** A way to visord on which nothing passes any more after so many bytes, and who is told then. */
async function stuckWay(mostBytes: number) {
  const sockets = new Set<Socket>()
  const { promise: stuck, resolve: stick } = Promise.withResolvers<void>()
  const server = createServer((client) => {
    const target = connectSocket(Number(new URL(url).port), '127.0.0.1')
    let through = 0
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => other.destroy())
      socket.on('data', (bytes: Buffer) => {
        through += bytes.length
        if (through > mostBytes) {
          socket.pause()
          stick()
        } else if (!other.write(bytes)) {
          socket.pause()
          other.once('drain', () => socket.resume())
        }
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    stuck,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Runs a command that gets stuck on its way, and kills it there, when it has come so far. */
async function killStuck(args: readonly string[], hasBegun = async () => true): Promise<void> {
  const way = await stuckWay(9 * mebibyte)
  const all = [visorProgram, '--connect', way.url, '--token', token, 'volume', ...args]
  const child = spawn(process.execPath, all, { stdio: 'ignore' })
  await way.stuck
  while (!(await hasBegun())) await sleep(20)
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
  await way.close()
}

test('a command that was killed is gone on with by the next one', async () => {
  const file = at('again.img')
  await writeFile(file, randomBytes(16 * mebibyte))
  await killStuck(['upload', file, 'again.raw'])
  const begun = async () =>
    (await connection.uploads.list('default')).find(({ volume }) => volume === 'again.raw')
  while (((await begun())?.offset ?? 0) < 4 * mebibyte) await sleep(20)
  const id = (await begun())?.id
  const sent = await visor(['volume', 'upload', file, 'again.raw'])
  assert.equal(sent.code, 0, sent.stderr)
  assert.match(visord.log(), new RegExp(`"path":"/v1/pools/default/uploads/${id}/finish"`, 'u'))
  await runChecked('cmp', [file, volumePath('again.raw')])
  assert.deepEqual(await left(), [])

  const parts = async () => (await readdir(directory)).filter((name) => name.endsWith('.part'))
  await killStuck(['download', 'again.raw', at('again.out')], async () => {
    const [part] = await parts()
    return part !== undefined && (await stat(at(part))).size >= 4 * mebibyte
  })
  const got = await visor(['volume', 'download', 'again.raw', at('again.out')])
  assert.equal(got.code, 0, got.stderr)
  await runChecked('cmp', [file, at('again.out')])
  assert.deepEqual(await parts(), [])
})

test('kill -9 of visord in the middle of an upload: it goes on when visord is back', async () => {
  const bytes = randomBytes(16 * mebibyte)
  const wanted = { volume: 'killed.raw', sizeBytes: bytes.length, source: 'the same' }
  const { id } = await connection.uploads.create('default', wanted)
  const { promise: sent, resolve: send } = Promise.withResolvers<void>()
  async function* half() {
    yield bytes.subarray(0, 8 * mebibyte)
    send()
    await sleep(60_000, undefined, { ref: false })
  }
  const broken = assert.rejects(connection.uploads.append('default', id, half(), { offset: 0 }))
  await sent
  const reached = async () => (await connection.uploads.get('default', id)).offset
  while ((await reached()) < 7 * mebibyte) await sleep(10)
  await visord.kill()
  await broken
  await visord.start()
  connection = await visord.connect()
  url = readPresence(visord.directories.runtime)?.url ?? ''
  await assert.rejects(connection.volumes.get('default', 'killed.raw'))
  const again = await connection.uploads.create('default', wanted)
  assert.equal(again.id, id)
  assert.ok(again.offset >= 7 * mebibyte && again.offset <= 8 * mebibyte)
  async function* rest() {
    yield bytes.subarray(again.offset)
  }
  await connection.uploads.append('default', id, rest(), { offset: again.offset })
  await connection.uploads.finish('default', id)
  assert.ok(bytes.equals(await readFile(volumePath('killed.raw'))))
  assert.deepEqual(await left(), [])
})

test('hostile offsets, ranges, lengths and frames are refused in words', async () => {
  const number = fc.oneof(
    fc.constantFrom('-1', '0', '1', '9007199254740991', '9007199254740993', '1e9', '', ' 5', '0x10', 'NaN'),
    fc.string({ maxLength: 20 }).map((text) => text.replace(/[^\x21-\x7e]/gu, '?')),
    fc.nat().map(String),
  )
  const request = fc.record({
    method: fc.constantFrom('GET', 'HEAD', 'PUT', 'PATCH'),
    range: fc.tuple(number, number).map(([a, b]) => `bytes=${a}-${b}`),
    offset: number,
    length: number,
    type: fc.constantFrom('application/vnd.visor.sparse', 'application/octet-stream', 'text/html'),
    body: fc.uint8Array({ maxLength: 64 }),
    complete: fc.constantFrom('?0', '?1', 'maybe'),
  })
  const { id } = await connection.uploads.create('default', { volume: 'hostile.raw', sizeBytes: 10_000 })
  await fc.assert(
    fc.asyncProperty(request, async ({ method, range, offset, length, type, body, complete }) => {
      const path = method === 'PATCH' ? `/uploads/${id}` : '/volumes/ten.raw/content'
      const reads = method === 'GET' || method === 'HEAD'
      const headers = reads
        ? { range }
        : {
            'upload-offset': offset,
            'upload-length': length,
            'upload-complete': complete,
            'content-type': type,
          }
      const answer = await ask(path, { method, headers, ...(!reads && { body: Buffer.from(body) }) })
      const text = await answer.text()
      // Frames without their end are an upload that goes on another time.
      const isBroken = answer.status === 503 && text.includes('broke off')
      assert.ok(
        answer.status < 500 || isBroken,
        `${answer.status} for ${method} ${offset} ${length}: ${text}`,
      )
      const query = new URLSearchParams({ offset, lengthBytes: length })
      const other = await ask(`/volumes/ten.raw/content?${query}`)
      assert.ok(other.status < 500, `${other.status} for ${query}`)
      await other.arrayBuffer()
    }),
    settings,
  )
  for (const { id: one } of await connection.uploads.list('default'))
    await connection.uploads.remove('default', one)
  assert.deepEqual(await left(), [])
  assert.doesNotMatch(visord.log(), /Unexpected failure/u)
})
