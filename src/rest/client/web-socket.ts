import type { ByteStream } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'

/** Bytes on their way are held back above this. */
const highWaterBytes = 1 << 20
const pollMs = 5

/**
 * What is needed of a WebSocket; those of browsers, of Node and of `ws` have it. One that can `pause` and
 * `resume` (that of `ws`) holds the sender back while nobody reads.
 */
export interface ByteSocket {
  binaryType: string
  readonly readyState: number
  readonly bufferedAmount: number
  send(bytes: Uint8Array<ArrayBuffer>): void
  close(code?: number): void
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void
  addEventListener(
    type: 'open' | 'error' | 'close',
    listener: () => void,
    options?: { readonly once: boolean },
  ): void
  pause?(): void
  resume?(): void
}

/** Resolves when it is open; fails with `unavailable` when it does not open. */
export function openByteStream(socket: ByteSocket): Promise<ByteStream> {
  socket.binaryType = 'arraybuffer'
  const stream = new SocketStream(socket)
  const { promise, resolve, reject } = Promise.withResolvers<ByteStream>()
  socket.addEventListener('open', () => resolve(stream), { once: true })
  const refuse = () => reject(new VisorError('unavailable', 'The console could not be opened.'))
  socket.addEventListener('error', refuse, { once: true })
  socket.addEventListener('close', refuse, { once: true })
  return promise
}

class SocketStream implements ByteStream {
  private readonly socket: ByteSocket
  private chunks: Uint8Array[] = []
  private held = 0
  private ended = false
  private wake: (() => void) | undefined

  constructor(socket: ByteSocket) {
    this.socket = socket
    socket.addEventListener('message', ({ data }) => this.put(data))
    socket.addEventListener('close', () => this.end())
    socket.addEventListener('error', () => this.end())
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.socket.readyState !== 1) throw new VisorError('unavailable', 'The console is closed.')
    this.socket.send(bytes as Uint8Array<ArrayBuffer>)
    // There is no event for a drained socket in the standard interface.
    while (this.socket.bufferedAmount > highWaterBytes && this.socket.readyState === 1)
      await new Promise<void>((resolve) => setTimeout(resolve, pollMs))
  }

  async close(): Promise<void> {
    this.end()
    this.socket.close(1000)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (true) {
      const batch = this.chunks
      this.chunks = []
      this.held = 0
      this.socket.resume?.()
      yield* batch
      if (this.chunks.length > 0) continue
      if (this.ended) return
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
      this.wake = undefined
    }
  }

  private put(data: unknown): void {
    if (this.ended) return
    const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new TextEncoder().encode(String(data))
    this.chunks.push(bytes)
    this.held += bytes.byteLength
    if (this.held > highWaterBytes) this.socket.pause?.()
    this.wake?.()
  }

  private end(): void {
    this.ended = true
    this.wake?.()
  }
}
