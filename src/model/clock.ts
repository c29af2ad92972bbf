/** Clocks and sleep. Source: libvirt's "Domain XML format", time keeping and power management. */
import { unknown } from './domain-words.ts'
import * as s from './schema.ts'

export const Timer = s.object('Timer', 'A clock chip or clock protocol', {
  name: s.choice('name', ['rtc', 'pit', 'hpet', 'kvmclock', 'tsc', 'hypervclock', 'platform', 'armvtimer'], {
    xml: '@name',
  }),
  present: s.boolean('presence', { xml: '@present', as: 'yes-no', optional: true }),
  tickPolicy: s.choice('fate of ticks that were missed', ['delay', 'catchup', 'merge', 'discard'], {
    xml: '@tickpolicy',
    optional: true,
  }),
  track: s.choice('what it follows', ['boot', 'guest', 'wall', 'realtime'], {
    xml: '@track',
    optional: true,
  }),
  frequencyHz: s.integer('frequency', { xml: '@frequency', optional: true, min: 1, max: 2 ** 40 }),
  mode: s.choice('way it is emulated', ['auto', 'native', 'emulate', 'paravirt', 'smpsafe'], {
    xml: '@mode',
    optional: true,
  }),
  unknown,
})

export const Clock = s.object('Clock', 'The clock the guest sees', {
  offset: s.choice('time it starts from', ['utc', 'localtime', 'variable', 'timezone', 'absolute'], {
    xml: '@offset',
    default: 'utc',
  }),
  adjustment: s.string('seconds by which it is off, or `reset`', {
    xml: '@adjustment',
    optional: true,
    pattern: /^(?:reset|[+-]?\d{1,12})$/u,
    patternName: "seconds, or 'reset'",
  }),
  basis: s.choice('what the seconds count from', ['utc', 'localtime'], { xml: '@basis', optional: true }),
  timezone: s.string('time zone it shows', {
    xml: '@timezone',
    optional: true,
    maxLength: 64,
    pattern: /^[A-Za-z][\w+-]*(?:\/[\w+-]+){0,3}$/u,
    patternName: "a time zone such as 'Europe/Paris'",
  }),
  start: s.integer('time it starts from, in seconds since 1970', {
    xml: '@start',
    optional: true,
    min: 0,
    max: 2 ** 40,
  }),
  timers: s.array('clock chips', Timer, { xml: 'timer', default: [], maxItems: 16, key: ['name'] }),
  unknown,
})

export const PowerManagement = s.object('PowerManagement', 'Sleep states offered to the guest', {
  suspendToMemory: s.boolean('sleep with the memory powered (S3)', {
    xml: 'suspend-to-mem/@enabled',
    as: 'yes-no',
    optional: true,
  }),
  suspendToDisk: s.boolean('sleep with the memory on disk (S4)', {
    xml: 'suspend-to-disk/@enabled',
    as: 'yes-no',
    optional: true,
  }),
  unknown,
})

export type Clock = s.Output<typeof Clock>
