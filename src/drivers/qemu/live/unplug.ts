/** Taking something out of a running guest: the guest is asked, and lets go when it likes. */
import { VisorError } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord, type QmpEvent } from '../qmp/index.ts'

export interface Unplugged {
  /** Name that QEMU knows it by: an id, or a path of its object model. */
  readonly device: string
  /** For messages: "processor 3". */
  readonly what: string
  /**
   * It has an event of its own, which tells that all of it is let go of. It is not believed while the device is there:
   * one of the same name may have been before. Some devices go without (QEMU 7.2: qemu-xhci).
   */
  readonly hasEvent?: true
  /** For a processor: its slot, which ACPI knows it by where it has no id. */
  readonly slot?: string
  readonly signal?: AbortSignal | undefined
  /** Whether it is gone, for what has no event of its own, as some processors: asked whenever something was heard. */
  isGone?(): Promise<boolean>
}

/** As long as a slow guest takes; one that does not listen never does. */
const unplugTimeoutMs = 15_000
const lookMs = 250
/** From when a device is gone to when its event has come. */
const eventMs = 1_000
/** Source: ACPI specification, _OST: ejection asked for by the platform, and its results that are no refusal. */
const ejection = 3
const accepted = [0, 0x84]

/**
 * Asks the guest to let a device go. Resolves when it has. Fails with `failed` when it refuses, `timeout` when it does
 * not answer (it may still do it later), `cancelled`.
 */
export async function unplug(machine: Machine, unplugged: Unplugged): Promise<void> {
  const { device, what, signal } = unplugged
  const { monitor, interceptors, details } = machine
  const { name } = details.definition
  const done = Promise.withResolvers<void>()
  done.promise.catch(() => {})
  let isTold = !unplugged.hasEvent
  let goneAt: number | undefined
  const see = (isGone: boolean) => {
    if (!isGone) return
    goneAt ??= performance.now()
    if (isTold || performance.now() > goneAt + eventMs) done.resolve()
  }
  const look = () => void unplugged.isGone?.().then(see, done.reject)
  const looking = unplugged.hasEvent && setInterval(look, lookMs)
  const intercept = (event: QmpEvent) => {
    if (isRefusal(event, unplugged)) done.reject(refused(name, what))
    else if (event.event === 'DEVICE_DELETED' && isNamed(event, device)) {
      isTold = true
      if (unplugged.hasEvent) look()
      else done.resolve()
    } else if (event.event === 'DEVICE_DELETED' || event.event === 'ACPI_DEVICE_OST') look()
    return false
  }
  const giveUp = () =>
    done.reject(new VisorError('cancelled', `Waiting for ${what} to be let go was given up.`))
  const timer = setTimeout(() => done.reject(unanswered(name, what)), unplugTimeoutMs)
  interceptors.add(intercept)
  signal?.addEventListener('abort', giveUp, { once: true })
  try {
    if (signal?.aborted) giveUp()
    else await monitor.execute('device_del', { id: device })
    await Promise.race([done.promise, machine.ended.then(() => Promise.reject(endedMeanwhile(name, what)))])
  } finally {
    clearTimeout(timer)
    if (looking) clearInterval(looking)
    interceptors.delete(intercept)
    signal?.removeEventListener('abort', giveUp)
  }
}

function isNamed({ data }: Pick<QmpEvent, 'data'>, device: string): boolean {
  return data.device === device || data.path === device
}

function isRefusal({ event, data }: QmpEvent, { device, slot }: Unplugged): boolean {
  if (event === 'DEVICE_UNPLUG_GUEST_ERROR' || event === 'MEM_UNPLUG_ERROR') return isNamed({ data }, device)
  if (event !== 'ACPI_DEVICE_OST' || !isRecord(data.info)) return false
  const { slot: told, 'slot-type': kind, source, status } = data.info
  return kind === 'CPU' && told === slot && source === ejection && !accepted.includes(Number(status))
}

function refused(name: string, what: string): VisorError {
  return new VisorError('failed', `The guest of domain '${name}' refuses to let ${what} go.`, {
    remedy: 'Free it in the guest first: something there still uses it.',
  })
}

function unanswered(name: string, what: string): VisorError {
  return new VisorError(
    'timeout',
    `The guest of domain '${name}' did not let ${what} go within ${unplugTimeoutMs / 1000} s.`,
    { remedy: 'It was asked, and may still do it. One that has not booted yet, or hangs, does not.' },
  )
}

function endedMeanwhile(name: string, what: string): VisorError {
  return new VisorError('failed', `Domain '${name}' ended before it let ${what} go.`)
}
