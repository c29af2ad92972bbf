/**
 * What happened. An event tells that something is so; its object is read again for the rest.
 */
import * as s from './schema.ts'

export const domainEventTypes = [
  'defined',
  'undefined',
  'started',
  'suspended',
  'resumed',
  'stopping',
  'stopped',
  'crashed',
  'rebooted',
  'saved',
  'changed',
] as const

export const Event = s.object('Event', 'Something that happened', {
  id: s.string('place in the log, for replay; opaque', { optional: true }),
  time: s.string('when, ISO 8601'),
  kind: s.choice('what it is about', [
    ...([
      'domain',
      'job',
      'image',
      'template',
      'network',
      'nwfilter',
      'pool',
      'volume',
      'secret',
      'schedule',
      'daemon',
    ] as const),
  ]),
  type: s.string('what happened: started, stopped, progress, ...'),
  uuid: s.string('identity of the object: of a domain, or the id of a job', { optional: true }),
  name: s.string('name of the object', { optional: true }),
  driver: s.string('scheme of the driver', { optional: true }),
  reason: s.string('why', { optional: true }),
  message: s.string('a sentence for people', { optional: true }),
  data: s.any('more, by kind: the job of a job event', { optional: true }),
})
export type Event = s.Output<typeof Event>
