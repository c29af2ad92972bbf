/** Reads the bytes of a file in order; holes are told, not read. */
import type { FileHandle } from 'node:fs/promises'
import type { ContentPart } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import { extentAt } from '../sparse-file.ts'
import { bytesPassed } from './young-garbage.ts'

const chunkBytes = 2 ** 20

export interface ReadOptions {
  readonly offset: number
  readonly end: number
  readonly signal?: AbortSignal | undefined
}

/**
 * The next part is read while the one before is on its way. Fails with `failed` when the file ends before `end`,
 * `cancelled`.
 */
export async function* readParts(
  file: FileHandle,
  { offset, end, signal }: ReadOptions,
): AsyncGenerator<ContentPart> {
  let at = offset
  while (at < end) {
    const { length, isHole } = await extentAt(file.fd, at, end)
    if (isHole) yield { holeBytes: length }
    else yield* readData(file, at, at + length, signal)
    at += length
  }
}

async function* readData(file: FileHandle, start: number, end: number, signal: AbortSignal | undefined) {
  let at = start
  let next: Promise<Buffer> | undefined = readAt(file, at, end)
  try {
    while (next) {
      const bytes: Buffer = await next
      next = undefined
      if (signal?.aborted) throw new VisorError('cancelled', 'The download was given up.')
      at += bytes.length
      if (at < end) next = readAt(file, at, end)
      yield bytes
      bytesPassed(bytes.length)
    }
  } finally {
    // Who leaves closes the file, which nobody may read from then.
    await next?.catch(() => {})
  }
}

async function readAt(file: FileHandle, at: number, end: number): Promise<Buffer> {
  const length = Math.min(chunkBytes, end - at)
  const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(length), 0, length, at)
  if (bytesRead === 0) throw new VisorError('failed', 'The file became shorter while it was read.')
  return buffer.subarray(0, bytesRead)
}
