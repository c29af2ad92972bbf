/**
 * What a pool of storage shall be: libvirt's `<pool>` as a typed description.
 *
 * Source: libvirt's "Storage pool and volume XML format" (formatstorage). Fields stand in the order in which
 * libvirt prints them.
 */
import { oneWord, path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { aUuid, printable, StoragePermissions } from './words.ts'

/** libvirt's types, and two of visor's own: `btrfs` (subvolumes of a file system) and `nbd` (exports of a server). */
export const poolTypes = [
  ...(['dir', 'fs', 'netfs', 'logical', 'disk', 'iscsi', 'iscsi-direct', 'scsi', 'mpath', 'rbd'] as const),
  ...(['gluster', 'zfs', 'vstorage', 'btrfs', 'nbd'] as const),
] as const
export type PoolType = (typeof poolTypes)[number]

const aHost = {
  maxLength: 255,
  pattern: /^(?!-)[\w.:%\-[\]]+$/u,
  patternName: 'a host name or IP address',
} as const
const anIscsiName = {
  maxLength: 223,
  pattern: /^[a-zA-Z0-9.:_-]+$/u,
  patternName: "an iSCSI name such as 'iqn.2026-01.org.example:host'",
} as const

const PoolHost = s.object('PoolHost', 'A server of the storage', {
  name: s.string('name or IP address', { xml: '@name', ...aHost }),
  port: s.integer('port', { xml: '@port', optional: true, min: 1, max: 65_535 }),
  unknown,
})

const PoolDevice = s.object('PoolDevice', 'A block device of the host, or a target of a server', {
  path: s.string('path of the device, or name of the target', { xml: '@path', ...printable }),
  partSeparator: s.boolean("a 'p' stands between the device and the number of a partition", {
    xml: '@part_separator',
    as: 'yes-no',
    optional: true,
  }),
  unknown,
})

const PoolSecret = s.object('PoolSecret', 'The secret of that user', {
  uuid: s.string('secret of that uuid', { xml: '@uuid', optional: true, ...aUuid }),
  usage: s.string('secret of that usage', { xml: '@usage', optional: true, ...printable }),
})

const PoolAuth = s.object('PoolAuth', 'A user of the storage server', {
  type: s.choice('kind of login', ['chap', 'ceph'], { xml: '@type' }),
  username: s.string('name of the user', { xml: '@username', ...printable }),
  secret: s.field(PoolSecret, { xml: 'secret' }),
  unknown,
})

export const PoolSource = s.object(
  'PoolSource',
  'Where the storage comes from',
  {
    hosts: s.array('its servers', PoolHost, { xml: 'host', default: [], maxItems: 64 }),
    devices: s.array('its devices', PoolDevice, { xml: 'device', default: [], maxItems: 256 }),
    directory: path('folder of the server', { xml: 'dir/@path', optional: true }),
    adapter: s.fragment('SCSI adapter of the host', { xml: 'adapter', optional: true }),
    name: s.string('name of the volume group, the pool or the export', {
      xml: 'name',
      optional: true,
      ...printable,
      maxLength: 255,
    }),
    initiator: s.string('iSCSI name of this host', {
      xml: 'initiator/iqn/@name',
      optional: true,
      ...anIscsiName,
    }),
    auth: s.field(PoolAuth, { xml: 'auth', optional: true }),
    format: s.string('kind of file system, of partition table or of volume group', {
      xml: 'format/@type',
      optional: true,
      maxLength: 32,
      ...oneWord,
    }),
    protocolVersion: s.string('version of NFS', {
      xml: 'protocol/@ver',
      optional: true,
      pattern: /^\d(?:\.\d)?$/u,
      patternName: "a version such as '4.1'",
    }),
    vendor: s.string('vendor of the storage', {
      xml: 'vendor/@name',
      optional: true,
      inert: true,
      ...printable,
    }),
    product: s.string('name of the product', {
      xml: 'product/@name',
      optional: true,
      inert: true,
      ...printable,
    }),
    unknown,
  },
  {
    order: {
      '.': words('host device dir adapter name initiator auth format protocol vendor product'),
    },
  },
)
export type PoolSource = s.Output<typeof PoolSource>

const MountOption = s.string('an option of mount(8)', {
  maxLength: 255,
  pattern: /^[\w.=:@/%+-]+$/u,
  patternName: 'an option of mount without commas and spaces',
})

const RbdOption = s.object('RbdOption', 'A setting of the Ceph client', {
  name: s.string('name', { xml: '@name', maxLength: 128, ...oneWord }),
  value: s.string('value', { xml: '@value', ...printable }),
})

export const PoolDefinition = s.object(
  'PoolDefinition',
  'A pool of storage, as wanted',
  {
    type: s.choice('what it is made of', poolTypes, { xml: '@type' }),
    name: s.string('name, one of a kind on its host', {
      xml: 'name',
      inert: true,
      minLength: 1,
      maxLength: 128,
      pattern: /^(?!\.\.?$)[^/\s\p{Cc}]+$/u,
      patternName: 'a name without slashes, spaces or control characters',
    }),
    uuid: s.string('identity; made by visor when absent', {
      xml: 'uuid',
      optional: true,
      generated: true,
      inert: true,
      ...aUuid,
    }),
    copyOnWrite: s.boolean('whether files are written to new places (btrfs); switched off it is faster', {
      xml: 'features/cow/@state',
      as: 'yes-no',
      optional: true,
    }),
    source: s.field(PoolSource, { xml: 'source', default: { hosts: [], devices: [] } }),
    path: path('folder of this host where its volumes are', { xml: 'target/path', optional: true }),
    permissions: s.field(StoragePermissions, { xml: 'target/permissions', optional: true }),
    volumeAllocation: s.choice(
      "what counts as a volume's size on the host: what it has of it, or what it may take",
      ['default', 'capacity'],
      { xml: 'refresh/volume/@allocation', optional: true },
    ),
    mountOptions: s.array('options of its mount', MountOption, {
      xml: 'fs:mount_opts/fs:option/@name',
      default: [],
      maxItems: 64,
    }),
    rbdOptions: s.array('settings of the Ceph client', RbdOption, {
      xml: 'rbd:config_opts/rbd:option',
      default: [],
      maxItems: 64,
    }),
    unknown,
  },
  {
    xml: 'pool',
    order: {
      '.': words(
        '@type name uuid capacity allocation available features source target refresh fs:mount_opts rbd:config_opts',
      ),
      target: words('path permissions'),
    },
    namespaces: {
      fs: 'http://libvirt.org/schemas/storagepool/fs/1.0',
      rbd: 'http://libvirt.org/schemas/storagepool/rbd/1.0',
    },
    runtime: {
      capacity: 'how much there is',
      'capacity/@unit': 'unit of that',
      allocation: 'how much of it is taken',
      available: 'how much of it is free',
      '@xmlns:fs': 'namespace of options',
      '@xmlns:rbd': 'namespace of options',
      'fs:mount_opts/@xmlns:fs': 'namespace of options',
      'rbd:config_opts/@xmlns:rbd': 'namespace of options',
    },
  },
)
export type PoolDefinition = s.Output<typeof PoolDefinition>
export type PoolDefinitionInput = s.Input<typeof PoolDefinition>
