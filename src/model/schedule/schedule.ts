/** What is done to domains again and again, and what of it is kept. */

import * as s from '../schema.ts'
import { printable } from '../storage/words.ts'
import { Retention } from './retention.ts'

const aName = {
  pattern: /^[a-z0-9][\w.-]*$/iu,
  patternName: 'a name of letters, digits, dots, dashes and underscores',
  minLength: 1,
  maxLength: 64,
} as const

const ScheduledSnapshot = s.object('ScheduledSnapshot', 'The snapshots that it takes', {
  memory: s.boolean('of memory and devices too, where the domain runs', { default: false }),
  quiesce: s.choice(
    'whether the guest agent freezes file systems meanwhile: auto where one answers, required: or none is taken',
    ['auto', 'required', 'never'],
    { default: 'auto' },
  ),
  kind: s.choice(
    'in the images themselves, or below overlays; as fits without it',
    ['internal', 'external'],
    {
      optional: true,
    },
  ),
})

export const ScheduleDefinition = s.object('ScheduleDefinition', 'A schedule', {
  name: s.string('name, one of a kind on its host', aName),
  description: s.string('any text about it', { optional: true, maxLength: 4096 }),
  domains: s.array('of which domains, by name or uuid; of all without any', s.string('domain', printable), {
    default: [],
    maxItems: 10_000,
  }),
  cron: s.string("when: the five fields of crontab(5), or '@daily' and its like", {
    maxLength: 200,
    ...{ pattern: /^[\w @*/,#?+-]+$/u, patternName: "an expression such as '30 3 * * *'" },
  }),
  timezone: s.string("time zone of that, such as 'Europe/Berlin'; that of the host without it", {
    optional: true,
    maxLength: 64,
    ...{ pattern: /^[\w+/-]+$/u, patternName: 'the name of a time zone' },
  }),
  catchUp: s.boolean('done late when the time passed while visord did not run', { default: true }),
  enabled: s.boolean('whether it is done at all', { default: true }),
  snapshot: s.field(ScheduledSnapshot, { default: {} }),
  keep: s.field(Retention, { default: {} }),
})
export type ScheduleDefinition = s.Output<typeof ScheduleDefinition>
export type ScheduleDefinitionInput = s.Input<typeof ScheduleDefinition>

export const ScheduleResult = s.object('ScheduleResult', 'What was done to a domain', {
  domain: s.string('name of the domain'),
  uuid: s.string('uuid of the domain', { optional: true }),
  snapshot: s.string('name of the snapshot that was taken', { optional: true }),
  quiesced: s.boolean('whether its file systems were frozen meanwhile', { optional: true }),
  removed: s.array('names of snapshots that had expired', s.string('name')),
  message: s.string('what failed, and what to do', { optional: true }),
})
export type ScheduleResult = s.Output<typeof ScheduleResult>

export const ScheduleRun = s.object('ScheduleRun', 'When it was done, and what came of it', {
  startedAt: s.string('when it began, ISO 8601'),
  endedAt: s.string('when it ended, ISO 8601', { optional: true }),
  ok: s.boolean('whether all of it was done'),
  results: s.array('per domain', ScheduleResult),
})
export type ScheduleRun = s.Output<typeof ScheduleRun>

export const Schedule = s.object('Schedule', 'A schedule as it is now', {
  name: s.string('name'),
  definition: s.field(ScheduleDefinition, {}),
  running: s.boolean('whether it is done now'),
  nextAt: s.string('when it is done next, ISO 8601', { optional: true }),
  lastRun: s.field(ScheduleRun, { optional: true }),
  kept: s.integer('how many of its snapshots there are'),
})
export type Schedule = s.Output<typeof Schedule>
