/** A network as it is now, and what is known of who is on it. */
import { FilterParameter } from '../nwfilter/definition.ts'
import * as s from '../schema.ts'
import { forwardModes } from './forwarding.ts'

export const networkModes = [...forwardModes, 'isolated'] as const

export const Network = s.object('Network', 'A virtual network as it is now', {
  uuid: s.string('identity'),
  name: s.string('name, one of a kind on its host'),
  title: s.string('one line about it', { optional: true }),
  mode: s.choice('how its guests reach the world', networkModes),
  active: s.boolean('whether it is there now'),
  autostart: s.boolean('whether it starts with the daemon'),
  bridge: s.string('name of its bridge', { optional: true }),
  subnets: s.array("its subnets: '192.168.122.0/24'", s.string('subnet')),
  domain: s.string('DNS domain of its guests', { optional: true }),
  guests: s.integer('how many interfaces of guests are on it', { min: 0 }),
  message: s.string('why it is not as it should be', { optional: true }),
})
export type Network = s.Output<typeof Network>

/** Libvirt's words for who an address was given to. */
export const NetworkLease = s.object('NetworkLease', 'An address that was given', {
  network: s.string('name of the network'),
  mac: s.string('hardware address of who has it', { optional: true }),
  address: s.string('the address'),
  family: s.choice('kind of address', ['ipv4', 'ipv6']),
  prefix: s.integer('bits of its subnet', { min: 0, max: 128 }),
  hostname: s.string('name that was asked for', { optional: true }),
  clientId: s.string('DHCP identity', { optional: true }),
  domain: s.string('uuid of the guest, when it is one of ours', { optional: true }),
  expiresAt: s.string('until when, ISO 8601; for ever when absent', { optional: true }),
})
export type NetworkLease = s.Output<typeof NetworkLease>

export const NetworkPort = s.object('NetworkPort', 'An interface of a guest on a network', {
  network: s.string('name of the network'),
  domain: s.string('uuid of the guest'),
  name: s.string('name of the guest'),
  driver: s.string('scheme of its driver'),
  link: s.string('link of this host that leads to it'),
  mac: s.string('its hardware address'),
  portGroup: s.string('the settings it has', { optional: true }),
  filter: s.string('filter that is in force for it', { optional: true }),
  filterParameters: s.array('values of the variables of its filter', FilterParameter, { default: [] }),
  addresses: s.array('addresses that are kept for it', s.string('address')),
})
export type NetworkPort = s.Output<typeof NetworkPort>

export const GuestName = s.object('GuestName', 'A name on a network, and who has it', {
  name: s.string("the whole name: 'web.lab.visor'"),
  network: s.string('name of the network'),
  guest: s.string('name of the guest, when it is one', { optional: true }),
  addresses: s.array('its addresses', s.string('address')),
})
export type GuestName = s.Output<typeof GuestName>

export const addressSources = ['lease', 'agent', 'arp', 'reservation', 'inspect'] as const

export const GuestInterfaceAddress = s.object(
  'GuestInterfaceAddress',
  'An address of a guest, and who says so',
  {
    interface: s.string("link of this host, or name in the guest where only that is known: 'vnet0', 'eth0'"),
    mac: s.string('hardware address', { optional: true }),
    address: s.string('the address'),
    family: s.choice('kind of address', ['ipv4', 'ipv6']),
    prefix: s.integer('bits of its subnet', { optional: true, min: 0, max: 128 }),
    network: s.string('name of the network', { optional: true }),
    sources: s.array('who says so', s.choice('source', addressSources)),
  },
)
export type GuestInterfaceAddress = s.Output<typeof GuestInterfaceAddress>
