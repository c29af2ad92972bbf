/** A state-changing operation under way, or one that has ended. */
import * as s from './schema.ts'

export const Progress = s.object('Progress', 'How far a job is', {
  phase: s.string('what it does now', { optional: true }),
  done: s.number('how much is done, in `unit`', { optional: true, min: 0 }),
  total: s.number('how much there is', { optional: true, min: 0 }),
  unit: s.choice('what is counted', ['bytes', 'percent', 'steps'], { optional: true }),
})
export type Progress = s.Output<typeof Progress>

export const Job = s.object('Job', 'An operation under way or ended', {
  id: s.string('identity'),
  operation: s.string('name of the operation, such as domains.save'),
  target: s.string('uuid or name of what it works on', { optional: true }),
  state: s.choice('state', ['waiting', 'running', 'done', 'failed', 'cancelled']),
  progress: s.field(Progress, { optional: true }),
  startedAt: s.string('when it was asked for, ISO 8601'),
  endedAt: s.string('when it ended, ISO 8601', { optional: true }),
  error: s.any('why it failed: code, message, remedy', { optional: true }),
  result: s.any('what it gave', { optional: true }),
})
export type Job = s.Output<typeof Job>
