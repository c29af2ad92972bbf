/** Files of this machine on their way to volumes, and back. */
import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import {
  type CompleteConnection,
  type Content,
  type ContentPart,
  type DownloadFormat,
  receiveVolume,
  sendVolume,
} from '../driver/index.ts'
import { errorNumber, hashFile, readParts, syncDirectory, writeParts } from '../host/index.ts'
import { type Progress, VisorError, type Volume, type VolumeFormat } from '../model/index.ts'
import type { VolumePlace } from './volumes.ts'

interface Call {
  readonly signal: AbortSignal
  readonly progress: (progress: Progress) => void
}

export const standardStream = '-'
const sectorBytes = 512
const emptyBytes = 2 ** 20
const zeros = Buffer.alloc(emptyBytes)

export interface SendOptions extends Call {
  readonly format?: VolumeFormat | undefined
  readonly replace?: boolean | undefined
  /** SHA-256 that it must have, or `true` for that of the file. */
  readonly checksum?: string | true | undefined
}

/** The digest of `sha256:...`, or of hexadecimal alone. Fails with `invalid-argument`. */
export function parseChecksum(text: string | true | undefined): string | true | undefined {
  if (text === undefined || text === true) return text
  const digest = /^(?:sha-?256:)?(?<digest>[0-9a-f]{64})$/iu.exec(text)?.groups?.digest
  if (digest !== undefined) return digest.toLowerCase()
  throw new VisorError('invalid-argument', `'${text}' is no SHA-256.`, {
    remedy: "Write 'sha256:' and 64 hexadecimal digits, as sha256sum prints them.",
  })
}

/** Sends a file, or the standard input, which becomes the volume when all of it has come. */
export async function sendFile(
  connection: CompleteConnection,
  path: string,
  { pool, name }: VolumePlace,
  { checksum, format, replace, ...call }: SendOptions,
): Promise<Volume> {
  const wanted = { volume: name, ...(format && { format }), ...(replace && { replace }), ...call }
  if (path === standardStream) {
    if (checksum === true) throw noChecksum()
    const read = () => standardInput()
    return sendVolume(connection, pool, {
      ...wanted,
      ...(checksum && { sha256: checksum }),
      read,
      isRepeatable: false,
    })
  }
  const file = await openFile(path)
  try {
    const { size, blocks, mtimeMs, ino, dev } = await file.stat()
    if (checksum === true) call.progress({ phase: 'reading the file' })
    const sha256 = checksum === true ? await hashFile(path, call.signal) : checksum
    return await sendVolume(connection, pool, {
      ...wanted,
      sizeBytes: size,
      allocationBytes: Math.min(size, blocks * sectorBytes),
      // Another file, or the same one changed, is another upload.
      source: [dev, ino, size, mtimeMs].join(':'),
      ...(sha256 !== undefined && { sha256 }),
      read: (offset) => readParts(file, { offset, end: size, signal: call.signal }),
      isRepeatable: true,
    })
  } finally {
    await file.close()
  }
}

/** The bytes of a file, or of the standard input, from its beginning. */
export async function* readSource(
  path: string,
  mostBytes: number,
  signal: AbortSignal,
): AsyncGenerator<ContentPart> {
  if (path === standardStream) {
    yield* standardInput(mostBytes)
    return
  }
  const file = await openFile(path)
  try {
    const { size } = await file.stat()
    yield* readParts(file, { offset: 0, end: Math.min(size, mostBytes), signal })
  } finally {
    await file.close()
  }
}

async function* standardInput(mostBytes = Number.POSITIVE_INFINITY): Content & AsyncGenerator<Uint8Array> {
  let left = mostBytes
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    yield left < chunk.length ? chunk.subarray(0, left) : chunk
    left -= chunk.length
    if (left <= 0) return
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    const missing = errorNumber(cause) === 'ENOENT'
    const why = missing ? 'there is no such file' : cause instanceof Error ? cause.message : String(cause)
    throw new VisorError('invalid-argument', `'${path}' cannot be read: ${why}.`, { cause })
  }
}

export interface ReceiveOptions extends Call {
  readonly format?: DownloadFormat | undefined
  readonly offset?: number | undefined
  readonly lengthBytes?: number | undefined
  readonly checksum?: string | true | undefined
  /** A file there is may be replaced. */
  readonly force?: boolean | undefined
}

/** What came, and how much. */
export interface Got {
  readonly bytes: number
  readonly sha256?: string | undefined
}

/** What is downloaded from: of a connection only this. */
export interface DownloadSource {
  readonly volumes: Pick<CompleteConnection['volumes'], 'download'>
}

/** Gets a volume into a file, which is there when it is whole; or to the standard output. */
export async function receiveFile(
  connection: DownloadSource,
  { pool, name }: VolumePlace,
  path: string,
  options: ReceiveOptions,
): Promise<Got> {
  const { format, offset, lengthBytes, checksum, signal, progress, force = false } = options
  const isPart = offset !== undefined || lengthBytes !== undefined
  if (checksum !== undefined && isPart)
    throw new VisorError('invalid-argument', 'A checksum is of the whole volume, not of a part.', {
      remedy: 'Leave out --checksum, or --offset and --length.',
    })
  const wanted = {
    ...(format && { format }),
    ...(offset !== undefined && { offset }),
    ...(lengthBytes !== undefined && { lengthBytes }),
    ...(checksum !== undefined && { checksum: true }),
    signal,
    progress,
  }
  if (path === standardStream) {
    const hash = checksum === undefined ? undefined : createHash('sha256')
    const { lengthBytes: bytes, sha256 } = await receiveVolume(connection, pool, name, {
      ...wanted,
      async write(content) {
        for await (const part of content) await writeOut(part, hash)
      },
    })
    compare(hash?.digest('hex'), checksum === true ? sha256 : checksum)
    return { bytes, sha256 }
  }
  const target = resolve(path)
  if (!force) await refuseThere(target)
  return receiveInto(connection, { pool, name }, target, { ...wanted, checksumWanted: checksum, isPart })
}

interface IntoOptions extends Call {
  readonly format?: DownloadFormat
  readonly offset?: number
  readonly lengthBytes?: number
  readonly checksum?: boolean
  readonly checksumWanted: string | true | undefined
  readonly isPart: boolean
}

async function receiveInto(
  connection: DownloadSource,
  { pool, name }: VolumePlace,
  target: string,
  { checksumWanted, isPart, ...wanted }: IntoOptions,
): Promise<Got> {
  const isRepeatable = wanted.format === undefined && !isPart
  const begun = isRepeatable ? await findBegun(target) : undefined
  const { entityTag = crypto.randomUUID() } = begun ?? {}
  let partial = begun?.path ?? partialPath(target, entityTag)
  const file = await open(partial, begun ? 'r+' : 'wx', 0o600)
  const { size: skipBytes } = await file.stat()
  let done = skipBytes
  let keeps = false
  try {
    const got = await receiveVolume(connection, pool, name, {
      ...wanted,
      ...(begun && { ifMatch: begun.entityTag, skipBytes }),
      async onOpen(content) {
        if (!isRepeatable) return
        // By its name, who comes after a break finds what it is a part of.
        const named = partialPath(target, content.entityTag)
        await rename(partial, named)
        partial = named
        keeps = true
      },
      async write(content) {
        await writeParts(file, content, {
          offset: done,
          end: Number.MAX_SAFE_INTEGER,
          findsHoles: false,
          makeHole: (at, length) => file.truncate(at + length),
          onWritten: (at) => {
            done = at
          },
        })
      },
    })
    await file.sync()
    if (checksumWanted !== undefined) {
      wanted.progress({ phase: 'verifying' })
      keeps = false
      compare(await hashFile(partial, wanted.signal), checksumWanted === true ? got.sha256 : checksumWanted)
    }
    await rename(partial, target)
    await syncDirectory(dirname(target))
    return { bytes: got.lengthBytes, sha256: got.sha256 }
  } catch (error) {
    const isOver = error instanceof VisorError && error.code === 'conflict'
    if (!keeps || isOver) await rm(partial, { force: true })
    if (isOver && begun)
      return receiveInto(connection, { pool, name }, target, { ...wanted, checksumWanted, isPart })
    throw error
  } finally {
    await file.close()
  }
}

const partialPath = (target: string, entityTag: string): string =>
  join(dirname(target), `.${basename(target)}.${entityTag}.part`)

/** What a command before this one left. */
async function findBegun(target: string): Promise<{ path: string; entityTag: string } | undefined> {
  const start = `.${basename(target)}.`
  for (const name of await readdir(dirname(target)).catch(() => []))
    if (name.startsWith(start) && name.endsWith('.part')) {
      const entityTag = name.slice(start.length, -'.part'.length)
      if (/^[0-9a-z]+-[0-9a-z]+-[0-9a-z]+$/u.test(entityTag))
        return { path: join(dirname(target), name), entityTag }
    }
  return undefined
}

export async function refuseThere(target: string): Promise<void> {
  const file = await open(target, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined)
  if (!file) return
  await file.close()
  throw new VisorError('already-exists', `There is already a file '${target}'.`, {
    remedy: 'Choose another name, or let it be replaced: --force.',
  })
}

/** Waits for who reads. */
async function writeOut(part: ContentPart, hash: Hash | undefined): Promise<void> {
  if (part instanceof Uint8Array) {
    hash?.update(part)
    return writeChunk(part)
  }
  for (let left = part.holeBytes; left > 0; left -= emptyBytes) {
    const chunk = left < emptyBytes ? zeros.subarray(0, left) : zeros
    hash?.update(chunk)
    await writeChunk(chunk)
  }
}

function writeChunk(bytes: Uint8Array): Promise<void> {
  const { promise, resolve: done, reject } = Promise.withResolvers<void>()
  process.stdout.write(bytes, (error) => (error ? reject(error) : done()))
  return promise
}

function compare(found: string | undefined, wanted: string | undefined): void {
  if (found === wanted) return
  throw new VisorError('failed', `What came has the SHA-256 ${found}, not ${wanted}.`, {
    remedy: 'Get it again; see that the volume and the checksum belong together.',
  })
}

function noChecksum(): VisorError {
  return new VisorError(
    'invalid-argument',
    'The checksum of the standard input is not known before its end.',
    {
      remedy: "Say it: --checksum sha256:..., as 'sha256sum FILE' prints it.",
    },
  )
}
