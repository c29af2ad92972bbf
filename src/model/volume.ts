/** A disk that visor keeps for a machine. */
import * as s from './schema.ts'

export const Volume = s.object('Volume', 'A disk that visor keeps for a machine', {
  name: s.string("name, one of a kind, with the ending of its format: 'web-0.qcow2'"),
  path: s.string('file on the host'),
  format: s.choice('image format', ['raw', 'qcow2']),
  capacityBytes: s.integer('size the guest sees'),
  allocationBytes: s.integer('size on the host'),
  createdAt: s.string('when it was made, ISO 8601'),
})
export type Volume = s.Output<typeof Volume>
