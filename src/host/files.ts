/** Files and directories, written so that a crash at any moment leaves the old or the new, never half. */
import { constants } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { VisorError } from '../model/index.ts'

/** The code of a system error, such as `ENOENT`; undefined for other errors. */
export function errorNumber(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** What `work` gives, or undefined when what it works on does not exist. */
export async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The error for a file that cannot be written: which one, why, and what to do. `what` begins the sentence. */
export function cannotWrite(
  path: string,
  cause: unknown,
  { what, remedy }: { readonly what: string; readonly remedy?: string },
): VisorError {
  if (cause instanceof VisorError && cause.code !== 'internal') return cause
  const isFull = errorNumber(cause) === 'ENOSPC'
  const reason = isFull ? 'no space is left there' : cause instanceof Error ? cause.message : String(cause)
  const usual = isFull ? 'Make room there.' : 'See that there is room and permission to write there.'
  return new VisorError('failed', `${what} cannot be written to '${path}': ${reason}.`, {
    cause,
    remedy: remedy ?? usual,
  })
}

export interface WriteOptions {
  readonly mode?: number
  /** Survives a power cut when it resolves: with it, file and directory are synced. */
  readonly durable?: boolean
}

/** Replaces a file at once: readers see the old content or the new. */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  { mode = 0o600, durable = true }: WriteOptions = {},
): Promise<void> {
  const temporary = `${path}.${process.pid}.${temporaryNumber++}.tmp`
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(content)
      if (durable) await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    if (durable) await syncDirectory(dirname(path))
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

let temporaryNumber = 0

/** Makes what was created, renamed or removed in a directory survive a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** The JSON in a file; undefined when the file is missing or no JSON. */
export async function readJsonFile(path: string, maxBytes: number = 16 * 2 ** 20): Promise<unknown> {
  const size = (await unlessMissing(stat(path)))?.size
  if (size === undefined || size > maxBytes) return undefined
  const text = await unlessMissing(readFile(path, 'utf8'))
  try {
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * A file that somebody else made, in a folder of theirs: no link is followed, nothing but a file is read, and
 * no more than `maxBytes`. Fails with `failed` for anything else.
 */
export async function readForeignFile(path: string, maxBytes: number): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const found = await file.stat()
    if (!found.isFile() || found.size > maxBytes)
      throw new VisorError('failed', `'${path}' is no file of at most ${maxBytes} bytes.`)
    const buffer = Buffer.alloc(found.size)
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** Names in a directory; none when it is missing. */
export async function listDirectory(path: string): Promise<string[]> {
  return (await unlessMissing(readdir(path))) ?? []
}

/** Makes a directory for its owner alone, and those above it. */
export async function makePrivateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
}

/** The longest path of a unix socket on Linux, unix(7): 108 bytes with the end mark. */
export const maxSocketPath = 107

/** Fails with `invalid-argument` when a unix socket cannot have this path. */
export function checkSocketPath(path: string): void {
  const length = Buffer.byteLength(path)
  if (length > maxSocketPath)
    throw new VisorError(
      'invalid-argument',
      `The path of the socket '${path}' has ${length} bytes; ${maxSocketPath} are the most there can be.`,
      { remedy: 'Choose a runtime directory with a shorter path (VISOR_RUNTIME_DIR).' },
    )
}
