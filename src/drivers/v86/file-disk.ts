import { closeSync, constants, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { VisorError } from '../../model/index.ts'
import type { MachineDisk } from './machine-config.ts'
import type { DiskCounters } from './protocol.ts'

/**
 * An image file as v86 wants a disk (its `buffer.js`): the file itself, read and written in place. Calls are
 * answered at once, so that no transfer is ever under way when a state is saved. v86 does not pass on a
 * guest's wish to flush, so every write goes to the disk before the guest goes on, unless its cache mode is
 * `unsafe`.
 */
export class FileDisk {
  readonly byteLength: number
  /** Set by v86; called when the disk can be used. */
  onload: ((event: object) => void) | undefined
  readonly counters = {
    readRequests: 0,
    readBytes: 0,
    writeRequests: 0,
    writeBytes: 0,
  } satisfies DiskCounters
  private readonly fd: number
  private readonly readonly: boolean

  constructor({ file, readonly, sync }: MachineDisk) {
    this.readonly = readonly
    const mode = readonly ? constants.O_RDONLY : constants.O_RDWR | (sync ? constants.O_DSYNC : 0)
    try {
      this.fd = openSync(file, mode)
    } catch (cause) {
      throw new VisorError('failed', `The disk '${file}' cannot be opened: ${(cause as Error).message}.`, {
        cause,
      })
    }
    this.byteLength = fstatSync(this.fd).size
    if (this.byteLength === 0 || this.byteLength % 512 !== 0)
      throw new VisorError(
        'failed',
        `The disk '${file}' has ${this.byteLength} bytes, which are no whole sectors.`,
      )
  }

  load(): void {
    this.onload?.({})
  }

  get(start: number, length: number, done: (bytes: Uint8Array) => void): void {
    this.counters.readRequests++
    this.counters.readBytes += length
    done(this.read(start, length))
  }

  get_and_cache(start: number, length: number, done: (bytes: Uint8Array) => void): void {
    this.get(start, length, done)
  }

  get_from_cache(start: number, length: number): Uint8Array {
    return this.read(start, length)
  }

  set(start: number, bytes: Uint8Array, done: () => void): void {
    this.counters.writeRequests++
    this.counters.writeBytes += bytes.length
    // What lies beyond the end of the disk is no part of it: the file never grows.
    const inside = bytes.subarray(0, Math.max(0, this.byteLength - start))
    for (let at = 0; !this.readonly && at < inside.length; )
      at += writeSync(this.fd, inside, at, inside.length - at, start + at)
    done()
  }

  get_buffer(done: (buffer?: ArrayBuffer) => void): void {
    done(this.read(0, this.byteLength).buffer as ArrayBuffer)
  }

  /** The content is in the file, not in the state of the machine. */
  get_state(): unknown[] {
    return []
  }

  set_state(): void {}

  flush(): void {
    if (!this.readonly) fdatasyncSync(this.fd)
  }

  close(): void {
    closeSync(this.fd)
  }

  private read(start: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; ) {
      const count = readSync(this.fd, bytes, at, length - at, start + at)
      if (count === 0) break
      at += count
    }
    return bytes
  }
}
