/** Controllers of buses. Source: libvirt's "Domain XML format", devices. */

import { aNumber, oneWord, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, deviceOrder } from './common.ts'

const count = <const X extends string>(doc: string, xml: X, max = 65_535) =>
  s.integer(doc, { xml, optional: true, min: 0, max })
const onOff = <const X extends string>(doc: string, xml: X) =>
  s.boolean(doc, { xml, as: 'on-off', optional: true })

export const Controller = s.object(
  'Controller',
  'A bus controller',
  {
    type: s.choice(
      'kind of bus',
      [...(['pci', 'ide', 'sata', 'scsi', 'usb', 'virtio-serial', 'fdc', 'nvme', 'ccid', 'isa'] as const)],
      { xml: '@type' },
    ),
    index: s.integer('number among its kind', { xml: '@index', optional: true, min: 0, max: 255 }),
    model: s.string('model', { xml: '@model', optional: true, maxLength: 64, ...oneWord }),
    ports: s.integer('number of ports', { xml: '@ports', optional: true, min: 0, max: 1024 }),
    vectors: s.integer('number of interrupts', { xml: '@vectors', optional: true, min: 0, max: 2048 }),
    queues: count('number of queues', 'driver/@queues', 1024),
    commandsPerLun: count('commands that a disk may have waiting', 'driver/@cmd_per_lun'),
    maxSectors: count('sectors of one request', 'driver/@max_sectors'),
    ioEventFd: onOff('requests handled outside the thread of the processor', 'driver/@ioeventfd'),
    ioThread: s.integer('I/O thread that serves it, from 1', {
      xml: 'driver/@iothread',
      optional: true,
      min: 1,
      max: 1024,
    }),
    iommu: onOff('behind the IOMMU of the machine', 'driver/@iommu'),
    ats: onOff('address translation services', 'driver/@ats'),
    packed: onOff('packed queues', 'driver/@packed'),
    pagePerVq: onOff('a page for the notices of each queue', 'driver/@page_per_vq'),
    modelName: s.string("hypervisor's name of the model", {
      xml: 'model/@name',
      optional: true,
      maxLength: 64,
      ...oneWord,
    }),
    chassisNr: s.integer('number of a PCI bridge', {
      xml: 'target/@chassisNr',
      optional: true,
      min: 0,
      max: 255,
    }),
    chassis: s.integer('PCI chassis', { xml: 'target/@chassis', optional: true, min: 0, max: 255 }),
    port: s.string('PCI port', { xml: 'target/@port', optional: true, ...aNumber }),
    busNr: s.integer('first PCI bus of an expander', {
      xml: 'target/@busNr',
      optional: true,
      min: 0,
      max: 255,
    }),
    targetIndex: s.integer('number of a PCI host bridge of POWER', {
      xml: 'target/@index',
      optional: true,
      min: 0,
      max: 31,
    }),
    hotplug: onOff('whether devices can be plugged in while the machine runs', 'target/@hotplug'),
    node: s.integer('NUMA node of a PCI expander', { xml: 'target/node', optional: true, min: 0, max: 255 }),
    serial: s.string('serial number of an NVMe controller', {
      xml: 'serial',
      optional: true,
      maxLength: 20,
      pattern: /^[\w.+\- ]+$/u,
      patternName: 'letters, digits, spaces and _.+-',
    }),
    alias,
    startPort: s.integer('first port on the USB 2 companion', {
      xml: 'master/@startport',
      optional: true,
      min: 0,
      max: 255,
    }),
    address,
    pciHole64KiB: s.size('64-bit window of PCI memory', {
      unit: 'KiB',
      xml: 'pcihole64',
      optional: true,
      min: 0,
      max: 2 ** 50,
    }),
    unknown,
  },
  {
    order: {
      '.': words('@type @index @model @ports @vectors driver model target', deviceOrder),
      target: words('@chassisNr @chassis @port @busNr @index @hotplug node'),
    },
  },
)

export type Controller = s.Output<typeof Controller>
