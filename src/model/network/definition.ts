/**
 * What a network shall be: libvirt's `<network>` as a typed description.
 *
 * Source: libvirt's "Network XML format" (formatnetwork). Fields stand in the order in which libvirt prints them.
 */
import { aName, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { NetworkAddress, NetworkRoute } from './addressing.ts'
import { Forward, Vxlan } from './forwarding.ts'
import { NetworkDns } from './names.ts'
import { aHostName, aMac, aPlainLink, yesNo } from './words.ts'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u

const Rate = s.object('Rate', 'How much may pass', {
  average: s.integer('over time, kilobytes (1000 bytes) per second', {
    xml: '@average',
    optional: true,
    min: 1,
    max: 2 ** 32,
  }),
  peak: s.integer('at once, kilobytes per second', { xml: '@peak', optional: true, min: 1, max: 2 ** 32 }),
  floor: s.integer('at least, kilobytes per second', { xml: '@floor', optional: true, min: 1, max: 2 ** 32 }),
  burst: s.integer('how much may pass at once, KiB', { xml: '@burst', optional: true, min: 1, max: 2 ** 32 }),
})

export const NetworkBandwidth = s.object('NetworkBandwidth', 'How much may pass in and out', {
  inbound: s.field(Rate, { xml: 'inbound', optional: true }),
  outbound: s.field(Rate, { xml: 'outbound', optional: true }),
})
export type NetworkBandwidth = s.Output<typeof NetworkBandwidth>

const VlanTag = s.object('VlanTag', 'A tag', {
  id: s.integer('number', { xml: '@id', min: 0, max: 4095 }),
  nativeMode: s.choice('how packets without a tag are treated', ['tagged', 'untagged'], {
    xml: '@nativeMode',
    optional: true,
  }),
})
export const NetworkVlan = s.object('NetworkVlan', 'Virtual LANs', {
  trunk: yesNo('several at once', '@trunk'),
  tags: s.array('which', VlanTag, { xml: 'tag', default: [], maxItems: 4096 }),
})

const PortGroup = s.object('PortGroup', 'Settings for the guests that name it', {
  name: s.string('name', { xml: '@name', ...aName, maxLength: 255 }),
  default: yesNo('of who names none', '@default'),
  vlan: s.field(NetworkVlan, { xml: 'vlan', optional: true }),
  bandwidth: s.field(NetworkBandwidth, { xml: 'bandwidth', optional: true }),
  isolated: s.boolean('not to be reached by other guests', {
    xml: 'port/@isolated',
    as: 'yes-no',
    optional: true,
  }),
  unknown,
})

export const NetworkDefinition = s.object(
  'NetworkDefinition',
  'A virtual network, as wanted',
  {
    ipv6: yesNo('guests may talk IPv6 to each other though the network has no such address', '@ipv6'),
    trustGuestRxFilters: yesNo('guests choose what reaches them (macvtap)', '@trustGuestRxFilters'),
    name: s.string('name, one of a kind on its host', {
      xml: 'name',
      inert: true,
      minLength: 1,
      maxLength: 50,
      pattern: /^(?!\.\.?$)[^/\s\p{Cc}]+$/u,
      patternName: 'a name without slashes, spaces or control characters',
    }),
    uuid: s.string('identity; made by visor when absent', {
      xml: 'uuid',
      optional: true,
      generated: true,
      inert: true,
      normalize: 'uuid',
      pattern: uuid,
      patternName: "a uuid such as '6695eb01-f6a4-8304-79aa-97f2502e193f'",
    }),
    title: s.string('one line about it', {
      xml: 'title',
      optional: true,
      inert: true,
      maxLength: 1024,
      pattern: /^[^\n]*$/u,
      patternName: 'one line',
    }),
    description: s.string('any text about it', {
      xml: 'description',
      optional: true,
      inert: true,
      maxLength: 65_536,
    }),
    metadata: s.fragment('data of other programs, kept as written', {
      xml: 'metadata',
      optional: true,
      inert: true,
    }),
    forward: s.field(Forward, { xml: 'forward', optional: true }),
    bridge: s.string('name of the bridge; made by visor when absent', {
      xml: 'bridge/@name',
      optional: true,
      generated: true,
      ...aPlainLink,
    }),
    stp: s.boolean('find loops (spanning tree protocol)', {
      xml: 'bridge/@stp',
      as: 'on-off',
      optional: true,
    }),
    forwardDelaySeconds: s.integer('wait before a port forwards, seconds', {
      xml: 'bridge/@delay',
      optional: true,
      min: 0,
      max: 30,
    }),
    macTable: s.choice('who says which address is where', ['kernel', 'libvirt'], {
      xml: 'bridge/@macTableManager',
      optional: true,
    }),
    zone: s.string('zone of firewalld', {
      xml: 'bridge/@zone',
      optional: true,
      pattern: /^[\w-]{1,17}$/u,
      patternName: 'the name of a zone',
    }),
    mtu: s.integer('largest packet, bytes', { xml: 'mtu/@size', optional: true, min: 68, max: 65_535 }),
    mac: s.string('hardware address of the bridge; made by visor when absent', {
      xml: 'mac/@address',
      optional: true,
      generated: true,
      ...aMac,
    }),
    domain: s.string('DNS domain of its guests', { xml: 'domain/@name', optional: true, ...aHostName }),
    domainLocalOnly: yesNo('never ask others for names in it', 'domain/@localOnly'),
    domainRegister: yesNo("tell the host's resolver of it", 'domain/@register'),
    dns: s.field(NetworkDns, { xml: 'dns', optional: true }),
    vlan: s.field(NetworkVlan, { xml: 'vlan', optional: true }),
    bandwidth: s.field(NetworkBandwidth, { xml: 'bandwidth', optional: true }),
    isolated: s.boolean('guests do not reach each other', {
      xml: 'port/@isolated',
      as: 'yes-no',
      optional: true,
    }),
    addresses: s.array('addresses of this host on it', NetworkAddress, {
      xml: 'ip',
      default: [],
      maxItems: 32,
      key: ['address'],
    }),
    routes: s.array('routes of this host through guests', NetworkRoute, {
      xml: 'route',
      default: [],
      maxItems: 256,
    }),
    vxlan: s.field(Vxlan, { xml: 'vxlan', optional: true }),
    portGroups: s.array('settings for guests that name one', PortGroup, {
      xml: 'portgroup',
      default: [],
      maxItems: 256,
      key: ['name'],
    }),
    unknown,
  },
  {
    xml: 'network',
    order: {
      '.': words(
        '@ipv6 @trustGuestRxFilters name uuid title description metadata forward bridge mtu mac domain dns vlan',
        'bandwidth port ip route virtualport vxlan portgroup',
      ),
      bridge: words('@name @stp @delay @macTableManager @zone'),
      domain: words('@name @localOnly @register'),
    },
    runtime: { '@connections': 'how many guests use it' },
  },
)
export type NetworkDefinition = s.Output<typeof NetworkDefinition>
export type NetworkDefinitionInput = s.Input<typeof NetworkDefinition>
