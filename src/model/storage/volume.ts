/** A volume as it is now. */
import * as s from '../schema.ts'
import { volumeFormats, volumeTypes } from './volume-definition.ts'

const VolumeBase = s.object('VolumeBase', 'What a volume is based on', {
  path: s.string('where it is'),
  format: s.choice('its format, as the volume says', volumeFormats),
  volume: s.string('its name, when it is a volume of the same pool', { optional: true }),
})

export const Volume = s.object('Volume', 'A disk in a pool of storage', {
  pool: s.string('name of its pool'),
  name: s.string("name, one of a kind in its pool: 'web-0.qcow2'"),
  key: s.string('identity: one of a kind over all pools'),
  type: s.choice('what it is', volumeTypes),
  path: s.string('where it is: a file or device of this host, or an address'),
  format: s.choice('image format', volumeFormats),
  capacityBytes: s.integer('size the guest sees'),
  allocationBytes: s.integer('size on the host'),
  base: s.field(VolumeBase, { optional: true }),
  encrypted: s.boolean('whether a secret is needed to read it', { default: false }),
  secret: s.string('uuid of the secret that unlocks it, when it is known here', { optional: true }),
  createdAt: s.string('when it was made, ISO 8601', { optional: true }),
  message: s.string('why it is not as it should be', { optional: true }),
})
export type Volume = s.Output<typeof Volume>
