import type { ByteStream } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import type { Running } from './guest.ts'

/** More typed bytes than this are handed to the machine in several parts. */
const partBytes = 64 * 1024

/** A viewer at a serial port: what is printed comes from the log, what is typed goes to the machine. */
export function openConsole({ consoles, control }: Running, port: number, scrollback: boolean): ByteStream {
  const closing = new AbortController()
  const log = consoles[port]
  if (!log) throw new VisorError('internal', `The machine has no log of its serial port ${port}.`)
  const printed = log.follow({ scrollback, signal: closing.signal })
  // Begins at once, so that nothing is missed between the opening and the first look.
  let first: Promise<IteratorResult<Uint8Array, void>> | undefined = printed.next()
  first.catch(() => {})
  return {
    async *[Symbol.asyncIterator]() {
      while (true) {
        const step = first ?? printed.next()
        first = undefined
        const { value, done } = await step
        if (done || !value) return
        yield value
      }
    },
    async write(bytes) {
      if (closing.signal.aborted) throw new VisorError('invalid-state', 'The console is closed.')
      for (let at = 0; at < bytes.length; at += partBytes) {
        const data = Buffer.from(bytes.subarray(at, at + partBytes)).toString('base64')
        await control.ask({ do: 'type', port, data })
      }
    },
    async close() {
      closing.abort()
    },
  }
}
