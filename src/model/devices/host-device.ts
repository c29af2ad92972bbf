/** Devices of the host that a guest gets. Source: libvirt's "Domain XML format", host device assignment. */
import { aNumber, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, bootOrder, deviceOrder } from './common.ts'

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
    bootOrder,
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words('@mode @type @managed driver source', deviceOrder),
      source: words('@startupPolicy @guestReset vendor product address'),
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
