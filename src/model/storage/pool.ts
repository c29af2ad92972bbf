/** A pool of storage as it is now. */
import * as s from '../schema.ts'
import { poolTypes } from './pool-definition.ts'

export const Pool = s.object('Pool', 'A pool of storage as it is now', {
  uuid: s.string('identity'),
  name: s.string('name, one of a kind on its host'),
  type: s.choice('what it is made of', poolTypes),
  active: s.boolean('whether its volumes can be used now'),
  autostart: s.boolean('whether it starts with the daemon'),
  path: s.string('folder of this host where its volumes are', { optional: true }),
  capacityBytes: s.integer('how much there is, when it is active', { optional: true }),
  allocationBytes: s.integer('how much of it is taken', { optional: true }),
  availableBytes: s.integer('how much of it is free', { optional: true }),
  volumes: s.integer('how many volumes it has, when it is active', { optional: true }),
  message: s.string('why it is not as it should be', { optional: true }),
})
export type Pool = s.Output<typeof Pool>
