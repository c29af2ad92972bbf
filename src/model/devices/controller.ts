/** Controllers of buses. Source: libvirt's "Domain XML format", devices. */

import { aNumber, oneWord, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, deviceOrder } from './common.ts'

export const Controller = s.object(
  'Controller',
  'A bus controller',
  {
    type: s.choice('kind of bus', ['pci', 'ide', 'sata', 'scsi', 'usb', 'virtio-serial', 'fdc'], {
      xml: '@type',
    }),
    index: s.integer('number among its kind', { xml: '@index', optional: true, min: 0, max: 255 }),
    model: s.string('model', { xml: '@model', optional: true, maxLength: 64, ...oneWord }),
    ports: s.integer('number of ports', { xml: '@ports', optional: true, min: 0, max: 1024 }),
    modelName: s.string("hypervisor's name of the model", {
      xml: 'model/@name',
      optional: true,
      maxLength: 64,
      ...oneWord,
    }),
    chassis: s.integer('PCI chassis', { xml: 'target/@chassis', optional: true, min: 0, max: 255 }),
    port: s.string('PCI port', { xml: 'target/@port', optional: true, ...aNumber }),
    alias,
    startPort: s.integer('first port on the USB 2 companion', {
      xml: 'master/@startport',
      optional: true,
      min: 0,
      max: 255,
    }),
    address,
    unknown,
  },
  {
    order: {
      '.': words('@type @index @model @ports @vectors driver model target', deviceOrder),
    },
  },
)

export type Controller = s.Output<typeof Controller>
