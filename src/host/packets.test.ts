import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { streamPackets } from './packets.ts'

const packet = (...bytes: number[]) => Buffer.from([0, 0, 0, bytes.length, ...bytes])
const settled = () => new Promise((resolve) => setImmediate(resolve))

test('packets on a stream are put together again, however they come', async () => {
  const stream = new PassThrough()
  const received: number[][] = []
  streamPackets(stream, (bytes) => received.push([...bytes]))
  const all = Buffer.concat([packet(1, 2, 3), packet(4), packet(5, 6)])
  for (const byte of all.subarray(0, 9)) stream.write(Buffer.from([byte]))
  stream.write(all.subarray(9))
  await settled()
  assert.deepEqual(received, [[1, 2, 3], [4], [5, 6]])
})

test('a packet that is longer than there are ends the stream', async () => {
  const stream = new PassThrough()
  streamPackets(stream, () => assert.fail('there is no packet'))
  stream.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 1]))
  await settled()
  assert.ok(stream.destroyed)
})
