/** The client and the server over real sockets: what a wire adds to the contract. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../src/connect/index.ts'
import { supportedOperations, supports } from '../../src/driver/index.ts'
import { findDirectories } from '../../src/host/index.ts'
import { type ErrorCode, type Event, type Job, type Progress, VisorError } from '../../src/model/index.ts'
import { type Served, serveApi } from './served.ts'

async function withServer(
  transport: 'unix' | 'tcp',
  use: (served: Served) => Promise<void>,
  uri?: string,
): Promise<void> {
  const served = await serveApi(transport, uri)
  try {
    await use(served)
  } finally {
    await served.close()
  }
}

async function refused(code: ErrorCode, call: Promise<unknown>): Promise<VisorError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof VisorError, `refused with ${code}`)
  assert.equal(error.code, code, error.message)
  return error
}

for (const transport of ['unix', 'tcp'] as const) {
  test(`over ${transport}: the client can what the server can`, () =>
    withServer(transport, async ({ connect: open, connection }) => {
      const client = await open()
      assert.deepEqual(supportedOperations(client), supportedOperations(connection))
      assert.equal(supports(client, 'images.list'), false)
      await refused('unsupported', client.images.list())
      await client.close()
    }))

  test(`over ${transport}: a list of 1,000 domains is the same on both sides`, () =>
    withServer(
      transport,
      async ({ connect: open, connection }) => {
        const client = await open()
        const list = await client.domains.list()
        assert.equal(list.length, 1_001)
        assert.deepEqual(list, await connection.domains.list())
        await client.close()
      },
      'test:///default?domains=1000&running=500',
    ))

  test(`over ${transport}: statistics of more domains than fit into one request`, () =>
    withServer(
      transport,
      async ({ connect: open }) => {
        const client = await open()
        const domains = (await client.domains.list()).map(({ uuid }) => uuid)
        const stats = await client.domains.stats({ domains })
        assert.deepEqual(
          stats.map(({ uuid }) => uuid),
          domains,
        )
        await refused('not-found', client.domains.stats({ domains: [...domains, 'absent'] }))
        await client.close()
      },
      'test:///default?domains=1000&running=500',
    ))

  test(`over ${transport}: a request that does not fit is refused in words`, () =>
    withServer(transport, async ({ connect: open }) => {
      const client = await open()
      const { remedy } = await refused('invalid-argument', client.domains.get('x'.repeat(20_000)))
      assert.match(remedy ?? '', /fewer/u)
      await client.close()
    }))

  test(`over ${transport}: events go on without a gap when the server comes back`, () =>
    withServer(transport, async ({ connect: open, connection, restart }) => {
      const client = await open()
      const types: string[] = []
      const stop = new AbortController()
      const resumed = Promise.withResolvers<void>()
      const done = listen(client.events({ signal: stop.signal }), ({ kind, type }) => {
        if (kind === 'domain') types.push(type)
        if (type === 'resumed') resumed.resolve()
      })
      await client.domains.suspend('test')
      await restart(async () => {
        await connection.domains.reset('test')
        await connection.domains.resume('test')
      })
      await resumed.promise
      stop.abort()
      await done
      assert.ok(types.includes('suspended') && types.includes('resumed'))
      assert.equal(new Set(types).size, types.length, `nothing twice: ${types}`)
      await client.close()
    }))

  test(`over ${transport}: a console carries a flood, and what is typed, in order`, () =>
    withServer(transport, async ({ connect: open, faults }) => {
      const client = await open()
      const stream = await client.domains.openConsole('test')
      const bytes = 4_000_000
      const flood = faults.floodConsole('test', bytes)
      let received = 0
      for await (const chunk of stream) {
        received += chunk.byteLength
        if (received >= bytes) break
      }
      await flood
      await stream.close()
      await refused('unavailable', stream.write(new Uint8Array(1)))
      await client.close()
    }))
}

async function listen(events: AsyncIterable<Event>, see: (event: Event) => void): Promise<void> {
  for await (const event of events) see(event)
}

test('without a valid token over TCP nothing is had', () =>
  withServer('tcp', async ({ address }) => {
    const error = await refused('unauthenticated', connect(address, { token: 'wrong' }))
    assert.ok(error.remedy)
    await refused('unauthenticated', connect(address, { token: '' }))
  }))

test('a login that may only read is denied the rest, with the reason', () =>
  withServer('tcp', async ({ address }) => {
    const client = await connect(address, { token: 'token-of-a-reader' })
    assert.equal((await client.domains.get('test')).state, 'running')
    await refused('denied', client.domains.destroy('test'))
    await refused('denied', client.domains.openConsole('test'))
    await client.close()
  }))

test('a call that is given up is given up over there', () =>
  withServer('unix', async ({ connect: open, connection, faults }) => {
    const client = await open()
    faults.hang('domains.suspend')
    const giveUp = new AbortController()
    const jobs: Job[] = []
    const call = client.domains.suspend('test', {
      signal: giveUp.signal,
      onJob: (job) => {
        jobs.push(job)
        giveUp.abort()
      },
    })
    await refused('cancelled', call)
    assert.equal((await connection.jobs.get(jobs[0]?.id ?? '')).state, 'cancelled')
    faults.clear()
    assert.equal((await client.domains.get('test')).state, 'running')
    await client.close()
  }))

test('a long operation tells its progress and goes on when its client goes away', () =>
  withServer('unix', async ({ connect: open, connection, faults }) => {
    const client = await open()
    const seen: Progress[] = []
    await client.domains.save('test', { progress: (progress) => seen.push(progress) })
    assert.ok(seen.every(({ done }) => done === undefined || done >= 0))
    faults.delay('domains.restore', 100)
    const begun = Promise.withResolvers<Job>()
    const call = client.domains.restore('test', { onJob: begun.resolve }).catch(() => {})
    const { id } = await begun.promise
    await client.close()
    assert.equal((await connection.jobs.wait(id)).state, 'done')
    await call
  }))

test('errors are the ones that were thrown over there', () =>
  withServer('unix', async ({ connect: open, connection }) => {
    const client = await open()
    const call = (domains: typeof client.domains) => domains.start('nobody')
    const here = await refused('not-found', call(client.domains))
    const there = await refused('not-found', call(connection.domains))
    assert.deepEqual(here.toJSON(), there.toJSON())
    const wrong = { type: 'test', name: 'a/b', memoryKiB: 1 } as const
    const error = await refused('invalid-definition', client.domains.define(wrong))
    assert.ok((error.issues?.length ?? 0) >= 2)
    await client.close()
  }))

test('names with all kinds of signs arrive as they are', () =>
  withServer('tcp', async ({ connect: open }) => {
    const client = await open()
    for (const name of ['a,b', 'ä ö', '100%', 'a&b=c', '#?+', '..a', '"q"', '日本']) {
      await client.domains.define({ type: 'test', name, memoryKiB: 65_536 })
      assert.equal((await client.domains.get(name)).name, name)
      assert.deepEqual(
        (await client.domains.list({ names: [name] })).map((domain) => domain.name),
        [name],
      )
      await client.domains.undefine(name)
    }
    await client.close()
  }))

test('who hangs up in the middle leaves a server that goes on', () =>
  withServer('tcp', async ({ connect: open, address, faults }) => {
    faults.delay('domains.list', 50)
    for (let round = 0; round < 5; round++) {
      const giveUp = new AbortController()
      const asked = fetch(`${address}/v1/domains`, {
        headers: { authorization: 'Bearer token-of-an-admin' },
        signal: giveUp.signal,
      })
      giveUp.abort()
      await assert.rejects(asked)
    }
    const client = await open()
    assert.equal((await client.domains.get('test')).name, 'test')
    await client.close()
  }))

const strange: readonly [uri: string, code: ErrorCode][] = [
  ['nonsense', 'invalid-argument'],
  ['nosuch:///system', 'invalid-argument'],
  ['unix://run/visord.sock', 'invalid-argument'],
  ['unix:///nonexistent/visord.sock', 'unavailable'],
  ['http://127.0.0.1:1', 'unavailable'],
]
for (const [uri, code] of strange)
  test(`connect('${uri}') is ${code} and says what to do`, async () => {
    assert.ok((await refused(code, connect(uri))).remedy)
  })

test('without an address, it is the visord of this user, if one runs', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'visor-connect-'))
  const directories = findDirectories({ VISOR_STATE_DIR: directory, VISOR_RUNTIME_DIR: directory })
  const error = await refused('unavailable', connect(undefined, { directories }))
  assert.match(`${error.message} ${error.remedy}`, /visord\.sock.*Start it with 'visord'/u)
  await rm(directory, { recursive: true })
})

test('a driver opened here has the state directory to itself', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'visor-connect-'))
  const directories = findDirectories({ VISOR_STATE_DIR: directory, VISOR_RUNTIME_DIR: directory })
  const first = await connect('test:///default?keep=1', { directories })
  await first.domains.define({ type: 'test', name: 'kept', memoryKiB: 65_536 })
  const error = await refused('busy', connect('test:///default?keep=1', { directories }))
  assert.ok(error.remedy)
  await first.close()
  const second = await connect('test:///default?keep=1', { directories })
  assert.equal((await second.domains.get('kept')).name, 'kept')
  await second.close()
  await rm(directory, { recursive: true })
})

test('connecting can be given up', async () => {
  await refused('cancelled', connect('test:///default', { signal: AbortSignal.abort() }))
})

test('a client that goes away frees its event stream', async () => {
  const served = await serveApi('tcp', 'test:///default', { eventStreamLimit: 1 })
  const client = await served.connect()
  const headers = { authorization: 'Bearer token-of-an-admin' }
  for (let round = 0; round < 3; round++) {
    const leave = new AbortController()
    const open = () => fetch(`${served.address}/v1/events`, { headers, signal: leave.signal })
    let stream = await open()
    // The server notices the end of the one before a moment later.
    while (stream.status === 409) {
      await stream.text()
      stream = await open()
    }
    assert.equal(stream.status, 200)
    leave.abort()
  }
  await client.close()
  await served.close()
})
