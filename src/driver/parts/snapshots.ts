/** Snapshots and checkpoints of a domain. */
import {
  Checkpoint,
  CheckpointDefinition,
  Snapshot,
  SnapshotDefinition,
  schema as s,
} from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface CreateSnapshotOptions extends CallOptions {
  readonly name?: string
  readonly description?: string
  /** Only the disks, also of a running domain: as after a power cut, unless the guest is quiesced. */
  readonly diskOnly?: boolean
  /** Where the state of disks is kept: in the images themselves, or below overlays; as fits without it. */
  readonly kind?: 'internal' | 'external'
  /** Let the guest go on while its memory is written; only of an external snapshot. */
  readonly live?: boolean
  /** Has the guest agent freeze the file systems meanwhile. */
  readonly quiesce?: boolean
  /** Only these disks, by target name. */
  readonly disks?: readonly string[]
  /** The files that disks go on in, each to be made; beside those in use without it. */
  readonly overlays?: readonly { readonly disk: string; readonly file: string }[]
  /** The file for memory and devices, to be made; one of the driver's own without it. */
  readonly memoryFile?: string
}

export interface RevertSnapshotOptions extends CallOptions {
  /** Have the domain running or paused afterwards; without them, as it was then. */
  readonly running?: boolean
  readonly paused?: boolean
}

export interface RemoveSnapshotOptions extends CallOptions {
  /** Its children as well, or only them. */
  readonly children?: boolean
  readonly childrenOnly?: boolean
  /** Forget it, and leave what it keeps. */
  readonly metadataOnly?: boolean
}

/** Points in time of a domain to go back to. */
export interface Snapshots {
  /** Of a domain, parents before children. */
  list(domain: string): Promise<Snapshot[]>
  get(domain: string, snapshot: string): Promise<Snapshot>
  /** In libvirt's words, with the machine as it was. */
  describe?(domain: string, snapshot: string): Promise<SnapshotDefinition>
  create?(domain: string, options?: CreateSnapshotOptions): Promise<Snapshot>
  /** Takes the domain back; what it was since is lost unless another snapshot has it. */
  revert?(domain: string, snapshot: string, options?: RevertSnapshotOptions): Promise<void>
  /** Removes it; what other snapshots and the domain need of its data is merged into theirs. */
  remove?(domain: string, snapshot: string, options?: RemoveSnapshotOptions): Promise<void>
}

const aPath = { pattern: /^\//u, patternName: 'an absolute path', maxLength: 4095 } as const
const flag = (doc: string) => s.boolean(doc, { optional: true })

export const snapshotOperations = {
  list: {
    access: 'read',
    doc: 'The snapshots of a domain, parents before children.',
    key: 'domain',
    result: s.array('snapshots', Snapshot),
  },
  get: { access: 'read', doc: 'A snapshot.', key: 'domain', item: 'snapshot', result: Snapshot },
  describe: {
    access: 'read',
    doc: "A snapshot in libvirt's words, with the machine as it was.",
    key: 'domain',
    item: 'snapshot',
    result: SnapshotDefinition,
  },
  create: {
    access: 'admin',
    doc: 'Takes a snapshot.',
    key: 'domain',
    options: s.object('CreateSnapshot', 'How', {
      name: s.string('name; made from the time without it', { optional: true, maxLength: 128 }),
      description: s.string('any text about it', { optional: true, maxLength: 65_536 }),
      diskOnly: flag('only the disks, not the memory'),
      kind: s.choice('in the images themselves, or below overlays', ['internal', 'external'], {
        optional: true,
      }),
      live: flag('let the guest go on while its memory is written'),
      quiesce: flag('have the guest agent freeze the file systems meanwhile'),
      disks: s.array('only these disks, by target name', s.string('name'), { optional: true, maxItems: 512 }),
      overlays: s.array(
        'files that disks go on in, which are made',
        s.object('SnapshotOverlay', 'A file that a disk goes on in', {
          disk: s.string('target name of the disk', { maxLength: 64 }),
          file: s.string('file that is made', aPath),
        }),
        { optional: true, maxItems: 512 },
      ),
      memoryFile: s.string('file for memory and devices, which is made', { optional: true, ...aPath }),
    }),
    result: Snapshot,
    long: true,
  },
  revert: {
    access: 'admin',
    doc: 'Takes the domain back to a snapshot.',
    key: 'domain',
    item: 'snapshot',
    options: s.object('RevertSnapshot', 'How', {
      running: flag('have it running afterwards'),
      paused: flag('have it paused afterwards'),
    }),
    long: true,
  },
  remove: {
    access: 'admin',
    doc: 'Removes a snapshot; what others need of its data is merged.',
    key: 'domain',
    item: 'snapshot',
    options: s.object('RemoveSnapshot', 'What', {
      children: flag('its children as well'),
      childrenOnly: flag('only its children'),
      metadataOnly: flag('forget it, and leave what it keeps'),
    }),
    long: true,
  },
} as const satisfies PartTable<Snapshots>

export interface CreateCheckpointOptions extends CallOptions {
  readonly name?: string
  readonly description?: string
  readonly disks?: readonly string[]
}

/** Points in time that incremental backups begin from. */
export interface Checkpoints {
  /** Of a domain, oldest first. */
  list(domain: string): Promise<Checkpoint[]>
  /** In libvirt's words. */
  describe?(domain: string, checkpoint: string): Promise<CheckpointDefinition>
  create?(domain: string, options?: CreateCheckpointOptions): Promise<Checkpoint>
  remove?(domain: string, checkpoint: string, options?: CallOptions): Promise<void>
}

export const checkpointOperations = {
  list: {
    access: 'read',
    doc: 'The checkpoints of a domain, oldest first.',
    key: 'domain',
    result: s.array('checkpoints', Checkpoint),
  },
  describe: {
    access: 'read',
    doc: "A checkpoint in libvirt's words.",
    key: 'domain',
    item: 'checkpoint',
    result: CheckpointDefinition,
  },
  create: {
    access: 'admin',
    doc: 'Begins to remember what is written to disks.',
    key: 'domain',
    options: s.object('CreateCheckpoint', 'How', {
      name: s.string('name; made from the time without it', { optional: true, maxLength: 128 }),
      description: s.string('any text about it', { optional: true, maxLength: 65_536 }),
      disks: s.array('only these disks, by target name', s.string('name'), { optional: true, maxItems: 512 }),
    }),
    result: Checkpoint,
  },
  remove: { access: 'admin', doc: 'Removes a checkpoint.', key: 'domain', item: 'checkpoint' },
} as const satisfies PartTable<Checkpoints>
