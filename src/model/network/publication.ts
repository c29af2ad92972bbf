/** Ports of the host that lead to a guest on a network. */
import * as s from '../schema.ts'
import { anAddress } from './words.ts'

const aPort = { min: 1, max: 65_535 } as const

export const publicationStates = ['active', 'waiting'] as const

export const Publication = s.object('Publication', 'Ports of the host that lead to a guest', {
  id: s.string('identity'),
  domain: s.string('uuid of the guest'),
  name: s.string('name of the guest'),
  proto: s.choice('protocol', ['tcp', 'udp']),
  address: s.string('address of the host; all when absent', { optional: true, ...anAddress }),
  start: s.integer('first port of the host', aPort),
  end: s.integer('last port of the host', aPort),
  to: s.integer('port of the guest that the first leads to', aPort),
  state: s.choice('whether it leads anywhere now', publicationStates),
  target: s.string('address of the guest that it leads to now', { optional: true }),
  message: s.string('what it waits for', { optional: true }),
})
export type Publication = s.Output<typeof Publication>

export const CreatePublication = s.object('CreatePublication', 'Which ports', {
  domain: s.string('uuid or name of the guest', { maxLength: 255 }),
  proto: s.choice('protocol', ['tcp', 'udp'], { default: 'tcp' }),
  address: s.string('address of the host; all without it', { optional: true, ...anAddress }),
  start: s.integer('first port of the host', aPort),
  end: s.integer('last port of the host; the first without it', { optional: true, ...aPort }),
  to: s.integer('port of the guest that the first leads to; the same without it', {
    optional: true,
    ...aPort,
  }),
})
