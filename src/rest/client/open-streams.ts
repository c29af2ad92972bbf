import type { ByteStream } from '../../driver/index.ts'

/** The streams that are open, so that they end with their connection. */
export interface OpenStreams {
  /** The same stream, known until it ends. */
  add(stream: ByteStream): ByteStream
  close(): Promise<void>
}

export function openStreams(): OpenStreams {
  const open = new Set<ByteStream>()
  return {
    add(stream) {
      open.add(stream)
      return {
        write: (bytes) => stream.write(bytes),
        async close() {
          open.delete(stream)
          await stream.close()
        },
        async *[Symbol.asyncIterator]() {
          yield* stream
          open.delete(stream)
        },
      }
    },
    async close() {
      await Promise.all([...open].map((stream) => stream.close()))
      open.clear()
    },
  }
}
