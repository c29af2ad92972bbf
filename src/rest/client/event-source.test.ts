import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Event } from '../../model/index.ts'
import { formatEvent } from '../server/events.ts'
import { parseEvent, readMessages } from './event-source.ts'

async function read(chunks: readonly Uint8Array[]): Promise<(Event | undefined)[]> {
  const events: (Event | undefined)[] = []
  for await (const message of readMessages(ReadableStream.from(chunks))) events.push(parseEvent(message))
  return events
}

const event = (name: string, id: string): Event => ({
  id,
  time: 'now',
  kind: 'domain',
  type: 'started',
  name,
})

test('events arrive as they were sent, however the bytes are cut', async () => {
  const names = fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(names, fc.integer({ min: 1, max: 9 }), async (list, size) => {
      const events = list.map((name, index) => event(name, `e-${index}`))
      const bytes = new TextEncoder().encode(events.map(formatEvent).join(''))
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      )
      assert.deepEqual(await read(chunks), events)
    }),
  )
})

test('comments, other line ends and what is no event are passed over', async () => {
  const text =
    ': hello\n\nid: 1\r\ndata: {"kind":"daemon","type":"resync","time":"t"}\r\n\r\ndata: nonsense\n\n'
  const [comment, resync, nonsense] = await read([new TextEncoder().encode(text)])
  assert.equal(comment, undefined)
  assert.equal(resync?.type, 'resync')
  assert.equal(nonsense, undefined)
})
