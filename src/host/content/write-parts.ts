/** Writes bytes to a file in the order in which they come. */
import type { FileHandle } from 'node:fs/promises'
import type { Content, ContentPart } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import { bytesPassed } from './young-garbage.ts'

/** What comes in small pieces is written in large ones. */
const batchBytes = 2 ** 19
/** So much of zeros is left out, where that is a hole. */
const pageBytes = 4_096
const zeros = Buffer.alloc(2 ** 20)

export interface WriteOptions {
  readonly offset: number
  /** Nothing is written from here on: more fails with `invalid-argument`. */
  readonly end: number
  readonly signal?: AbortSignal | undefined
  /** Makes a part of the file read as zeros. */
  readonly makeHole: (offset: number, length: number) => Promise<void>
  /** Whether zeros that are sent are written as holes. */
  readonly findsHoles: boolean
  /** Told up to where it is written. */
  readonly onWritten: (offset: number) => void
}

/**
 * Resolves to where it ended. The next bytes are taken while those before are written, and no more than that: who
 * sends faster waits. When the source fails, what came from it is written first.
 */
export async function writeParts(file: FileHandle, content: Content, options: WriteOptions): Promise<number> {
  const { end, signal, makeHole, findsHoles, onWritten } = options
  let at = options.offset
  /** One is filled while the other is written: the same memory again and again is quick. */
  const buffers = [Buffer.allocUnsafeSlow(batchBytes), Buffer.allocUnsafeSlow(batchBytes)]
  let batched = 0
  let writing: Promise<void> = Promise.resolve()

  /** One after another. */
  async function after(work: () => Promise<void>): Promise<void> {
    await writing
    writing = work()
    // Told by who waits for it next.
    writing.catch(() => {})
  }

  async function flush(): Promise<void> {
    const [start, length] = [at, batched]
    const [filled = Buffer.alloc(0)] = buffers
    if (length === 0) return
    buffers.reverse()
    batched = 0
    at += length
    await after(async () => {
      await writeAll(file, filled.subarray(0, length), start)
      onWritten(start + length)
    })
  }

  async function add(bytes: Uint8Array): Promise<void> {
    for (let taken = 0; taken < bytes.length; ) {
      const some = bytes.subarray(taken, taken + batchBytes - batched)
      buffers[0]?.set(some, batched)
      batched += some.length
      taken += some.length
      if (batched === batchBytes) await flush()
    }
    bytesPassed(bytes.length)
  }

  async function skip(length: number): Promise<void> {
    await flush()
    const start = at
    at += length
    await after(async () => {
      await makeHole(start, length)
      onWritten(start + length)
    })
  }

  const parts = orAborted(content[Symbol.asyncIterator](), signal)
  try {
    while (true) {
      const { done, value } = await parts.next()
      if (done) break
      const length = value instanceof Uint8Array ? value.length : value.holeBytes
      if (length > end - at - batched) throw tooMuch(end)
      if (!(value instanceof Uint8Array)) await skip(length)
      else if (findsHoles && isZero(value)) await skip(length)
      else await add(value)
    }
  } catch (error) {
    await flush().catch(() => {})
    await writing.catch(() => {})
    throw error
  } finally {
    parts.leave()
  }
  await flush()
  await writing
  return at
}

/** The parts, of which the next does not come any more once the signal aborts, whatever the source does. */
function orAborted(parts: AsyncIterator<ContentPart>, signal: AbortSignal | undefined) {
  let giveUp: ((error: VisorError) => void) | undefined
  const cancelled = () => new VisorError('cancelled', 'The upload was broken off.')
  const onAbort = () => giveUp?.(cancelled())
  signal?.addEventListener('abort', onAbort, { once: true })
  return {
    next(): Promise<IteratorResult<ContentPart, unknown>> {
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<ContentPart, unknown>>()
      giveUp = reject
      if (signal?.aborted) reject(cancelled())
      else parts.next().then(resolve, reject)
      return promise
    },
    leave() {
      signal?.removeEventListener('abort', onAbort)
      void parts.return?.(undefined).then(undefined, () => {})
    },
  }
}

function tooMuch(end: number): VisorError {
  return new VisorError('invalid-argument', `More bytes came than there is room for: it ends at ${end}.`, {
    remedy: 'Say its true size when it begins, or send less.',
  })
}

/** As long as a page at least: shorter ones are cheaper written. */
function isZero(bytes: Uint8Array): boolean {
  if (bytes.length < pageBytes || bytes.length > zeros.length || bytes[0] !== 0) return false
  return zeros.subarray(0, bytes.length).equals(bytes)
}

async function writeAll(file: FileHandle, bytes: Uint8Array, start: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, start + done)
    done += bytesWritten
  }
}
