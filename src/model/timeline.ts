/** Where the time of a start went. */
import * as s from './schema.ts'

/** In the order in which they come; those that do not apply, or cannot be seen, are left out. */
export const startPhases = [
  'preflight',
  'storage',
  'network',
  'spawn',
  'monitor',
  'processors',
  'firmware',
  'kernel',
  'agent',
] as const

export const Timeline = s.object('Timeline', 'Where the time of the last start went', {
  startedAt: s.string('when the start was asked for, ISO 8601'),
  phases: s.array(
    'phases, in order',
    s.object('TimelinePhase', 'A phase', {
      name: s.choice('which', startPhases),
      atMs: s.number('when it was over, milliseconds after the start was asked for', { min: 0 }),
    }),
  ),
})
export type Timeline = s.Output<typeof Timeline>
