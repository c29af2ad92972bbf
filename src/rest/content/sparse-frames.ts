/**
 * Bytes of which long runs of zeros are not sent. A stream of frames, each a header of 16 bytes (big endian: kind, 32
 * bits; 32 bits of zero; length, 64 bits) and, for data, so many bytes:
 *
 *     1 data   the bytes follow
 *     2 hole   so many zeros, of which none follow
 *     3 end    nothing follows; `length` is that of all data and holes before
 *
 * A stream without its end was broken off.
 */
import type { Content, ContentPart } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'

const headerBytes = 16
const data = 1
const hole = 2
const end = 3
/** Longer ones are sent as several; one that says that it is longer is not ours. */
const longestData = 2 ** 26

/** Frames of these parts. */
export async function* encodeSparse(content: Content): AsyncGenerator<Uint8Array<ArrayBufferLike>> {
  let total = 0
  for await (const part of content) {
    if (part instanceof Uint8Array) {
      for (let at = 0; at < part.length; at += longestData) {
        const bytes = part.subarray(at, at + longestData)
        yield header(data, bytes.length)
        yield bytes
      }
      total += part.length
    } else {
      yield header(hole, part.holeBytes)
      total += part.holeBytes
    }
  }
  yield header(end, total)
}

function header(kind: number, length: number): Uint8Array {
  const bytes = new Uint8Array(headerBytes)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, kind)
  view.setBigUint64(8, BigInt(length))
  return bytes
}

/**
 * The parts in these frames. Fails with `invalid-argument` for what are none, and `unavailable` when they were broken
 * off; all that came before is given first.
 */
export async function* decodeSparse(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ContentPart> {
  const partial = new Uint8Array(headerBytes)
  let filled = 0
  let left = 0
  let total = 0
  let ended = false
  for await (const chunk of chunks) {
    let at = 0
    while (at < chunk.length) {
      if (ended) throw noFrame('something follows its end')
      if (left > 0) {
        const bytes = chunk.subarray(at, at + left)
        left -= bytes.length
        at += bytes.length
        yield bytes
        continue
      }
      const more = chunk.subarray(at, at + headerBytes - filled)
      partial.set(more, filled)
      filled += more.length
      at += more.length
      if (filled < headerBytes) break
      filled = 0
      const { kind, length } = readHeader(partial)
      if (kind === end) {
        if (length !== total) throw noFrame(`it says that it has ${length} bytes, and has ${total}`)
        ended = true
        continue
      }
      total += length
      if (!Number.isSafeInteger(total)) throw noFrame('it is longer than anything can be')
      if (kind === data) left = length
      else yield { holeBytes: length }
    }
  }
  if (!ended) throw new VisorError('unavailable', 'The bytes of the volume broke off.')
}

function readHeader(bytes: Uint8Array): { kind: number; length: number } {
  const view = new DataView(bytes.buffer)
  const kind = view.getUint32(0)
  const length = view.getBigUint64(8)
  if (view.getUint32(4) !== 0 || kind < data || kind > end) throw noFrame('a frame is of no known kind')
  if (length > BigInt(kind === data ? longestData : Number.MAX_SAFE_INTEGER))
    throw noFrame('a frame is too long')
  if (length === 0n && kind !== end) throw noFrame('a frame is empty')
  return { kind, length: Number(length) }
}

function noFrame(what: string): VisorError {
  return new VisorError('invalid-argument', `The body is no sparse stream: ${what}.`, {
    remedy: "Send the bytes as they are, as 'application/octet-stream'.",
  })
}
