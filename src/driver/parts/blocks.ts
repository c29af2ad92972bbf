/** Work on the disks of a domain. Verbs are those of libvirt's virDomainBlock functions. */
import { BlockJob, schema as s } from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

interface DiskOptions extends CallOptions {
  /** Target name of the disk. */
  readonly disk: string
  /** At most so many bytes in a second. */
  readonly bandwidthBytes?: number
}
export interface CommitBlockOptions extends DiskOptions {
  /** The file that takes the data in; the lowest without it. */
  readonly base?: string
  /** The file whose data goes down; the one in use without it. */
  readonly top?: string
}
export interface PullBlockOptions extends DiskOptions {
  /** The file that stays below; none without it, so that the disk stands alone. */
  readonly base?: string
}
export interface CopyBlockOptions extends DiskOptions {
  /** The file that is made; must not be there, unless `reuse`. */
  readonly file: string
  readonly format?: 'raw' | 'qcow2'
  /** Only what is in the topmost image; what is below it stays below the copy. */
  readonly shallow?: boolean
  readonly reuse?: boolean
  /** Go on with the copy afterwards; without it the domain stays where it is, and the copy is of the moment it was whole. */
  readonly pivot?: boolean
}
export interface ResizeBlockOptions extends CallOptions {
  readonly disk: string
  readonly sizeBytes: number
}
export interface BackupBlockOptions extends CallOptions {
  /** Disks by target name, each with the file it is written to (push) or the name it is served by (pull); all without it. */
  readonly disks?: readonly { readonly disk: string; readonly file?: string; readonly export?: string }[]
  /** `push`: to files, ends when written. `pull`: served by NBD until cancelled. */
  readonly mode?: 'push' | 'pull'
  /** Where it is served: a unix socket (absolute path) or `host:port`. */
  readonly server?: string
  /** Only what was written since this checkpoint. */
  readonly since?: string
  /** Make a checkpoint of this name at the same moment. */
  readonly checkpoint?: string
}

export interface Blocks {
  /** Under way on the disks of a running domain. */
  jobs(domain: string): Promise<BlockJob[]>
  /** Writes the data of overlays down into what they are based on; resolves when the domain has it as its disk. */
  commit?(domain: string, options: CommitBlockOptions): Promise<void>
  /** Copies what is below into the image in use. */
  pull?(domain: string, options: PullBlockOptions): Promise<void>
  copy?(domain: string, options: CopyBlockOptions): Promise<void>
  resize?(domain: string, options: ResizeBlockOptions): Promise<void>
  backup?(domain: string, options?: BackupBlockOptions): Promise<void>
}

const disk = s.string('target name of the disk', { maxLength: 64 })
const bandwidthBytes = s.integer('limit, bytes in a second', { optional: true, min: 1 })
const file = s.string('file on the host, an absolute path', {
  optional: true,
  pattern: /^\//u,
  patternName: 'an absolute path',
})
const flag = (doc: string) => s.boolean(doc, { optional: true })

export const blockOperations = {
  jobs: {
    access: 'read',
    doc: 'What is under way on the disks of a running domain.',
    key: 'domain',
    result: s.array('jobs', BlockJob),
  },
  commit: {
    access: 'admin',
    doc: 'Writes the data of overlays down into what they are based on.',
    key: 'domain',
    lane: 'block',
    options: s.object('CommitBlock', 'What', { disk, bandwidthBytes, base: file, top: file }),
    long: true,
  },
  pull: {
    access: 'admin',
    doc: 'Copies what an image is based on into it.',
    key: 'domain',
    lane: 'block',
    options: s.object('PullBlock', 'What', { disk, bandwidthBytes, base: file }),
    long: true,
  },
  copy: {
    access: 'admin',
    doc: 'Copies a disk while it is in use, and goes on with the copy if asked.',
    key: 'domain',
    lane: 'block',
    options: s.object('CopyBlock', 'What', {
      disk,
      bandwidthBytes,
      file: s.string('file that is made, an absolute path', {
        pattern: /^\//u,
        patternName: 'an absolute path',
      }),
      format: s.choice('image format', ['raw', 'qcow2'], { optional: true }),
      shallow: flag('only what is in the topmost image'),
      reuse: flag('write to a file that is there'),
      pivot: flag('go on with the copy afterwards'),
    }),
    long: true,
  },
  resize: {
    access: 'admin',
    doc: 'Makes a disk larger.',
    key: 'domain',
    options: s.object('ResizeBlock', 'What', {
      disk,
      sizeBytes: s.integer('size the guest sees', { min: 512 }),
    }),
  },
  backup: {
    access: 'admin',
    doc: 'Copies disks as they are now, or what was written since a checkpoint: to files, or served by NBD.',
    key: 'domain',
    lane: 'block',
    options: s.object('BackupBlock', 'What', {
      disks: s.array(
        'disks; all without it',
        s.object('BackupDisk', 'A disk', {
          disk,
          file,
          export: s.string('name it is served by', { optional: true, maxLength: 255 }),
        }),
        { optional: true, maxItems: 512 },
      ),
      mode: s.choice('to files, or served', ['push', 'pull'], { optional: true }),
      server: s.string('unix socket or host:port', { optional: true, maxLength: 255 }),
      since: s.string('checkpoint', { optional: true, maxLength: 128 }),
      checkpoint: s.string('checkpoint made at the same moment', { optional: true, maxLength: 128 }),
    }),
    long: true,
  },
} as const satisfies PartTable<Blocks>
