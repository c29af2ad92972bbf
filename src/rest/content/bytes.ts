/** Bytes of volumes as streams of the web, and back. */
import type { Content } from '../../driver/index.ts'

const zeroBytes = 2 ** 18
const zeros = new Uint8Array(zeroBytes)

/** As they are: zeros for holes. */
export async function* encodePlain(content: Content): AsyncGenerator<Uint8Array<ArrayBufferLike>> {
  for await (const part of content) {
    if (part instanceof Uint8Array) yield part
    else
      for (let left = part.holeBytes; left > 0; left -= zeroBytes)
        yield left < zeroBytes ? zeros.subarray(0, left) : zeros
  }
}

/** A stream that is filled no faster than it is read. */
export function toStream(chunks: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await iterator.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        await iterator.return?.(undefined)
      },
    },
    { highWaterMark: 0 },
  )
}

/** The chunks of a stream; who leaves cancels it. */
export async function* fromStream(stream: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (!stream) return
  const reader = stream.getReader()
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
