/** DHCP and DNS of one network while it is there: started again when they end though nobody asked them to. */
import type { GuestProcess } from '../host/index.ts'
import type { CompleteNetwork } from './complete.ts'
import { linksOf } from './links.ts'
import type { Port } from './ports.ts'
import { endService, rereadTables, type ServiceContext, startService, writeTables } from './service.ts'

export interface KeptService {
  /** Whether one runs. */
  readonly isThere: boolean
  /** Why there is none though there should be. */
  readonly message: string | undefined
  /** Starts it, in place of one that runs; resolves when it answers. Fails as `startService` does; there is none then. */
  start(definition: CompleteNetwork): Promise<void>
  /** Goes on with one that runs already. */
  adopt(definition: CompleteNetwork, guest: GuestProcess): void
  /** Who is known to it has changed. */
  tell(definition: CompleteNetwork): Promise<void>
  stop(): Promise<void>
  /** Stops watching it; it goes on. */
  forget(): Promise<void>
}

/** One that ends again and again is not started again forever: so often, with a longer pause each time. */
const mostRestarts = 5
/** After so long, what was before does not count any more. */
const steadyMs = 60_000

export function keepService(
  context: ServiceContext,
  portsOf: (uuid: string) => readonly Port[],
): KeptService {
  const { places, log } = context
  let definition: CompleteNetwork | undefined
  let guest: GuestProcess | undefined
  let isWanted = false
  let message: string | undefined
  let restarts = 0
  let startedAt = 0

  let queue: Promise<unknown> = Promise.resolve()
  /** One thing after the other: a start that was asked for and one by itself would be in each other's way. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = queue.then(work, work)
    queue = done.catch(() => {})
    return done
  }

  async function serve(network: CompleteNetwork): Promise<void> {
    const { serves, namespace } = linksOf(network)
    const started = await startService(context, network, serves, portsOf(network.uuid), namespace)
    if (started) watch(started)
  }

  function watch(one: GuestProcess): void {
    guest = one
    startedAt = performance.now()
    void one.exited.then(async () => {
      if (!isWanted || guest !== one) return
      guest = undefined
      await one.release().catch(() => {})
      if (performance.now() - startedAt > steadyMs) restarts = 0
      await recover('ended')
    })
  }

  async function recover(what: string): Promise<void> {
    const network = definition?.name
    if (++restarts > mostRestarts) {
      message = `DHCP and DNS ${what} again and again, and are not started any more.`
      return log.error({ network }, message)
    }
    log.warn({ network, restarts }, `DHCP and DNS of a network ${what}, and are started again.`)
    await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** (restarts - 1)))
    const failure = await inTurn(async () => {
      if (isWanted && !guest && definition) await serve(definition)
    }).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (failure === undefined || !isWanted) return
    log.error({ network, error: String(failure) }, 'DHCP and DNS could not be started again.')
    await recover('did not start')
  }

  async function end(): Promise<void> {
    const before = guest
    guest = undefined
    if (before) await endService(before)
  }

  return {
    get isThere() {
      return guest !== undefined
    },
    get message() {
      return message
    },
    start: (next) =>
      inTurn(async () => {
        await end()
        definition = next
        isWanted = true
        restarts = 0
        message = undefined
        await serve(next).catch((error: unknown) => {
          message = error instanceof Error ? error.message : String(error)
          throw error
        })
      }),
    adopt(next, found) {
      definition = next
      isWanted = true
      watch(found)
    },
    tell: (next) =>
      inTurn(async () => {
        definition = next
        if (!guest) return
        await writeTables(places, next, portsOf(next.uuid))
        // It may have ended meanwhile: the next one reads them when it starts.
        if (guest) rereadTables(guest)
      }),
    stop() {
      isWanted = false
      return inTurn(end)
    },
    async forget() {
      isWanted = false
      await queue
      await guest?.forget()
    },
  }
}
