/** Whole uploads and downloads over whatever breaks off on the way. */
import { type Progress, toVisorError, VisorError, type Volume } from '../model/index.ts'
import type { Volumes } from './parts/pools.ts'
import type { Content, ContentPart, CreateUploadOptions, DownloadOptions, Uploads } from './parts/uploads.ts'

/** After a break that nothing came of, this many times more, each after a longer pause. */
const mostTries = 8
const firstPauseMs = 250
const longestPauseMs = 15_000

interface Call {
  readonly signal?: AbortSignal
  readonly progress?: (progress: Progress) => void
}

export interface SendVolumeOptions extends Omit<CreateUploadOptions, 'onJob' | 'signal' | 'progress'>, Call {
  /** What is sent, from an offset on. */
  read(offset: number): Content
  /** It can be read again after a break. */
  readonly isRepeatable: boolean
}

/** Uploads a volume; goes on after a break, also with what a call before this one left. Fails as its steps do. */
export async function sendVolume(
  { uploads }: { readonly uploads: Required<Uploads> },
  pool: string,
  { read, isRepeatable, signal, progress, ...wanted }: SendVolumeOptions,
): Promise<Volume> {
  const call = signal ? { signal } : {}
  const total = wanted.sizeBytes
  const { id, offset: begun } = await uploads.create(pool, wanted)
  let offset = begun
  await goingOn(
    isRepeatable,
    signal,
    async () => {
      const before = offset
      offset = (await uploads.get(pool, id)).offset
      try {
        while (offset !== total) {
          const onProgress = ({ done = offset }: Progress) =>
            progress?.({ phase: 'sending', done, ...(total !== undefined && { total }), unit: 'bytes' })
          const sent = { offset, ...call, progress: onProgress }
          offset = (await uploads.append(pool, id, read(offset), sent).catch(ifMovedOn)).offset
          if (total === undefined) break
          if (offset < total) throw new VisorError('failed', `It ended after ${offset} of ${total} bytes.`)
        }
      } catch (error) {
        offset = await uploads.get(pool, id).then(
          (now) => now.offset,
          () => offset,
        )
        if (!isRepeatable) await uploads.remove(pool, id).catch(() => {})
        throw error
      }
      return before !== offset
    },
    () => offset,
  )
  progress?.({ phase: 'finishing' })
  return uploads.finish(pool, id, { ...call, ...(progress && { progress }) })
}

export interface ReceiveVolumeOptions extends Omit<DownloadOptions, 'ifMatch'>, Call {
  /** Told what comes before anything of it does. */
  onOpen?(content: {
    readonly entityTag: string
    readonly sizeBytes: number
    readonly lengthBytes: number
  }): Promise<void>
  /** Entity tag of what came before, when there is something. */
  readonly ifMatch?: string
  /** How much of it came before. */
  readonly skipBytes?: number
  /** Takes what comes, in order; called again after a break, when it must have taken all that came before. */
  write(content: Content): Promise<void>
}

export interface ReceivedVolume {
  readonly entityTag: string
  readonly lengthBytes: number
  readonly sha256?: string
}

/** Downloads a volume; goes on after a break. Fails with `conflict` when it changes meanwhile. */
export async function receiveVolume(
  { volumes }: { readonly volumes: Pick<Required<Volumes>, 'download'> },
  pool: string,
  volume: string,
  { onOpen, write, skipBytes = 0, signal, progress, ifMatch, ...wanted }: ReceiveVolumeOptions,
): Promise<ReceivedVolume> {
  const { offset: start = 0, lengthBytes: most, format } = wanted
  let came = skipBytes
  let first: ReceivedVolume | undefined
  let tag = ifMatch
  await goingOn(
    format === undefined,
    signal,
    async () => {
      const part = {
        ...(came + start > 0 && { offset: start + came }),
        ...(most !== undefined && { lengthBytes: most - came }),
      }
      const content = await volumes.download(pool, volume, {
        ...wanted,
        ...part,
        ...(tag !== undefined && { ifMatch: tag }),
        ...(signal && { signal }),
      })
      tag = content.entityTag
      const { entityTag, sizeBytes, sha256 } = content
      const lengthBytes = came + content.lengthBytes
      if (!first) {
        first = { entityTag, lengthBytes, ...(sha256 !== undefined && { sha256 }) }
        await onOpen?.({ entityTag, sizeBytes, lengthBytes }).catch(async (error) => {
          await content.close()
          throw error
        })
      }
      const counted = async function* (): AsyncGenerator<ContentPart> {
        for await (const part of content) {
          came += part instanceof Uint8Array ? part.length : part.holeBytes
          yield part
          progress?.({ phase: 'receiving', done: came, total: lengthBytes, unit: 'bytes' })
        }
      }
      await write(counted())
    },
    () => came,
  )
  if (!first) throw new VisorError('internal', 'A download ended before it began.')
  return first
}

/** What was on its way when the connection broke may still have come after the question how much did: ask again. */
function ifMovedOn(cause: unknown): never {
  if (cause instanceof VisorError && cause.code === 'conflict')
    throw new VisorError('unavailable', cause.message, { cause, remedy: cause.remedy })
  throw cause
}

/** Tries until it is done; what breaks off is tried again, so long as something came of it lately. */
async function goingOn(
  isRepeatable: boolean,
  signal: AbortSignal | undefined,
  attempt: () => Promise<unknown>,
  reached: () => number,
): Promise<void> {
  let tries = 0
  let before = reached()
  while (true)
    try {
      await attempt()
      return
    } catch (cause) {
      const error = toVisorError(cause)
      const isBroken = error.code === 'unavailable' || (error.code === 'cancelled' && !signal?.aborted)
      if (signal?.aborted || !isBroken || !isRepeatable) throw error
      tries = reached() > before ? 0 : tries + 1
      before = reached()
      if (tries > mostTries) throw error
      await pause(Math.min(firstPauseMs * 2 ** tries, longestPauseMs), signal)
    }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  const done = () => resolve()
  signal?.addEventListener('abort', done, { once: true })
  return promise.finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', done)
  })
}
