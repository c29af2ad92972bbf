/** Addresses of a network, and what is told to those who ask for one. Source: libvirt's "Network XML format". */
import { unknown } from '../domain-words.ts'
import * as s from '../schema.ts'
import { aHostName, aMac, anAddress, aPlainPath } from './words.ts'

const Lease = s.object('LeaseTime', 'How long an address is given', {
  expiry: s.integer('how long; 0 for ever', { xml: '@expiry', min: 0, max: 4_294_967_295 }),
  unit: s.choice('unit of it', ['seconds', 'minutes', 'hours'], {
    xml: '@unit',
    default: 'minutes',
    quiet: true,
  }),
})

const DhcpRange = s.object('DhcpRange', 'Addresses that are given to who asks', {
  start: s.string('first', { xml: '@start', ...anAddress }),
  end: s.string('last', { xml: '@end', ...anAddress }),
  lease: s.field(Lease, { xml: 'lease', optional: true }),
  unknown,
})

const DhcpHost = s.object('DhcpHost', 'An address that is kept for one', {
  id: s.string('DHCPv6 identity', { xml: '@id', optional: true, pattern: /^[0-9a-fA-F:]{2,384}$/u }),
  mac: s.string('hardware address', { xml: '@mac', optional: true, ...aMac }),
  name: s.string('host name', { xml: '@name', optional: true, ...aHostName }),
  address: s.string('address', { xml: '@ip', optional: true, ...anAddress }),
  lease: s.field(Lease, { xml: 'lease', optional: true }),
  unknown,
})
export type DhcpHost = s.Output<typeof DhcpHost>

const BootServer = s.object('BootServer', 'What is booted over the network', {
  file: s.string('file', { xml: '@file', ...aPlainPath, maxLength: 255 }),
  server: s.string('server of the file; this host when absent', {
    xml: '@server',
    optional: true,
    pattern: /^[\w.:-]{1,253}$/u,
    patternName: 'an address or host name',
  }),
  unknown,
})

const Dhcp = s.object('Dhcp', 'Addresses by DHCP', {
  ranges: s.array('addresses that are given', DhcpRange, { xml: 'range', default: [], maxItems: 64 }),
  hosts: s.array('addresses that are kept', DhcpHost, { xml: 'host', default: [], maxItems: 10_000 }),
  bootServers: s.array('what is booted over the network', BootServer, {
    xml: 'bootp',
    default: [],
    maxItems: 8,
  }),
  unknown,
})

export const NetworkAddress = s.object(
  'NetworkAddress',
  'An address of this host on the network, and with it a subnet',
  {
    family: s.choice('kind of address', ['ipv4', 'ipv6'], { xml: '@family', optional: true }),
    address: s.string('address of this host', { xml: '@address', ...anAddress }),
    netmask: s.string('mask of the subnet', { xml: '@netmask', optional: true, ...anAddress }),
    prefix: s.integer('bits of the subnet', { xml: '@prefix', optional: true, min: 0, max: 128 }),
    localPointers: s.boolean('answers to reverse look-ups stay here', {
      xml: '@localPtr',
      as: 'yes-no',
      optional: true,
    }),
    tftp: s.field(
      s.object('Tftp', 'Files to boot from', {
        root: s.string('folder, an absolute path', {
          xml: '@root',
          pattern: /^\/[^\p{Cc}",#\\]*$/u,
          patternName: 'an absolute path without commas, #, quotes, backslashes and control characters',
          maxLength: 4095,
        }),
        unknown,
      }),
      { xml: 'tftp', optional: true },
    ),
    dhcp: s.field(Dhcp, { xml: 'dhcp', optional: true }),
    unknown,
  },
)
export type NetworkAddress = s.Output<typeof NetworkAddress>

export const NetworkRoute = s.object('NetworkRoute', 'A route of this host through a guest', {
  family: s.choice('kind of address', ['ipv4', 'ipv6'], { xml: '@family', optional: true }),
  address: s.string('where to', { xml: '@address', ...anAddress }),
  netmask: s.string('mask of it', { xml: '@netmask', optional: true, ...anAddress }),
  prefix: s.integer('bits of it', { xml: '@prefix', optional: true, min: 0, max: 128 }),
  gateway: s.string('address on the network that forwards', { xml: '@gateway', ...anAddress }),
  metric: s.integer('preference; less is nearer', {
    xml: '@metric',
    optional: true,
    min: 1,
    max: 4_294_967_295,
  }),
  unknown,
})
