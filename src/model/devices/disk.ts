/** Disks, CD-ROMs and floppies. Source: libvirt's "Domain XML format", devices. */
import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, bootOrder, deviceOrder } from './common.ts'

export const Disk = s.object(
  'Disk',
  'A disk, CD-ROM or floppy',
  {
    type: s.choice('kind of source', ['file', 'block'], { xml: '@type', default: 'file' }),
    device: s.choice('kind of drive the guest sees', ['disk', 'cdrom', 'floppy'], {
      xml: '@device',
      default: 'disk',
    }),
    driver: s.choice('program that serves it', ['qemu'], {
      xml: 'driver/@name',
      optional: true,
      inert: true,
    }),
    format: s.choice('image format, never guessed from the content', ['raw', 'qcow2'], {
      xml: 'driver/@type',
      default: 'raw',
      quiet: true,
    }),
    cache: s.choice(
      'host cache mode',
      ['default', 'none', 'writethrough', 'writeback', 'directsync', 'unsafe'],
      { xml: 'driver/@cache', optional: true },
    ),
    io: s.choice('I/O engine', ['native', 'threads', 'io_uring'], { xml: 'driver/@io', optional: true }),
    discard: s.choice("fate of the guest's discard requests", ['ignore', 'unmap'], {
      xml: 'driver/@discard',
      optional: true,
    }),
    file: path('image file on the host', { xml: 'source/@file', optional: true }),
    block: path('block device on the host', { xml: 'source/@dev', optional: true }),
    target: s.string('name of the device, an ordering hint for the guest', {
      xml: 'target/@dev',
      pattern: /^[a-z]{2,3}[a-z0-9]{1,8}$/u,
      patternName: "a device name such as 'vda'",
    }),
    bus: s.choice(
      'kind of bus; that of the target name when absent',
      ['virtio', 'ide', 'sata', 'scsi', 'usb', 'fdc'],
      {
        xml: 'target/@bus',
        optional: true,
      },
    ),
    readonly: s.boolean('write protection', { xml: 'readonly', as: 'presence', default: false }),
    serial: s.string('serial number', {
      xml: 'serial',
      optional: true,
      maxLength: 256,
      pattern: /^[\w.+\- ]+$/u,
      patternName: 'letters, digits, spaces and _.+-',
    }),
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
        '@copy_on_read @discard @iothread @detect_zeroes @discard_no_unref @queues',
      ),
    },
    runtime: {
      'source/@index': 'number of the node in the hypervisor',
      'target/@tray': 'whether the tray is open',
    },
    inertXml: { backingStore: { reason: 'the image itself says what it is based on' } },
  },
)

export type Disk = s.Output<typeof Disk>
