/** Events as server-sent events (WHATWG HTML, 9.2), so that a browser's EventSource reads them as they are. */
import { type Event, VisorError } from '../../model/index.ts'
import type { Call } from './call.ts'
import { readQuery } from './query.ts'

/** What the streams of one app share. */
export interface EventStreams {
  /** GET /v1/events */
  open(call: Call): Promise<Response>
  /** Ends all streams. */
  close(): void
}

const parameters = ['after', 'kinds']

/**
 * Streams events from now on, or after the id in `Last-Event-ID` or `after`; with `kinds=domain,job` only
 * those. A comment goes out every `heartbeatMs`, so that both sides notice a dead connection. At most `limit`
 * streams at once.
 */
export function createEventStreams(heartbeatMs: number, limit: number): EventStreams {
  const streams = new Set<AbortController>()
  return {
    async open(call) {
      const { extra } = readQuery(call.url, undefined, parameters)
      if (streams.size >= limit)
        throw new VisorError('busy', `${limit} event streams are open already.`, {
          remedy: 'Close one that is no longer read.',
        })
      const after = call.request.headers.get('last-event-id') ?? extra.after
      const kinds = extra.kinds?.split(',')
      const ended = new AbortController()
      const abort = () => ended.abort()
      streams.add(ended)
      ended.signal.addEventListener('abort', () => streams.delete(ended), { once: true })
      if (call.request.signal.aborted) abort()
      call.request.signal.addEventListener('abort', abort, { once: true })
      const events = call.connection.events({ signal: ended.signal, ...(after && { after }) })
      return new Response(streamOf(events, kinds, ended, heartbeatMs), {
        headers: { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' },
      })
    },
    close() {
      for (const ended of [...streams]) ended.abort()
    },
  }
}

function streamOf(
  events: AsyncIterable<Event>,
  kinds: readonly string[] | undefined,
  ended: AbortController,
  heartbeatMs: number,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  const iterator = events[Symbol.asyncIterator]()
  let timer: ReturnType<typeof setInterval> | undefined
  return new ReadableStream<Uint8Array>({
    start(controller) {
      // Sent at once, so that the reader knows it listens. The client comes back after a second.
      controller.enqueue(encoder.encode('retry: 1000\n: listening\n\n'))
      const beat = () => {
        if ((controller.desiredSize ?? 0) > -4) controller.enqueue(encoder.encode(': \n\n'))
      }
      timer = setInterval(beat, heartbeatMs)
      ended.signal.addEventListener('abort', () => clearInterval(timer), { once: true })
    },
    async pull(controller) {
      while (true) {
        const { done, value } = await iterator.next()
        if (done) {
          const gone = ended.signal.aborted && controller.desiredSize === null
          ended.abort()
          if (!gone) controller.close()
          return
        }
        if (kinds && value.kind !== 'daemon' && !kinds.includes(value.kind)) continue
        controller.enqueue(encoder.encode(formatEvent(value)))
        return
      }
    },
    cancel() {
      ended.abort()
    },
  })
}

/** One event as a message of the stream. Its `data` is one line of JSON. */
export function formatEvent(event: Event): string {
  return `${event.id === undefined ? '' : `id: ${event.id}\n`}data: ${JSON.stringify(event)}\n\n`
}
