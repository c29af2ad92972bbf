import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'

/**
 * Files that tell what the host is: /proc, /sys, /etc. What is missing, or may not be read, is `undefined` or
 * empty: to a question about the host both are answers.
 */
export interface HostFiles {
  /** The text of a small file. */
  read(path: string): string | undefined
  /** Bytes of a file or device; fewer than `length` at its end. */
  readBytes(
    path: string,
    options?: { readonly offset?: number; readonly length?: number },
  ): Buffer | undefined
  /** Names in a directory, sorted. */
  list(path: string): string[]
  exists(path: string): boolean
  /** Where a symbolic link points. */
  readLink(path: string): string | undefined
  /** Whether this process may use it so. */
  permits(path: string, access: 'read' | 'write' | 'read-write' | 'execute'): boolean
  /** Number of the group that owns it. */
  groupOf(path: string): number | undefined
}

/** More than any file of /proc or /sys that is read here, and a bound when one is not what it seems. */
const maxBytes = 8 * 2 ** 20
const modes = {
  read: constants.R_OK,
  write: constants.W_OK,
  'read-write': constants.R_OK | constants.W_OK,
  execute: constants.X_OK,
}

/** The files of this host; with `root`, of the tree recorded there. */
export function hostFiles(root = '/'): HostFiles {
  const at = (path: string) => join(root, path)
  const readBytes: HostFiles['readBytes'] = (path, { offset, length = maxBytes } = {}) =>
    attempt(() => readSome(at(path), offset, length))
  return {
    readBytes,
    read: (path) => readBytes(path)?.toString('utf8'),
    list: (path) => attempt(() => readdirSync(at(path)).sort()) ?? [],
    readLink: (path) => attempt(() => readlinkSync(at(path))),
    exists: (path) => attempt(() => statSync(at(path))) !== undefined,
    permits: (path, access) => attempt(() => accessSync(at(path), modes[access]) ?? true) ?? false,
    groupOf: (path) => attempt(() => statSync(at(path)).gid),
  }
}

/** Files of /proc have no size beforehand, so they are read until they end. */
function readSome(path: string, offset: number | undefined, length: number): Buffer {
  // Not blocking: a FIFO somebody put there must not hold us up.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const chunks: Buffer[] = []
    let total = 0
    while (total < length) {
      const chunk = Buffer.alloc(Math.min(length - total, 65536))
      const count = readChunk(fd, chunk, offset === undefined ? null : offset + total)
      if (count === 0) break
      chunks.push(chunk.subarray(0, count))
      total += count
    }
    return Buffer.concat(chunks)
  } finally {
    closeSync(fd)
  }
}

/** The kernel's log never ends: it answers that there is nothing more for now. */
function readChunk(fd: number, chunk: Buffer, position: number | null): number {
  try {
    return readSync(fd, chunk, 0, chunk.length, position)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return 0
    throw error
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
