/** Input-output memory management. Source: libvirt's "Domain XML format", IOMMU devices. */
import { unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

const onOff = (doc: string, xml: string) => s.boolean(doc, { xml, as: 'on-off', optional: true })

export const Iommu = s.object(
  'Iommu',
  'A unit that says which memory devices reach (IOMMU)',
  {
    model: s.choice('model', ['intel', 'smmuv3', 'virtio'], { xml: '@model' }),
    interruptRemapping: onOff('remapping of interrupts', 'driver/@intremap'),
    cachingMode: onOff('caching mode, for devices of the host', 'driver/@caching_mode'),
    eim: onOff('interrupts to more than 255 processors', 'driver/@eim'),
    iotlb: onOff('cache of translations in devices', 'driver/@iotlb'),
    addressBits: s.integer('width of addresses', {
      xml: 'driver/@aw_bits',
      optional: true,
      min: 39,
      max: 64,
    }),
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words('@model driver alias address'),
      driver: words('@intremap @caching_mode @eim @iotlb @aw_bits'),
    },
  },
)

export type Iommu = s.Output<typeof Iommu>
