/** Looks at many files fast: without a thread for each call where the file system is this host's own. */
import { closeSync, constants, openSync, readSync, type Stats, statSync } from 'node:fs'
import { open, stat, statfs } from 'node:fs/promises'
import { type ImageBytes, probeBytes } from '../../../host/index.ts'

export interface FileSystem {
  /** How many files are looked at before others get their turn. */
  readonly atOnce: number
  stat(path: string): Stats | Promise<Stats>
  /** Its first {@link probeBytes} bytes. */
  begin(path: string): Buffer | Promise<Buffer>
}

const flags = constants.O_RDONLY | constants.O_NONBLOCK

const own: FileSystem = {
  atOnce: 64,
  stat: (path) => statSync(path),
  begin(path) {
    const file = openSync(path, flags)
    try {
      const buffer = Buffer.alloc(probeBytes)
      return buffer.subarray(0, readSync(file, buffer, 0, probeBytes, 0))
    } finally {
      closeSync(file)
    }
  },
}

const remote: FileSystem = {
  atOnce: 32,
  stat: (path) => stat(path),
  async begin(path) {
    const file = await open(path, flags)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(probeBytes), 0, probeBytes, 0)
      return buffer.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  },
}

/** Those that never wait for a server or another program. Source: statfs(2). */
const ownTypes = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0x01021994, // tmpfs
  0x2fc12fc1, // zfs
  0xf2f52010, // f2fs
])

/** A server that is gone would hold up all of visord: files of others are looked at by threads. */
export async function fileSystemOf(folder: string): Promise<FileSystem> {
  const { type } = await statfs(folder)
  return ownTypes.has(type) ? own : remote
}

/** A file whose beginning is known already. */
export function begunWith(first: Buffer, path: string): ImageBytes {
  return {
    async read(buffer, offset, length, position) {
      // Less than was asked for at first is all there is.
      if (position + length <= first.length || first.length < probeBytes)
        return { bytesRead: first.copy(buffer, offset, position, position + length) }
      const file = await open(path, flags)
      return file.read(buffer, offset, length, position).finally(() => file.close())
    },
  }
}
