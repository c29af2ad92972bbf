/** A booted machine, kept still, that running copies are made of. */
import * as s from './schema.ts'

export const Template = s.object('Template', 'A booted machine that running copies are made of', {
  name: s.string('name, one of a kind on its host'),
  driver: s.string('scheme of the driver that keeps it'),
  domain: s.string('name of the domain it was made of'),
  createdAt: s.string('when it was made, ISO 8601'),
  memoryKiB: s.integer('memory of each copy'),
  sizeBytes: s.integer('size on the host'),
  identity: s.choice('who in the guest takes on the identity of a clone', ['hook', 'agent', 'none']),
  pinned: s.boolean('whether it is protected from removal'),
  pool: s.integer('copies that are kept ready'),
  ready: s.integer('copies that are ready now'),
  disks: s.array('files that it keeps as they are', s.string('file on the host')),
  clones: s.array('uuids of the domains that depend on it', s.string('uuid')),
})
export type Template = s.Output<typeof Template>
