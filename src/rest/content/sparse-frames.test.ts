import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ContentPart } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import { decodeSparse, encodeSparse } from './sparse-frames.ts'

async function* each<T>(values: Iterable<T>): AsyncGenerator<T> {
  yield* values
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const value of values) all.push(value)
  return all
}

/** Bytes of the parts, with holes as their length. */
function flat(parts: readonly ContentPart[]): (number | string)[] {
  return parts.flatMap((part): (number | string)[] =>
    part instanceof Uint8Array ? [...part] : [`hole ${part.holeBytes}`],
  )
}

const part = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 50 }),
  fc.record({ holeBytes: fc.integer({ min: 1, max: 2 ** 40 }) }),
)

/** The same bytes in other pieces. */
function split(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  let at = 0
  for (let index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

test('what is encoded is decoded, however it is cut on the way', async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 })
  await fc.assert(
    fc.asyncProperty(fc.array(part), sizes, async (parts, cuts) => {
      const encoded = Buffer.concat(await collect(encodeSparse(each<ContentPart>(parts))))
      assert.deepEqual(flat(await collect(decodeSparse(each(split(encoded, cuts))))), flat(parts))
      for (const length of [0, encoded.length - 1, encoded.length - 16])
        await assert.rejects(
          collect(decodeSparse(each([encoded.subarray(0, length)]))),
          (error) => error instanceof VisorError && error.code === 'unavailable',
        )
    }),
  )
})

test('what is no stream of frames is refused', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 60 })), async (chunks) => {
      await collect(decodeSparse(each(chunks))).catch((error: unknown) =>
        assert.ok(error instanceof VisorError && ['invalid-argument', 'unavailable'].includes(error.code)),
      )
    }),
  )
  const frame = (kind: number, length: bigint, zero = 0) => {
    const bytes = Buffer.alloc(16)
    bytes.writeUInt32BE(kind, 0)
    bytes.writeUInt32BE(zero, 4)
    bytes.writeBigUInt64BE(length, 8)
    return bytes
  }
  const largest = BigInt(Number.MAX_SAFE_INTEGER)
  for (const frames of [
    [frame(0, 1n)],
    [frame(4, 1n)],
    [frame(2, 1n, 1)],
    [frame(2, 2n ** 63n)],
    [frame(1, 2n ** 27n)],
    [frame(1, 0n)],
    [frame(2, 5n), frame(3, 4n)],
    [frame(2, largest), frame(2, largest)],
    [frame(3, 0n), frame(3, 0n)],
  ])
    await assert.rejects(
      collect(decodeSparse(each(frames))),
      (error) => error instanceof VisorError && error.code === 'invalid-argument',
    )
})
