/**
 * Freezes the file systems of a guest, and sees to it that they thaw: at the end of a bounded time, and when
 * this daemon dies meanwhile, by the one after it.
 */
import type { Context } from '../context.ts'
import type { Machine } from '../machine/machine.ts'
import { talkToAgent } from './channel.ts'

/** A guest that is frozen stands still for whoever uses it. */
export const defaultFreezeMs = 60_000
/** Freezing waits until all that was begun to be written is written. */
const freezeTimeoutMs = 60_000
const timers = new WeakMap<Machine, NodeJS.Timeout>()

export interface FreezeOptions {
  readonly mountPoints?: readonly string[] | undefined
  readonly timeoutMs?: number | undefined
}

/** Freezes; resolves with how many file systems. They thaw after `timeoutMs` at the latest. */
export async function freezeGuest(
  context: Context,
  machine: Machine,
  { mountPoints, timeoutMs = defaultFreezeMs }: FreezeOptions = {},
): Promise<number> {
  await machine.record({ frozen: true })
  try {
    const count = await talkToAgent(context, machine, (agent) => {
      const options = { timeoutMs: freezeTimeoutMs }
      return mountPoints
        ? agent.execute('guest-fsfreeze-freeze-list', { mountpoints: mountPoints }, options)
        : agent.execute('guest-fsfreeze-freeze', undefined, options)
    })
    clearTimeout(timers.get(machine))
    const timer = setTimeout(() => void thawLate(context, machine), timeoutMs)
    timers.set(machine, timer.unref())
    return typeof count === 'number' ? count : 0
  } catch (error) {
    // It may have frozen some, or be slow to say that it has.
    await thawGuest(context, machine).catch(() => {})
    throw error
  }
}

/** Thaws; resolves with how many file systems. */
export async function thawGuest(context: Context, machine: Machine): Promise<number> {
  clearTimeout(timers.get(machine))
  const count = await talkToAgent(context, machine, (agent) =>
    agent.execute('guest-fsfreeze-thaw', undefined, { timeoutMs: freezeTimeoutMs }),
  )
  await machine.record({ frozen: undefined })
  return typeof count === 'number' ? count : 0
}

async function thawLate(context: Context, machine: Machine): Promise<void> {
  const { name } = machine.details.definition
  context.log.warn({ domain: name }, 'A guest was frozen for too long, and is thawed.')
  await thawGuest(context, machine).catch((error: unknown) =>
    context.log.error({ domain: name, error: String(error) }, 'A frozen guest could not be thawed.'),
  )
}
