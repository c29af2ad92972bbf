/** Ends requests that do not move: clients that send or take nothing any more would hold files and memory for ever. */
import type { IncomingMessage, ServerResponse } from 'node:http'

/** Less than this in the time is nothing. */
const leastBytes = 65_536
const defaultStallMs = 60_000

interface Watched {
  readonly incoming: IncomingMessage
  read: number
  written: number
  since: number
}

export interface StallWatch {
  add(incoming: IncomingMessage, outgoing: ServerResponse): void
  close(): void
}

/**
 * A body of which less than 64 KiB come in `stallMs` (60 s without it) while it is waited for, and an answer of which
 * nothing is taken in that time, end their connection. What waits for us is not counted.
 */
export function watchStalled(stallMs: number = defaultStallMs): StallWatch {
  const all = new Set<Watched>()

  const timer = setInterval(() => {
    const now = performance.now()
    for (const one of all) {
      const { socket } = one.incoming
      const { bytesRead, bytesWritten } = socket
      const awaitsBody = !one.incoming.complete && one.incoming.readableLength === 0
      const awaitsReader = socket.writableLength > 0 && bytesWritten === one.written
      const stands = (awaitsBody && bytesRead - one.read < leastBytes) || awaitsReader
      if (!stands) Object.assign(one, { read: bytesRead, written: bytesWritten, since: now })
      else if (now - one.since >= stallMs) socket.destroy()
    }
  }, stallMs / 4).unref()

  return {
    add(incoming, outgoing) {
      const { bytesRead, bytesWritten } = incoming.socket
      const one = { incoming, read: bytesRead, written: bytesWritten, since: performance.now() }
      all.add(one)
      outgoing.once('close', () => all.delete(one))
    },
    close: () => clearInterval(timer),
  }
}
