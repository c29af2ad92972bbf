import type { CompleteConnection } from '../driver/index.ts'
import { type Event, toVisorError, VisorError } from '../model/index.ts'

/** Seldom enough to cost nothing, often enough when events are lost. */
const askAgainMs = 2_000

/**
 * Does `ask` and waits until the domain is off: `off`, `crashed`, or undefined when it still is not after
 * `timeoutMs`. Listens before it asks, so that nothing is missed, and looks for itself now and then. Fails
 * as `ask` does, or with `cancelled`.
 */
export async function whenOff(
  connection: CompleteConnection,
  uuid: string,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ask: () => Promise<void>,
): Promise<'off' | 'crashed' | undefined> {
  const stop = new AbortController()
  const { promise: ended, resolve: end } = Promise.withResolvers<void>()
  const listening = listen(connection.events({ signal: stop.signal }), uuid, end)
  let asking: ReturnType<typeof setInterval> | undefined
  let deadline: ReturnType<typeof setTimeout> | undefined
  signal.addEventListener('abort', () => end(), { once: true })
  try {
    await ask()
    const look = () =>
      void stateNow(connection, uuid).then(
        (state) => state && end(),
        () => {},
      )
    look()
    asking = setInterval(look, askAgainMs)
    deadline = setTimeout(end, timeoutMs)
    await ended
    if (signal.aborted)
      throw new VisorError('cancelled', 'Waiting was given up; the machine was asked to power off.')
    return await stateNow(connection, uuid)
  } finally {
    clearInterval(asking)
    clearTimeout(deadline)
    stop.abort()
    await listening
  }
}

async function listen(events: AsyncIterable<Event>, uuid: string, end: () => void): Promise<void> {
  try {
    for await (const { kind, uuid: about, type } of events)
      if (kind === 'domain' && about === uuid && (type === 'stopped' || type === 'crashed')) end()
  } catch {
    // Lost events are no failure here: the state is asked for as well.
  }
}

async function stateNow(
  connection: CompleteConnection,
  uuid: string,
): Promise<'off' | 'crashed' | undefined> {
  try {
    const { state } = await connection.domains.get(uuid)
    return state === 'crashed' ? 'crashed' : state === 'shutoff' ? 'off' : undefined
  } catch (error) {
    // A domain that does not outlive its run is gone when it is off.
    if (toVisorError(error).code === 'not-found') return 'off'
    throw error
  }
}
