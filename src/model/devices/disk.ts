/** Disks, CD-ROMs and floppies. Source: libvirt's "Domain XML format", devices. */
import { unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, bootOrder, deviceOrder } from './common.ts'
import { DiskAuth, DiskEncryption, diskFormats, sourceFields, sourceTypes } from './disk-source.ts'
import { DiskThrottle } from './disk-throttle.ts'

const sourceOrder = words(
  '@file @dev @dir @protocol @name @query @tls @tlsHostname @tlsDirectory @pool @volume @mode @type @path @managed',
  '@namespace @startupPolicy @index address host snapshot config initiator cookies ssl readahead timeout',
  'identity knownHosts reconnect slices seclabel auth encryption reservations privateData',
)

const BackingStoreFields = s.object(
  'BackingStore',
  'What an image is based on; one without a format ends the chain',
  {
    type: s.choice('kind of source', sourceTypes, { xml: '@type', optional: true }),
    format: s.choice('image format', diskFormats, { xml: 'format/@type', optional: true }),
    ...sourceFields,
    unknown,
  },
  {
    order: { '.': words('@type @index format source backingStore'), source: sourceOrder },
    runtime: { '@index': 'number of the node in the hypervisor' },
  },
)

/** An image that others are based on, and what it is based on itself. */
export type BackingStore = s.Output<typeof BackingStoreFields> & { backingStore?: BackingStore }
type BackingStoreInput = s.Input<typeof BackingStoreFields> & { backingStore?: BackingStoreInput }
export const BackingStore = BackingStoreFields as unknown as Omit<typeof BackingStoreFields, 'types'> &
  s.Schema<BackingStore, BackingStoreInput>
const backingStore = s.field(BackingStore, { xml: 'backingStore', optional: true })
// A noun that holds itself: no literal can say that.
Object.assign(BackingStore.fields, { backingStore })

const onOff = <const X extends string>(doc: string, xml: X) =>
  s.boolean(doc, { xml, as: 'on-off', optional: true })

/** How the host serves it. */
const driverFields = {
  driver: s.choice('program that serves it', ['qemu'], { xml: 'driver/@name', optional: true, inert: true }),
  format: s.choice('image format, never guessed from the content', diskFormats, {
    xml: 'driver/@type',
    default: 'raw',
    quiet: true,
  }),
  cache: s.choice(
    'host cache mode',
    ['default', 'none', 'writethrough', 'writeback', 'directsync', 'unsafe'],
    { xml: 'driver/@cache', optional: true },
  ),
  errorPolicy: s.choice(
    'what a failed write, or read without a policy of its own, does',
    [...(['stop', 'report', 'ignore', 'enospace'] as const)],
    { xml: 'driver/@error_policy', optional: true },
  ),
  readErrorPolicy: s.choice('what a failed read does', ['stop', 'report', 'ignore'], {
    xml: 'driver/@rerror_policy',
    optional: true,
  }),
  io: s.choice('I/O engine', ['native', 'threads', 'io_uring'], { xml: 'driver/@io', optional: true }),
  ioEventFd: onOff('requests handled outside the thread of the processor', 'driver/@ioeventfd'),
  eventIndex: onOff('fewer interrupts and notices', 'driver/@event_idx'),
  copyOnRead: onOff('what is read from what the image is based on is kept in it', 'driver/@copy_on_read'),
  discard: s.choice("fate of the guest's discard requests", ['ignore', 'unmap'], {
    xml: 'driver/@discard',
    optional: true,
  }),
  ioThread: s.integer('I/O thread that serves it, from 1', {
    xml: 'driver/@iothread',
    optional: true,
    min: 1,
    max: 1024,
  }),
  detectZeroes: s.choice('whether writes of zeroes become holes', ['off', 'on', 'unmap'], {
    xml: 'driver/@detect_zeroes',
    optional: true,
  }),
  discardNoUnref: onOff('discarded clusters stay where they are in the image', 'driver/@discard_no_unref'),
  queues: s.integer('number of queues', { xml: 'driver/@queues', optional: true, min: 1, max: 1024 }),
  queueSize: s.integer('length of a queue', { xml: 'driver/@queue_size', optional: true, min: 2, max: 1024 }),
  iommu: onOff('behind the IOMMU of the machine', 'driver/@iommu'),
  ats: onOff('address translation services', 'driver/@ats'),
  packed: onOff('packed queues', 'driver/@packed'),
  pagePerVq: onOff('a page for the notices of each queue', 'driver/@page_per_vq'),
  metadataCacheBytes: s.size('cache of the tables of a qcow2 image', {
    unit: 'bytes',
    xml: 'driver/metadata_cache/max_size',
    optional: true,
    min: 1,
    max: 2 ** 40,
  }),
} as const

/** What the guest sees. */
const guestFields = {
  target: s.string('name of the device, an ordering hint for the guest', {
    xml: 'target/@dev',
    pattern: /^[a-z]{2,4}[a-z0-9]{1,8}$/u,
    patternName: "a device name such as 'vda'",
  }),
  bus: s.choice(
    'kind of bus; that of the target name when absent',
    [...(['virtio', 'ide', 'sata', 'scsi', 'usb', 'fdc', 'nvme', 'sd'] as const)],
    { xml: 'target/@bus', optional: true },
  ),
  removable: onOff('whether a USB disk says that its medium can be taken out', 'target/@removable'),
  rotationRate: s.integer('rotations per minute; 1 is a disk without moving parts', {
    xml: 'target/@rotation_rate',
    optional: true,
    min: 1,
    max: 65_534,
  }),
  cylinders: s.integer('cylinders', { xml: 'geometry/@cyls', optional: true, min: 1, max: 65_535 }),
  heads: s.integer('heads', { xml: 'geometry/@heads', optional: true, min: 1, max: 255 }),
  sectors: s.integer('sectors of a track', { xml: 'geometry/@secs', optional: true, min: 1, max: 255 }),
  translation: s.choice('translation of the geometry by the BIOS', ['none', 'lba', 'auto'], {
    xml: 'geometry/@trans',
    optional: true,
  }),
  logicalBlockBytes: s.integer('smallest block that is read or written', {
    xml: 'blockio/@logical_block_size',
    optional: true,
    min: 512,
    max: 2 ** 21,
  }),
  physicalBlockBytes: s.integer('smallest block that is written without reading first', {
    xml: 'blockio/@physical_block_size',
    optional: true,
    min: 512,
    max: 2 ** 21,
  }),
  discardGranularityBytes: s.integer('smallest block that is discarded', {
    xml: 'blockio/@discard_granularity',
    optional: true,
    min: 0,
    max: 2 ** 31,
  }),
} as const

const plainText = {
  pattern: /^[ -~]+$/u,
  patternName: 'letters, digits, spaces and signs of ASCII',
} as const

export const Disk = s.object(
  'Disk',
  'A disk, CD-ROM or floppy',
  {
    type: s.choice('kind of source', sourceTypes, { xml: '@type', default: 'file' }),
    device: s.choice(
      'kind of drive the guest sees; lun: a SCSI device of the host as it is',
      [...(['disk', 'cdrom', 'floppy', 'lun'] as const)],
      { xml: '@device', default: 'disk' },
    ),
    model: s.choice(
      'kind of virtio device',
      [...(['virtio', 'virtio-transitional', 'virtio-non-transitional'] as const)],
      { xml: '@model', optional: true },
    ),
    ...driverFields,
    outerAuth: s.field(DiskAuth, { xml: 'auth', optional: true }, 'The same as auth, in its older place'),
    ...sourceFields,
    backingStore,
    ...guestFields,
    throttle: s.field(DiskThrottle, { xml: 'iotune', optional: true }),
    readonly: s.boolean('write protection', { xml: 'readonly', as: 'presence', default: false }),
    shareable: s.boolean('whether other machines may write it too', {
      xml: 'shareable',
      as: 'presence',
      default: false,
    }),
    transient: s.boolean('whether what is written is gone when the machine ends', {
      xml: 'transient',
      as: 'presence',
      default: false,
    }),
    serial: s.string('serial number', {
      xml: 'serial',
      optional: true,
      maxLength: 256,
      pattern: /^[\w.+\- ]+$/u,
      patternName: 'letters, digits, spaces and _.+-',
    }),
    wwn: s.string('World Wide Name', {
      xml: 'wwn',
      optional: true,
      pattern: /^(?:0x)?[0-9a-fA-F]{16}$/u,
      patternName: '16 hexadecimal digits',
    }),
    vendor: s.string('vendor of a SCSI disk', { xml: 'vendor', optional: true, maxLength: 8, ...plainText }),
    product: s.string('product of a SCSI disk', {
      xml: 'product',
      optional: true,
      maxLength: 16,
      ...plainText,
    }),
    outerEncryption: s.field(
      DiskEncryption,
      { xml: 'encryption', optional: true },
      'The same as encryption, in its older place',
    ),
    bootOrder,
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words(
        '@type @device @model @rawio @sgio @snapshot driver auth source',
        'backingStore backenddomain geometry blockio mirror target iotune readonly',
        'shareable transient serial wwn vendor product encryption',
        deviceOrder,
      ),
      driver: words(
        '@name @type @cache @error_policy @rerror_policy @io @ioeventfd @event_idx',
        '@copy_on_read @discard @iothread @detect_zeroes @discard_no_unref @queues @queue_size',
        '@iommu @ats @packed @page_per_vq metadata_cache',
      ),
      source: sourceOrder,
      target: words('@dev @bus @tray @removable @rotation_rate'),
    },
    runtime: {
      'source/@index': 'number of the node in the hypervisor',
      'target/@tray': 'whether the tray is open',
    },
    inertXml: {
      '@snapshot': {
        reason:
          "'no' and 'manual' keep the disk out of snapshots; whether one is internal or external is said when it is taken",
        when: /^snapshot='(?:no|manual|internal|external)'$/u,
      },
      'transient/@shareBacking': {
        reason: 'the image of a transient disk is only read, so that machines can always share it',
        when: /^shareBacking='(?:yes|no)'$/u,
      },
    },
  },
)

export type Disk = s.Output<typeof Disk>
