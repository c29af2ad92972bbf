/** The clock as arguments of QEMU. Source: qemu(1), "-rtc". */
import type { CompleteDefinition } from '../definition/definition.ts'
import { keyValue } from '../definition/key-value.ts'

export function clockArguments({ clock, type }: CompleteDefinition, now = Date.now()): string[] {
  const timer = (name: string) => clock.timers.find((one) => one.name === name)
  const tracks = { guest: 'vm', wall: 'host', realtime: 'rt', boot: undefined } as const
  const { tickPolicy, track } = timer('rtc') ?? {}
  return [
    '-rtc',
    keyValue('', {
      base: rtcBase(clock, now),
      clock: track === undefined ? undefined : tracks[track],
      driftfix: tickPolicy === 'catchup' ? 'slew' : undefined,
    }),
    ...(timer('pit')?.tickPolicy === 'delay' && type === 'kvm'
      ? ['-global', 'kvm-pit.lost_tick_policy=delay']
      : []),
  ]
}

function rtcBase({ offset, adjustment, basis, start }: CompleteDefinition['clock'], now: number): string {
  // What is the local time is told by the environment.
  if (offset === 'timezone') return 'localtime'
  if (offset === 'absolute') return iso((start ?? 0) * 1000)
  if (offset !== 'variable') return offset
  if (adjustment === undefined || adjustment === 'reset') return basis ?? 'utc'
  const local = basis === 'localtime' ? -new Date(now).getTimezoneOffset() * 60 : 0
  return iso(now + (Number(adjustment) + local) * 1000)
}

const iso = (time: number): string => new Date(time).toISOString().slice(0, 19)
