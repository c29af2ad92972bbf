/** Where the time of a start went. */
import * as s from './schema.ts'

/**
 * Each ends when this is so; those that do not apply, or cannot be seen, are left out.
 *
 * - `preflight`: all that the machine needs of the host was looked at
 * - `storage`: its disk images were opened and read
 * - `network`: its host links were made
 * - `spawn`: the hypervisor's process was there
 * - `monitor`: it answered
 * - `processors`: the processors ran, which is when the start resolves
 * - `firmware`: the guest's kernel ran
 * - `kernel`: the guest's first program ran
 * - `agent`: the guest agent was connected
 */
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
export type StartPhase = (typeof startPhases)[number]

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
