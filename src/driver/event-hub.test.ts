import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Event } from '../model/index.ts'
import { eventHub } from './event-hub.ts'

const take = async (events: AsyncIterable<Event>, count: number) => {
  const taken: Event[] = []
  if (count === 0) return taken
  for await (const event of events) if (taken.push(event) === count) break
  return taken
}
const started = { kind: 'domain', type: 'started' } as const

test('listeners hear what comes after they began, in order, with ids', async () => {
  const hub = eventHub('e')
  hub.emit({ ...started, name: 'before' })
  const heard = take(hub.listen(), 2)
  hub.emit({ ...started, name: 'one' })
  hub.emit({ ...started, name: 'two' })
  assert.deepEqual(
    (await heard).map(({ id, name }) => [id, name]),
    [
      ['e-2', 'one'],
      ['e-3', 'two'],
    ],
  )
})

test('events are replayed from an id; of an unknown or foreign id a resync is asked for', async () => {
  const hub = eventHub('e')
  for (const name of ['one', 'two', 'three']) hub.emit({ ...started, name })
  const names = async (after: string, count: number) =>
    (await take(hub.listen({ after }), count)).map(({ name, type }) => name ?? type)
  assert.deepEqual(await names('e-1', 2), ['two', 'three'])
  assert.deepEqual(await names('e-0', 3), ['one', 'two', 'three'])
  for (const after of ['other-1', 'e-99', 'nonsense', '', 'e-1.5'])
    assert.deepEqual(await names(after, 1), ['resync'], after)
})

test('what was forgotten asks for a resync, what is kept is replayed', async () => {
  const hub = eventHub('e')
  for (let number = 1; number <= 13_000; number++) hub.emit({ ...started, name: String(number) })
  assert.equal((await take(hub.listen({ after: 'e-1' }), 1))[0]?.type, 'resync')
  assert.equal((await take(hub.listen({ after: 'e-12999' }), 1))[0]?.name, '13000')
})

test('a listener that does not listen gets a resync instead of endless memory', async () => {
  const hub = eventHub('e')
  const slow = hub.listen()
  for (let number = 0; number <= 10_000; number++) hub.emit(started)
  assert.deepEqual(
    (await take(slow, 1)).map(({ type }) => type),
    ['resync'],
  )
})

test('listening ends when its signal aborts or the hub closes', async () => {
  const hub = eventHub()
  const abort = new AbortController()
  const first = Array.fromAsync(hub.listen({ signal: abort.signal }))
  const second = Array.fromAsync(hub.listen())
  hub.emit(started)
  abort.abort()
  assert.equal((await first).length, 1)
  hub.close()
  assert.equal((await second).length, 1)
  assert.deepEqual(await Array.fromAsync(hub.listen()), [])
})
