/** A domain on its way from another host to this one. */
import * as s from './schema.ts'

export const Migration = s.object('Migration', 'A domain on its way to this host', {
  id: s.string('identity'),
  domain: s.string('uuid of the domain'),
  name: s.string('name the domain has here'),
  phase: s.choice('how far it is', ['prepared', 'receiving', 'received', 'finished', 'failed']),
  createdAt: s.string('when it was prepared, ISO 8601'),
  uri: s.string('where its state is received'),
  disks: s.array(
    'disks that are copied',
    s.object('MigrationDisk', 'A disk that is copied', {
      name: s.string('target name of the disk'),
      uri: s.string('where it is received, an NBD URI'),
    }),
  ),
})
export type Migration = s.Output<typeof Migration>
