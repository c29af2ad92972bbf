import type { ByteStream } from '../../driver/index.ts'

/** Output that is kept for those who come later, bytes. */
const scrollbackLimit = 64 * 1024
/** A viewer that falls behind by more than this misses the oldest, bytes. */
const viewerLimit = 1024 * 1024

/** The wire between a guest and those who look: all see the output, what they type is put together. */
export interface SerialPort {
  /** The guest prints. */
  print(text: string): void
  /** What was printed, as far as it is kept. */
  log(maxBytes?: number): Uint8Array
  /** Connects one more viewer; `onInput` hears what it types. */
  open(scrollback: boolean, onInput: (bytes: Uint8Array) => void): ByteStream
  /** Unplugs all viewers. */
  hangUp(): void
}

export function serialPort(before: Uint8Array = new Uint8Array()): SerialPort {
  let kept: Buffer[] = before.length ? [Buffer.from(before)] : []
  let keptBytes = before.length
  const viewers = new Set<Viewer>()

  function log(maxBytes = scrollbackLimit): Uint8Array {
    const all = Buffer.concat(kept)
    kept = [all.subarray(-scrollbackLimit)]
    keptBytes = kept[0]?.length ?? 0
    return maxBytes === 0 ? Buffer.alloc(0) : all.subarray(-Math.min(maxBytes, scrollbackLimit))
  }

  return {
    log,
    print(text) {
      const bytes = Buffer.from(text)
      kept.push(bytes)
      keptBytes += bytes.length
      if (keptBytes > 2 * scrollbackLimit) log()
      for (const viewer of viewers) viewer.put(bytes)
    },
    open(scrollback, onInput) {
      const viewer = new Viewer(onInput, () => viewers.delete(viewer))
      viewers.add(viewer)
      const past = scrollback ? log() : new Uint8Array()
      if (past.length) viewer.put(past)
      return viewer
    },
    hangUp() {
      for (const viewer of [...viewers]) void viewer.close()
    },
  }
}

class Viewer implements ByteStream {
  private queue: Uint8Array[] = []
  private queuedBytes = 0
  private ended = false
  private wake: (() => void) | undefined
  private readonly onInput: (bytes: Uint8Array) => void
  private readonly onEnd: () => void

  constructor(onInput: (bytes: Uint8Array) => void, onEnd: () => void) {
    this.onInput = onInput
    this.onEnd = onEnd
  }

  put(bytes: Uint8Array): void {
    if (this.ended) return
    this.queue.push(bytes)
    this.queuedBytes += bytes.length
    while (this.queuedBytes > viewerLimit) this.queuedBytes -= this.queue.shift()?.length ?? 0
    this.wake?.()
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (!this.ended) this.onInput(bytes)
  }

  async close(): Promise<void> {
    this.ended = true
    this.onEnd()
    this.wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      while (true) {
        while (this.queue.length > 0) {
          const bytes = this.queue.shift() ?? new Uint8Array()
          this.queuedBytes -= bytes.length
          yield bytes
        }
        if (this.ended) return
        await new Promise<void>((resolve) => {
          this.wake = resolve
        })
      }
    } finally {
      await this.close()
    }
  }
}
