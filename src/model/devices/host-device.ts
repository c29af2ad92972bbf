/** Devices of the host that a guest gets. Source: libvirt's "Domain XML format", host device assignment. */
import { aNumber, oneWord, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, bootOrder, deviceOrder } from './common.ts'
import { DiskHost } from './disk-source.ts'

const oneName = { pattern: /^[^\s\p{Cc},]+$/u, patternName: 'a name without spaces' } as const
const number = (doc: string, xml: string) => s.string(doc, { xml, optional: true, ...aNumber })

export const HostDevice = s.object(
  'HostDevice',
  'A device of the host that the guest gets',
  {
    mode: s.choice('kind of assignment', ['subsystem'], { xml: '@mode', default: 'subsystem' }),
    type: s.choice('kind of device', ['usb', 'pci', 'scsi', 'mdev', 'scsi_host'], { xml: '@type' }),
    managed: s.boolean('take it from its driver at the start, and give it back', {
      xml: '@managed',
      as: 'yes-no',
      optional: true,
    }),
    startupPolicy: s.choice('what to do when it is not there', ['mandatory', 'requisite', 'optional'], {
      xml: 'source/@startupPolicy',
      optional: true,
    }),
    vendor: number('vendor of a USB device', 'source/vendor/@id'),
    product: number('product number of a USB device', 'source/product/@id'),
    hostDomain: number('PCI domain on the host', 'source/address/@domain'),
    hostBus: number('PCI or USB bus on the host', 'source/address/@bus'),
    hostDevice: number('USB device on the host', 'source/address/@device'),
    hostSlot: number('PCI slot on the host', 'source/address/@slot'),
    hostFunction: number('PCI function on the host', 'source/address/@function'),
    adapter: s.string('controller of a SCSI device on the host', {
      xml: 'source/adapter/@name',
      optional: true,
      maxLength: 255,
      ...oneWord,
    }),
    hostTarget: number('SCSI target on the host', 'source/address/@target'),
    hostUnit: number('SCSI unit on the host', 'source/address/@unit'),
    protocol: s.choice('protocol of the server that has the SCSI device', ['iscsi', 'vhost'], {
      xml: 'source/@protocol',
      optional: true,
    }),
    name: s.string('name of the SCSI device on its server, with the unit: iqn.2026-01.org.example:disk/1', {
      xml: 'source/@name',
      optional: true,
      maxLength: 255,
      ...oneName,
    }),
    hosts: s.array('server of the SCSI device', DiskHost, { xml: 'source/host', default: [], maxItems: 1 }),
    uuid: s.string('part of a device of the host that is made for guests (mdev)', {
      xml: 'source/address/@uuid',
      optional: true,
      normalize: 'uuid',
      pattern: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u,
      patternName: 'a uuid',
    }),
    model: s.choice('interface to the guest (mdev)', ['vfio-pci', 'vfio-ccw', 'vfio-ap'], {
      xml: '@model',
      optional: true,
    }),
    display: s.boolean('whether it has a screen (mdev)', { xml: '@display', as: 'on-off', optional: true }),
    ramfb: s.boolean('whether that screen is there from the start (mdev)', {
      xml: '@ramfb',
      as: 'on-off',
      optional: true,
    }),
    readonly: s.boolean('write protection (scsi)', { xml: 'readonly', as: 'presence', default: false }),
    shareable: s.boolean('whether other machines may use it too (scsi)', {
      xml: 'shareable',
      as: 'presence',
      default: false,
    }),
    bootOrder,
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words('@mode @type @managed @model @display @ramfb driver source readonly shareable', deviceOrder),
      source: words(
        '@protocol @name @startupPolicy @guestReset host initiator auth adapter vendor product address',
      ),
    },
  },
)

export const UsbHub = s.object('UsbHub', 'A USB hub', {
  type: s.choice('kind of hub', ['usb'], { xml: '@type', default: 'usb' }),
  alias,
  address,
  unknown,
})

export type HostDevice = s.Output<typeof HostDevice>
export type UsbHub = s.Output<typeof UsbHub>
