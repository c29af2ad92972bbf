/**
 * The time that a guest lives in, milliseconds: it stands still while the machine does, and goes on where it
 * was in a machine that is restored. v86 takes all its time from `performance.now`, which it binds when it is
 * loaded; so this module must be loaded before.
 */
const real = performance.now.bind(performance)
let offset = 0
let stoppedAt: number | undefined

export const guestClock = {
  now: (): number => (stoppedAt ?? real()) + offset,
  stop(): void {
    stoppedAt ??= real()
  },
  go(): void {
    if (stoppedAt !== undefined) offset -= real() - stoppedAt
    stoppedAt = undefined
  },
  /** It is now this time. */
  set(time: number): void {
    offset = time - (stoppedAt ?? real())
  },
}

Object.defineProperty(performance, 'now', { value: guestClock.now, configurable: true, writable: true })
