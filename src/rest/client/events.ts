import type { EventOptions } from '../../driver/index.ts'
import { type Event, toVisorError, VisorError } from '../../model/index.ts'
import { parseEvent, readMessages } from './event-source.ts'
import type { Send } from './http.ts'

const firstPauseMs = 200
const longestPauseMs = 5_000
/** Heartbeats come every 15 s; a stream silent for three of them is dead. */
const silenceMs = 45_000

export interface ClientEvents {
  /** Begins to listen at once, not only when iterated. */
  listen(options?: EventOptions): AsyncIterable<Event>
  /** Resolves when all that was asked to listen does, so that what is done next is seen. */
  settled(): Promise<unknown>
  close(): void
}

/**
 * Events over HTTP. A connection that breaks is made again and goes on after the last event, for as long as
 * it takes; a `resync` event tells when some were missed. Fails only when the server refuses.
 */
export function clientEvents(send: Send): ClientEvents {
  const closed = new AbortController()
  const starting = new Set<Promise<unknown>>()

  return {
    listen({ signal, after } = {}) {
      const left = new AbortController()
      const ended = AbortSignal.any([left.signal, closed.signal, ...(signal ? [signal] : [])])
      const first = ended.aborted ? undefined : open(send, after, ended)
      if (first) {
        const start: Promise<unknown> = first.catch(() => {}).finally(() => starting.delete(start))
        starting.add(start)
      }
      return iterate({ send, first, after, signal: ended, leave: () => left.abort() })
    },
    settled: () => Promise.all(starting),
    close: () => closed.abort(),
  }
}

interface Stream {
  readonly body: ReadableStream<Uint8Array>
}

async function open(send: Send, after: string | undefined, signal: AbortSignal): Promise<Stream> {
  const headers = { accept: 'text/event-stream' }
  const response = await send({ method: 'GET', path: '/v1/events', query: { after }, headers, signal })
  if (!response.body) throw new VisorError('unavailable', 'The server sent no events.')
  return { body: response.body }
}

interface Listening {
  readonly send: Send
  readonly first: Promise<Stream> | undefined
  readonly after: string | undefined
  readonly signal: AbortSignal
  readonly leave: () => void
}

async function* iterate({ send, first, after, signal, leave }: Listening): AsyncGenerator<Event> {
  let last = after
  let stream = first
  let pauseMs = firstPauseMs
  let missed = false
  try {
    while (stream && !signal.aborted) {
      try {
        const { body } = await stream
        pauseMs = firstPauseMs
        if (missed) yield resync()
        missed = false
        for await (const event of readEvents(body)) {
          last = event.id ?? last
          yield event
        }
      } catch (error) {
        if (signal.aborted) return
        if (toVisorError(error).code !== 'unavailable' && error instanceof VisorError) throw error
      }
      await pause(pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
      if (signal.aborted) return
      // Without an id there is nothing to go on from, so all must be read again once it is back.
      missed ||= last === undefined
      stream = open(send, last, signal)
    }
  } finally {
    leave()
  }
}

async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<Event> {
  const messages = readMessages(body)
  try {
    while (true) {
      const next = await within(messages.next(), silenceMs)
      if (next.done) return
      const event = parseEvent(next.value)
      if (event) yield event
    }
  } finally {
    void body.cancel().catch(() => {})
    void messages.return(undefined).catch(() => {})
  }
}

async function within<T>(result: Promise<T>, ms: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new VisorError('unavailable', 'The event stream fell silent.')), ms)
  try {
    return await Promise.race([result, late])
  } finally {
    clearTimeout(timer)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  const done = () => resolve()
  signal.addEventListener('abort', done, { once: true })
  return promise.finally(() => {
    clearTimeout(timer)
    signal.removeEventListener('abort', done)
  })
}

function resync(): Event {
  return { time: new Date().toISOString(), kind: 'daemon', type: 'resync' }
}
