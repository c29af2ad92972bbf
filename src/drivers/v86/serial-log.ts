import { closeSync, openSync, writeSync } from 'node:fs'
import { openConsoleLog } from '../../host/index.ts'

/** Bytes gathered for so long are written at once: a guest prints them one by one. */
const gatherMs = 4
const gatherBytes = 4096
/** The log's size is looked at after so many bytes. */
const trimEveryBytes = 256 * 1024

/** The file that a serial port prints to; it stays small ({@link openConsoleLog}). */
export class SerialLog {
  private readonly path: string
  private readonly fd: number
  private readonly waiting = Buffer.alloc(gatherBytes)
  private length = 0
  private sinceTrim = 0
  private timer: NodeJS.Timeout | undefined

  constructor(path: string) {
    this.path = path
    this.fd = openSync(path, 'a', 0o600)
  }

  put(byte: number): void {
    this.waiting[this.length++] = byte
    if (this.length === gatherBytes) this.flush()
    else this.timer ??= setTimeout(() => this.flush(), gatherMs)
  }

  flush(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    // A full disk must not end the guest: what cannot be kept is dropped.
    try {
      for (let at = 0; at < this.length; ) at += writeSync(this.fd, this.waiting, at, this.length - at)
    } catch {
      // Dropped.
    }
    this.sinceTrim += this.length
    this.length = 0
    if (this.sinceTrim < trimEveryBytes) return
    this.sinceTrim = 0
    openConsoleLog(this.path)
      .trim()
      .catch(() => {})
  }

  close(): void {
    this.flush()
    closeSync(this.fd)
  }
}
