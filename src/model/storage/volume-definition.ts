/**
 * What a volume shall be, or is: libvirt's `<volume>` as a typed description.
 *
 * Source: libvirt's "Storage pool and volume XML format" (formatstorage). Fields stand in the order in which
 * libvirt prints them.
 */
import { DiskSecret, diskFormats } from '../devices/disk-source.ts'
import { unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { aVolumeName, printable, StoragePermissions } from './words.ts'

export const volumeTypes = ['file', 'block', 'dir', 'network', 'netdir', 'ploop'] as const
/** Formats of volumes: those of disks, and what a volume may be besides. */
export const volumeFormats = [...diskFormats, 'luks', 'dir', 'unknown'] as const
export type VolumeFormat = (typeof volumeFormats)[number]

const Cipher = s.object('VolumeCipher', 'How it is encrypted', {
  name: s.string('algorithm', {
    xml: '@name',
    maxLength: 32,
    pattern: /^[a-z0-9]+$/u,
    patternName: 'the name of a cipher',
  }),
  sizeBits: s.integer('bits of the key', { xml: '@size', min: 1, max: 4096 }),
  mode: s.choice('mode', ['ecb', 'cbc', 'xts', 'ctr'], { xml: '@mode', optional: true }),
  hash: s.string('hash', {
    xml: '@hash',
    optional: true,
    maxLength: 32,
    pattern: /^[a-z0-9]+$/u,
    patternName: 'the name of a hash',
  }),
})

const InitialVector = s.object('VolumeInitialVector', 'How initial vectors are made', {
  name: s.choice('way', ['plain', 'plain64', 'essiv'], { xml: '@name' }),
  hash: s.string('hash', {
    xml: '@hash',
    optional: true,
    maxLength: 32,
    pattern: /^[a-z0-9]+$/u,
    patternName: 'the name of a hash',
  }),
})

export const VolumeEncryption = s.object('VolumeEncryption', 'Encryption of the volume', {
  format: s.choice('kind of encryption', ['default', 'qcow', 'luks', 'luks2'], { xml: '@format' }),
  engine: s.choice('who does it', ['qemu', 'librbd'], { xml: '@engine', optional: true }),
  secrets: s.array('what unlocks it', DiskSecret, { xml: 'secret', default: [], maxItems: 8 }),
  cipher: s.field(Cipher, { xml: 'cipher', optional: true }),
  initialVector: s.field(InitialVector, { xml: 'ivgen', optional: true }),
  unknown,
})

const timestamps = {
  timestamps: 'when it was read, written and changed last',
  'timestamps/atime': 'when it was read last',
  'timestamps/mtime': 'when it was written last',
  'timestamps/ctime': 'when it was changed last',
}

const Backing = s.object(
  'VolumeBacking',
  'What it is based on',
  {
    path: s.string('path of it', { xml: 'path', ...printable }),
    format: s.choice('its format', volumeFormats, { xml: 'format/@type', optional: true }),
    permissions: s.field(StoragePermissions, { xml: 'permissions', optional: true }),
    unknown,
  },
  { order: { '.': words('path format permissions timestamps') }, runtime: timestamps },
)

const bytes = <const D extends string, const X extends string>(doc: D, xml: X) =>
  s.size(doc, { unit: 'bytes', xml, optional: true, min: 0, max: Number.MAX_SAFE_INTEGER })

export const VolumeDefinition = s.object(
  'VolumeDefinition',
  'A volume, as wanted',
  {
    type: s.choice('what it is', volumeTypes, { xml: '@type', optional: true }),
    name: s.string('name, one of a kind in its pool', { xml: 'name', ...aVolumeName }),
    key: s.string('identity', { xml: 'key', optional: true, inert: true, ...printable }),
    capacityBytes: bytes('size the guest sees', 'capacity'),
    allocationBytes: bytes('size on the host; as much as capacity when absent', 'allocation'),
    path: s.string('where it is', { xml: 'target/path', optional: true, ...printable }),
    format: s.choice('image format', volumeFormats, { xml: 'target/format/@type', optional: true }),
    permissions: s.field(StoragePermissions, { xml: 'target/permissions', optional: true }),
    encryption: s.field(VolumeEncryption, { xml: 'target/encryption', optional: true }),
    compat: s.choice('version of qcow2: what can read it', ['0.10', '1.1'], {
      xml: 'target/compat',
      optional: true,
    }),
    clusterBytes: s.size('how much is allocated at once (qcow2)', {
      unit: 'bytes',
      xml: 'target/clusterSize',
      shortUnit: true,
      optional: true,
      min: 512,
      max: 2 ** 21,
    }),
    noCopyOnWrite: s.boolean('written in place (btrfs)', {
      xml: 'target/nocow',
      as: 'presence',
      optional: true,
    }),
    lazyRefcounts: s.boolean('counts of references are brought up to date late (qcow2)', {
      xml: 'target/features/lazy_refcounts',
      as: 'presence',
      optional: true,
    }),
    extendedL2: s.boolean('clusters are allocated in 32 parts (qcow2)', {
      xml: 'target/features/extended_l2',
      as: 'presence',
      optional: true,
    }),
    backing: s.field(Backing, { xml: 'backingStore', optional: true }),
    unknown,
  },
  {
    xml: 'volume',
    order: {
      '.': words('@type name key source capacity allocation physical target backingStore'),
      target: words('path format permissions timestamps encryption compat clusterSize nocow features'),
      'target/features': words('lazy_refcounts extended_l2'),
    },
    runtime: {
      source: 'which parts of devices it is on',
      physical: 'how much of the host it takes',
      'physical/@unit': 'unit of that',
      ...Object.fromEntries(Object.entries(timestamps).map(([key, reason]) => [`target/${key}`, reason])),
    },
  },
)
export type VolumeDefinition = s.Output<typeof VolumeDefinition>
export type VolumeDefinitionInput = s.Input<typeof VolumeDefinition>
