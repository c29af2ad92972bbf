/** Cuts a stream of bytes into lines, of bounded length. */
import { VisorError } from '../../../model/index.ts'

export interface LineCutter {
  /** The lines that `chunk` completes, without their ends. Fails with `failed` when a line is too long. */
  cut(chunk: Uint8Array): string[]
}

const newline = 10

export function lineCutter(maxBytes: number): LineCutter {
  let parts: Uint8Array[] = []
  let length = 0

  function keep(part: Uint8Array): void {
    length += part.length
    if (length > maxBytes) throw new VisorError('failed', `A line is longer than ${maxBytes} bytes.`)
    if (part.length > 0) parts.push(part)
  }

  return {
    cut(chunk) {
      const lines: string[] = []
      let start = 0
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
        keep(chunk.subarray(start, end))
        lines.push(Buffer.concat(parts).toString('utf8'))
        parts = []
        length = 0
        start = end + 1
      }
      keep(chunk.subarray(start))
      return lines
    },
  }
}
