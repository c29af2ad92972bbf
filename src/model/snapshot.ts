/**
 * A domain at a point in time, to go back to: its disks, and where it was taken so its memory and devices.
 *
 * Source: libvirt's "Snapshot XML format" (formatsnapshot), whose words these are.
 */
import { domainStates } from './domain.ts'
import * as s from './schema.ts'

const diskKinds = ['no', 'internal', 'external'] as const

export const SnapshotDisk = s.object('SnapshotDisk', 'What a snapshot has of a disk', {
  name: s.string('target name of the disk'),
  snapshot: s.choice('where it is kept: in the image itself, or as the file below an overlay', diskKinds),
  file: s.string('file with the state of the disk at that time', { optional: true }),
  overlay: s.string('file the domain wrote on to', { optional: true }),
})

export const Snapshot = s.object('Snapshot', 'A domain at a point in time', {
  name: s.string('name, one of a kind in its domain'),
  description: s.string('any text about it', { optional: true }),
  domain: s.string('uuid of the domain'),
  parent: s.string('name of the snapshot before it', { optional: true }),
  current: s.boolean('whether it is the one the domain was last taken at or went back to'),
  createdAt: s.string('when it was made, ISO 8601'),
  state: s.choice('what the domain did at that time', [...domainStates, 'disk-snapshot']),
  memory: s.choice('where memory and devices are kept', diskKinds),
  memoryFile: s.string('file with memory and devices', { optional: true }),
  disks: s.array('per disk', SnapshotDisk),
})
export type Snapshot = s.Output<typeof Snapshot>

/** A point in time since when a domain's disks remember what was written (libvirt's domain checkpoint). */
export const Checkpoint = s.object('Checkpoint', 'A point in time that a backup can begin from', {
  name: s.string('name, one of a kind in its domain'),
  description: s.string('any text about it', { optional: true }),
  domain: s.string('uuid of the domain'),
  parent: s.string('name of the checkpoint before it', { optional: true }),
  createdAt: s.string('when it was made, ISO 8601'),
  disks: s.array(
    'per disk',
    s.object('CheckpointDisk', 'What a checkpoint has of a disk', {
      name: s.string('target name of the disk'),
      bitmap: s.string('name of its dirty bitmap'),
      dirtyBytes: s.integer('written since', { optional: true, min: 0 }),
    }),
  ),
})
export type Checkpoint = s.Output<typeof Checkpoint>
