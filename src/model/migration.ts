/** A domain on its way from another host to this one, and what a migration took. */
import * as s from './schema.ts'

export const Migration = s.object('Migration', 'A domain on its way to this host', {
  id: s.string('identity'),
  domain: s.string('uuid of the domain'),
  name: s.string('name the domain has here'),
  phase: s.choice('how far it is', ['prepared', 'receiving', 'received', 'finished', 'failed']),
  createdAt: s.string('when it was prepared, ISO 8601'),
  uri: s.string("where its state is received, as QEMU's command migrate takes it"),
  disks: s.array(
    'disks that are copied',
    s.object('MigrationDisk', 'A disk that is copied', {
      name: s.string('target name of the disk'),
      uri: s.string('where it is received, an NBD URI'),
    }),
  ),
})
export type Migration = s.Output<typeof Migration>

const count = (doc: string) => s.integer(doc, { optional: true, min: 0 })

export const MigrationSummary = s.object('MigrationSummary', 'What a migration took', {
  totalMs: s.integer('from the call to the domain running there, milliseconds', { min: 0 }),
  downtimeMs: s.integer('from the stop here to the answer that it runs there, milliseconds', { min: 0 }),
  memoryBytes: count('bytes sent for memory'),
  diskBytes: count('bytes of disks copied'),
  passes: count('times memory was gone through'),
  postcopy: s.boolean('whether it ran there before all of its memory had come'),
})
export type MigrationSummary = s.Output<typeof MigrationSummary>

/** How a disk gets to the other host: both hosts see it, all that the guest sees of it, or what is above its base. */
export const diskCopies = ['none', 'all', 'inc'] as const
