/**
 * Snapshots, checkpoints and backups as libvirt writes them: `<domainsnapshot>`, `<domaincheckpoint>`,
 * `<domainbackup>`.
 *
 * Source: libvirt's "Snapshot XML format", "Checkpoint XML format" and "Backup XML format"; the fields stand in
 * the order of its output.
 */
import { checkDefinition } from './check-definition.ts'
import { type DefinitionFormat, guessFormat } from './definition.ts'
import { DomainDefinition } from './domain-definition.ts'
import { path, unknown } from './domain-words.ts'
import * as s from './schema.ts'
import { parseXmlDocument } from './xml-decode.ts'
import { formatXml } from './xml-encode.ts'
import { parseYaml } from './yaml-read.ts'
import { formatYaml } from './yaml-write.ts'

const name = s.string('name, one of a kind in its domain; made from the time without', {
  xml: 'name',
  optional: true,
  minLength: 1,
  maxLength: 128,
})
const description = s.string('any text about it', { xml: 'description', optional: true, maxLength: 65_536 })
const parent = s.string('name of the one before it', { xml: 'parent/name', optional: true, maxLength: 128 })
const creationTime = s.integer('when it was made, in seconds since 1970', {
  xml: 'creationTime',
  optional: true,
  min: 0,
})
const target = s.string('target name of the disk, or its file', {
  xml: '@name',
  minLength: 1,
  maxLength: 4095,
})

export const SnapshotDiskDefinition = s.object(
  'SnapshotDiskDefinition',
  'A disk of a snapshot',
  {
    name: target,
    snapshot: s.choice(
      'where its state is kept: nowhere, in the image itself, in the file below an overlay, or by other means',
      ['no', 'internal', 'external', 'manual'],
      { xml: '@snapshot', optional: true },
    ),
    type: s.choice('kind of overlay', ['file', 'block', 'network'], { xml: '@type', optional: true }),
    format: s.string('format of the overlay', { xml: 'driver/@type', optional: true, maxLength: 64 }),
    file: path('file the domain goes on in', { xml: 'source/@file', optional: true }),
    block: path('block device the domain goes on in', { xml: 'source/@dev', optional: true }),
    unknown,
  },
  { order: { '.': ['@name', '@snapshot', '@type', 'driver', 'source'] } },
)

const states = [
  'nostate',
  'running',
  'blocked',
  'paused',
  'shutdown',
  'shutoff',
  'crashed',
  'pmsuspended',
] as const

export const SnapshotDefinition = s.object(
  'SnapshotDefinition',
  'A snapshot of a domain, as wanted or as it is kept',
  {
    name,
    description,
    state: s.choice('what the domain did at that time', [...states, 'disk-snapshot'], {
      xml: 'state',
      optional: true,
    }),
    parent,
    creationTime,
    memory: s.choice('where memory and devices are kept', ['no', 'internal', 'external'], {
      xml: 'memory/@snapshot',
      optional: true,
    }),
    memoryFile: path('file with memory and devices', { xml: 'memory/@file', optional: true }),
    disks: s.array('per disk', SnapshotDiskDefinition, {
      xml: 'disks/disk',
      default: [],
      maxItems: 512,
      key: ['name'],
    }),
    domain: s.field(DomainDefinition, { xml: 'domain', optional: true }, 'the machine at that time'),
    inactiveDomain: s.field(
      DomainDefinition,
      { xml: 'inactiveDomain', optional: true },
      'what its next start would have used',
    ),
    unknown,
  },
  {
    xml: 'domainsnapshot',
    runtime: {
      cookie: "libvirt's own notes about a machine that ran",
      active: 'whether it was the current one',
    },
  },
)
export type SnapshotDefinition = s.Output<typeof SnapshotDefinition>

export const CheckpointDefinition = s.object(
  'CheckpointDefinition',
  'A checkpoint of a domain, as wanted or as it is kept',
  {
    name,
    description,
    parent,
    creationTime,
    disks: s.array(
      'per disk',
      s.object('CheckpointDiskDefinition', 'A disk of a checkpoint', {
        name: target,
        checkpoint: s.choice('whether it is remembered what is written', ['no', 'bitmap'], {
          xml: '@checkpoint',
          optional: true,
        }),
        bitmap: s.string('name of its dirty bitmap', { xml: '@bitmap', optional: true, maxLength: 1023 }),
        size: s.integer('bytes written since', { xml: '@size', optional: true, min: 0 }),
        unknown,
      }),
      { xml: 'disks/disk', default: [], maxItems: 512, key: ['name'] },
    ),
    domain: s.field(DomainDefinition, { xml: 'domain', optional: true }, 'the machine at that time'),
    unknown,
  },
  { xml: 'domaincheckpoint' },
)
export type CheckpointDefinition = s.Output<typeof CheckpointDefinition>

const yes = { as: 'yes-no', optional: true } as const

const BackupDisk = s.object(
  'BackupDisk',
  'A disk of a backup',
  {
    name: target,
    backup: s.boolean('whether it is backed up', { xml: '@backup', ...yes }),
    type: s.choice('kind of target', ['file', 'block'], { xml: '@type', optional: true }),
    mode: s.choice('all of it, or what was written since', ['full', 'incremental'], {
      xml: '@backupmode',
      optional: true,
    }),
    incremental: s.string('checkpoint since when', { xml: '@incremental', optional: true, maxLength: 128 }),
    exportName: s.string('name it is served by', { xml: '@exportname', optional: true, maxLength: 4095 }),
    exportBitmap: s.string('name of the bitmap that is served with it', {
      xml: '@exportbitmap',
      optional: true,
      maxLength: 1023,
    }),
    format: s.string('format of the target', { xml: 'driver/@type', optional: true, maxLength: 64 }),
    file: path('file it is written to', { xml: 'target/@file', optional: true }),
    block: path('block device it is written to', { xml: 'target/@dev', optional: true }),
    scratch: path('file for what the guest overwrites meanwhile', { xml: 'scratch/@file', optional: true }),
    unknown,
  },
  {
    order: {
      '.': ['@name', '@backup', '@type', '@backupmode', '@incremental', '@exportname', '@exportbitmap'],
    },
  },
)

export const BackupDefinition = s.object(
  'BackupDefinition',
  'A backup of the disks of a domain, as wanted',
  {
    mode: s.choice('written to files (push), or served by NBD (pull)', ['push', 'pull'], {
      xml: '@mode',
      default: 'push',
    }),
    incremental: s.string('checkpoint since when', { xml: 'incremental', optional: true, maxLength: 128 }),
    tls: s.boolean('encrypted connection', { xml: 'server/@tls', ...yes }),
    transport: s.choice('kind of socket', ['tcp', 'unix'], { xml: 'server/@transport', optional: true }),
    host: s.string('address it is served at', { xml: 'server/@name', optional: true, maxLength: 255 }),
    port: s.integer('port it is served at', { xml: 'server/@port', optional: true, min: 0, max: 65_535 }),
    socket: path('unix socket it is served at', { xml: 'server/@socket', optional: true }),
    disks: s.array('per disk', BackupDisk, {
      xml: 'disks/disk',
      default: [],
      maxItems: 512,
      key: ['name'],
    }),
    unknown,
  },
  { xml: 'domainbackup', order: { server: ['@transport', '@tls', '@name', '@port', '@socket'] } },
)
export type BackupDefinition = s.Output<typeof BackupDefinition>

const read = <S extends s.Schema>(schema: S, text: string, format: DefinitionFormat): s.Output<S> =>
  format === 'xml' ? parseXmlDocument(schema, text) : parseYaml(schema, text, { format })

const write = <S extends s.Schema>(schema: S, value: s.Output<S>, format: DefinitionFormat): string =>
  format === 'xml'
    ? formatXml(schema, value)
    : format === 'yaml'
      ? formatYaml(schema, value)
      : `${JSON.stringify(value, null, 2)}\n`

/** A snapshot as text: libvirt's XML, YAML or JSON. Fails with `invalid-definition` that names the place. */
export function parseSnapshot(text: string, format = guessFormat(text)): SnapshotDefinition {
  const snapshot = read(SnapshotDefinition, text, format)
  for (const one of [snapshot.domain, snapshot.inactiveDomain]) if (one) checkDefinition(one)
  return snapshot
}

/** As text that ends in a newline; {@link parseSnapshot} gives an equal one back. */
export const formatSnapshot = (snapshot: SnapshotDefinition, format: DefinitionFormat): string =>
  write(SnapshotDefinition, snapshot, format)

/** As {@link parseSnapshot}. */
export const parseCheckpoint = (text: string, format = guessFormat(text)): CheckpointDefinition =>
  read(CheckpointDefinition, text, format)

export const formatCheckpoint = (checkpoint: CheckpointDefinition, format: DefinitionFormat): string =>
  write(CheckpointDefinition, checkpoint, format)

/** As {@link parseSnapshot}. */
export const parseBackup = (text: string, format = guessFormat(text)): BackupDefinition =>
  read(BackupDefinition, text, format)

export const formatBackup = (backup: BackupDefinition, format: DefinitionFormat): string =>
  write(BackupDefinition, backup, format)
