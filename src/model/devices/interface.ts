/** Network interfaces. Source: libvirt's "Domain XML format", devices. */

import { aLink, aName, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, bootOrder, deviceOrder } from './common.ts'

const mac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/u

export const Interface = s.object(
  'Interface',
  'A network interface',
  {
    type: s.choice('kind of connection', ['user', 'network', 'bridge', 'ethernet', 'direct'], {
      xml: '@type',
    }),
    mac: s.string('hardware address; made by visor when absent', {
      xml: 'mac/@address',
      optional: true,
      generated: true,
      normalize: 'mac',
      pattern: mac,
      patternName: "a MAC address such as '52:54:00:12:34:56'",
    }),
    network: s.string('name of the network', {
      xml: 'source/@network',
      optional: true,
      maxLength: 255,
      ...aName,
    }),
    bridge: s.string('name of the bridge', { xml: 'source/@bridge', optional: true, ...aLink }),
    dev: s.string('host link', { xml: 'source/@dev', optional: true, ...aLink }),
    mode: s.choice('mode of the macvtap link', ['vepa', 'bridge', 'private', 'passthrough'], {
      xml: 'source/@mode',
      optional: true,
    }),
    target: s.string('name of the host side', {
      xml: 'target/@dev',
      optional: true,
      generated: true,
      ...aLink,
    }),
    model: s.choice('model of the card', ['virtio', 'e1000', 'e1000e', 'rtl8139', 'ne2k_pci'], {
      xml: 'model/@type',
      optional: true,
    }),
    link: s.choice('state of the cable', ['up', 'down'], { xml: 'link/@state', optional: true }),
    mtu: s.integer('largest packet, in bytes', { xml: 'mtu/@size', optional: true, min: 68, max: 65_535 }),
    bootOrder,
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words(
        '@type @managed @trustGuestRxFilters mac source vlan virtualport bandwidth port ip route script',
        'downscript backenddomain target guest model driver backend filterref tune link mtu teaming coalesce',
        deviceOrder,
      ),
    },
    runtime: { 'source/@portid': 'identity of the port on the network' },
  },
)

export type Interface = s.Output<typeof Interface>
