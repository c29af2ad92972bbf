/**
 * A guest that sets its clock chip: with the offset 'variable' the definition follows, so that the next start has
 * the time that the guest wanted. Source: QEMU's QMP reference, RTC_CHANGE; libvirt's "Domain XML format", clock.
 */
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Machine } from '../machine/machine.ts'
import type { QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'

type WithClock = Pick<CompleteDefinition, 'clock'>

export function watchClock(machine: Machine, { defined }: Pick<Registry, 'defined'>): void {
  let writing = Promise.resolve()
  machine.interceptors.add(({ event, data }: QmpEvent) => {
    const { definition, clockBase } = machine.details
    if (event !== 'RTC_CHANGE' || definition.clock.offset !== 'variable') return false
    // QEMU counts from the time it was started with, whatever has been set since.
    const base = clockBase ?? secondsOf(definition)
    const follow = <D extends WithClock>(one: D): D =>
      one.clock.offset === 'variable'
        ? { ...one, clock: { ...one.clock, adjustment: String(base + Number(data.offset)) } }
        : one
    const recorded = machine.record({ clockBase: base, definition: follow(definition) })
    writing = Promise.all([writing, recorded]).then(
      async () => {
        const entry = defined.find(definition.uuid)
        if (entry) await defined.put({ ...entry, definition: follow(entry.definition) })
      },
      // The next change tells all of it again.
      () => {},
    )
    return false
  })
}

/** What a clock is off at its start. */
const secondsOf = ({ clock: { adjustment } }: WithClock): number =>
  adjustment === undefined || adjustment === 'reset' ? 0 : Number(adjustment)
