/**
 * Small files of the kernel's that are read again and again. They stay open: reading one is a single system call
 * then, instead of five. They are in memory, so they are read at once: a turn of the event loop costs more.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

export interface KeptFiles {
  /** Text of a file; empty when it is gone. */
  read(path: string): string
  /** Closes all. What is read afterwards is not kept. */
  close(): void
}

/** Of all machines together: a daemon that has more of them opens the rest anew each time. */
const mostOpen = 4096
const buffer = Buffer.alloc(4096)
let open = 0

export function keptFiles(): KeptFiles {
  const files = new Map<string, number>()
  let closed = false

  function keep(path: string): number | undefined {
    if (closed || open >= mostOpen) return undefined
    const file = openSync(path, 'r')
    files.set(path, file)
    open++
    return file
  }

  function forget(path: string, file: number): void {
    files.delete(path)
    open--
    closeSync(file)
  }

  return {
    read(path) {
      let file = files.get(path)
      try {
        file ??= keep(path)
        if (file === undefined) return readFileSync(path, 'latin1')
        const length = readSync(file, buffer, 0, buffer.length, 0)
        // As whatever was behind it is gone, or it is longer than expected.
        return length < buffer.length ? buffer.toString('latin1', 0, length) : readFileSync(path, 'latin1')
      } catch {
        if (file !== undefined) forget(path, file)
        return ''
      }
    },
    close() {
      closed = true
      for (const [path, file] of files) forget(path, file)
    },
  }
}
