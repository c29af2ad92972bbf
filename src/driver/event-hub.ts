import type { Event } from '../model/index.ts'

/** A listener that falls behind by more than this gets a `resync` event instead of what it missed. */
const queueLimit = 10_000
/** How many past events can be replayed. */
const logLimit = 10_000

export interface EventHub {
  /** Gives the event its id and time and hands it to all listeners. */
  emit(event: Omit<Event, 'id' | 'time'> & { readonly time?: string }): void
  /** From now on, or from just after the event `after`; see `Connection.events`. */
  listen(options?: { readonly signal?: AbortSignal; readonly after?: string }): AsyncIterable<Event>
  /** Ends all listeners. */
  close(): void
}

/**
 * Where the events of a connection come together: numbered, replayable, and never held up by a slow
 * listener. Ids are `EPOCH-NUMBER`; an id of another epoch (another daemon run) asks for a resync.
 */
export function eventHub(epoch: string = Date.now().toString(36)): EventHub {
  const past: Event[] = []
  let first = 1
  let next = 1
  let closed = false
  const listeners = new Set<Listener>()

  return {
    emit(event) {
      if (closed) return
      const complete: Event = {
        ...event,
        id: `${epoch}-${next++}`,
        time: event.time ?? new Date().toISOString(),
      }
      past.push(complete)
      if (past.length > logLimit * 1.25) {
        first += past.length - logLimit
        past.splice(0, past.length - logLimit)
      }
      for (const listener of listeners) listener.put(complete)
    },
    listen({ signal, after } = {}) {
      const listener = new Listener()
      if (closed || signal?.aborted) listener.end()
      else {
        for (const event of missed(after)) listener.put(event)
        listeners.add(listener)
        const end = () => {
          listeners.delete(listener)
          signal?.removeEventListener('abort', end)
          listener.end()
        }
        listener.onEnd = end
        signal?.addEventListener('abort', end, { once: true })
      }
      return listener.iterate()
    },
    close() {
      closed = true
      for (const listener of [...listeners]) listener.onEnd?.()
    },
  }

  function missed(after: string | undefined): Event[] {
    if (after === undefined) return []
    const dash = after.lastIndexOf('-')
    const number = Number(after.slice(dash + 1))
    const known =
      after.slice(0, dash) === epoch && Number.isInteger(number) && number >= first - 1 && number < next
    return known ? past.slice(number + 1 - first) : [resync(`${epoch}-${next - 1}`)]
  }
}

function resync(id: string): Event {
  return { id, time: new Date().toISOString(), kind: 'daemon', type: 'resync' }
}

class Listener {
  onEnd: (() => void) | undefined
  private queue: Event[] = []
  private ended = false
  private wake: (() => void) | undefined

  put(event: Event): void {
    if (this.queue.length >= queueLimit) this.queue = [resync(event.id ?? '')]
    else this.queue.push(event)
    this.wake?.()
  }

  end(): void {
    this.ended = true
    this.wake?.()
  }

  async *iterate(): AsyncGenerator<Event> {
    try {
      while (true) {
        const batch = this.queue
        this.queue = []
        yield* batch
        if (this.queue.length > 0) continue
        if (this.ended) return
        await new Promise<void>((resolve) => {
          this.wake = resolve
        })
        this.wake = undefined
      }
    } finally {
      this.onEnd?.()
    }
  }
}
