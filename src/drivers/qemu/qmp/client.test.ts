import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { VisorError } from '../../../model/index.ts'
import { type QmpEvent, qmpClient } from './index.ts'

const greeting =
  '{"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7},"package":""},"capabilities":[]}}\n'

/** The other end of a monitor: what it is told, and a way to say anything. */
function peer() {
  const heard: { execute: string; id: number }[] = []
  const onLine: ((line: { execute: string; id: number }) => void)[] = []
  const stream = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      for (const line of String(chunk).split('\n').filter(Boolean)) {
        const command = JSON.parse(line)
        heard.push(command)
        for (const listen of onLine) listen(command)
      }
      done()
    },
  })
  const say = (text: string | Uint8Array) => void stream.push(text)
  return { stream, heard, onLine, say, end: () => void stream.push(null) }
}

const code = (expected: string) => (error: unknown) => error instanceof VisorError && error.code === expected

test('commands given early are sent right behind the negotiation, and answers find theirs', async () => {
  const { stream, heard, say } = peer()
  const client = qmpClient(stream, { name: 'a' })
  const answers = [client.execute('query-status'), client.execute('cont')]
  assert.equal(heard.length, 0)
  say(greeting)
  await client.greeting
  await new Promise(setImmediate)
  assert.deepEqual(
    heard.map(({ execute }) => execute),
    ['qmp_capabilities', 'query-status', 'cont'],
  )
  const [first, second, third] = heard
  say(`{"return":{},"id":${first?.id}}\r\n{"return":{"running":true},`)
  say(`"id":${second?.id}}\r\n{"return":{},"id":${third?.id}}\r\n`)
  assert.deepEqual(await Promise.all(answers), [{ running: true }, {}])
  client.close()
  assert.equal(await client.closed, undefined)
})

test('refusals, unknown commands, time-outs and cancels have their codes', async () => {
  const { stream, say, onLine } = peer()
  const replies: Record<string, string> = {
    qmp_capabilities: '"return":{}',
    nope: '"error":{"class":"CommandNotFound","desc":"x"}',
    bad: '"error":{"class":"GenericError","desc":"Out of luck."}',
  }
  onLine.push(({ execute, id }) => {
    if (replies[execute]) say(`{${replies[execute]},"id":${id}}\n`)
  })
  const client = qmpClient(stream, { name: 'a' })
  say(greeting)
  await assert.rejects(client.execute('nope'), code('unsupported'))
  await assert.rejects(client.execute('bad'), /QEMU refused 'bad' for domain 'a': Out of luck\.$/u)
  await assert.rejects(client.execute('silent', {}, { timeoutMs: 5 }), code('timeout'))
  const abort = new AbortController()
  const cancelled = client.execute('silent', {}, { signal: abort.signal })
  abort.abort()
  await assert.rejects(cancelled, code('cancelled'))
  say('{"return":{},"id":4}\n')
  const pending = client.execute('silent')
  stream.destroy()
  await assert.rejects(pending, code('unavailable'))
  await assert.rejects(client.execute('late'), code('unavailable'))
})

test('events are handed on with their time', async () => {
  const { stream, say } = peer()
  const events: QmpEvent[] = []
  const client = qmpClient(stream, { name: 'a', onEvent: (event) => events.push(event) })
  say(greeting)
  say(
    '{"timestamp":{"seconds":1,"microseconds":2000},"event":"SHUTDOWN","data":{"guest":true}}\n{"event":"X"}\n',
  )
  await client.greeting
  await new Promise(setImmediate)
  assert.deepEqual(events[0], { event: 'SHUTDOWN', data: { guest: true }, timeMs: 1002 })
  assert.equal(events[1]?.event, 'X')
  client.close()
})

for (const [what, said] of Object.entries({
  'an answer before the greeting': '{"return":{},"id":1}\n',
  'a second greeting': greeting + greeting,
  'an answer to nothing': `${greeting}{"return":{},"id":99}\n`,
  'an error without id': `${greeting}{"error":{"class":"GenericError","desc":"x"}}\n`,
  'no JSON': `${greeting}{"return"\n`,
  'a greeting without version': '{"QMP":{}}\n',
  'a line without end': Buffer.alloc(17 * 2 ** 20, 'x'),
}))
  test(`${what} closes the monitor and fails what is under way`, async () => {
    const { stream, say } = peer()
    const client = qmpClient(stream, { name: 'a' })
    const pending = client.execute('query-status')
    pending.catch(() => {})
    say(said)
    assert.ok((await client.closed) instanceof VisorError)
    await assert.rejects(pending, VisorError)
  })

test('no silence lasts for ever: a monitor that never greets is given up', async () => {
  const client = qmpClient(peer().stream, { name: 'a', timeoutMs: 5 })
  await assert.rejects(client.greeting, code('timeout'))
})

const honest = [
  greeting,
  '{"return":{},"id":1}\n',
  '{"return":[1,{"a":null}],"id":2}\n',
  '{"event":"STOP","timestamp":{"seconds":-1,"microseconds":-1}}\n',
  '{"error":{"class":"GenericError","desc":"no"},"id":3}\n',
].join('')

test('whatever comes, mutated or random, commands end with an answer or a VisorError', async () => {
  const mutation = fc.record({
    at: fc.nat(honest.length),
    bytes: fc.uint8Array({ maxLength: 6 }),
    cut: fc.nat(6),
  })
  const input = fc.oneof(
    fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }),
    fc.tuple(fc.array(mutation, { maxLength: 4 }), fc.integer({ min: 1, max: 64 })).map(([changes, step]) => {
      let bytes = Buffer.from(honest)
      for (const { at, bytes: put, cut } of changes)
        bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)])
      const pieces: Uint8Array[] = []
      for (let start = 0; start < bytes.length; start += step)
        pieces.push(bytes.subarray(start, start + step))
      return pieces
    }),
  )
  await fc.assert(
    fc.asyncProperty(input, async (pieces) => {
      const { stream, say, end } = peer()
      const client = qmpClient(stream, { name: 'fuzz' })
      const asked = [client.execute('one'), client.execute('two')]
      for (const piece of pieces) if (piece.length > 0 && !stream.destroyed) say(piece)
      if (!stream.destroyed) end()
      await client.closed
      for (const { status, ...rest } of await Promise.allSettled(asked))
        assert.ok(status === 'fulfilled' || ('reason' in rest && rest.reason instanceof VisorError))
    }),
    { numRuns: 500 },
  )
})
