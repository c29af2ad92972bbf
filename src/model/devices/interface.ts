/** Network interfaces. Source: libvirt's "Domain XML format", devices. */

import { aLink, aName, path, unknown, words } from '../domain-words.ts'
import { aFilterName, FilterParameter } from '../nwfilter/definition.ts'
import * as s from '../schema.ts'
import { address, alias, bootOrder, deviceOrder } from './common.ts'
import { Bandwidth, GuestOffloads, HostOffloads, VlanTag } from './interface-parts.ts'

const mac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/u
const anIp = { pattern: /^[0-9a-fA-F.:]{2,45}$/u, patternName: 'an IP address' } as const
const port = (doc: string, xml: string) => s.integer(doc, { xml, optional: true, min: 0, max: 65_535 })
const onOff = (doc: string, xml: string) => s.boolean(doc, { xml, as: 'on-off', optional: true })
const size = (doc: string, xml: string) => s.integer(doc, { xml, optional: true, min: 64, max: 65_536 })

const PortRange = s.object('PortRange', 'Ports of the host, and where in the guest they lead', {
  start: s.integer('first port of the host', { xml: '@start', min: 0, max: 65_535 }),
  end: port('last port of the host; the first when absent', '@end'),
  to: port('port of the guest that the first leads to; the same when absent', '@to'),
  exclude: s.boolean('ports that lead nowhere', { xml: '@exclude', as: 'yes-no', optional: true }),
  unknown,
})

export const PortForward = s.object('PortForward', 'Ports of the host that lead to the guest', {
  proto: s.choice('protocol', ['tcp', 'udp'], { xml: '@proto' }),
  address: s.string('address of the host; all when absent', { xml: '@address', optional: true, ...anIp }),
  dev: s.string('link of the host', { xml: '@dev', optional: true, ...aLink }),
  ranges: s.array('ports; all when absent', PortRange, { xml: 'range', default: [], maxItems: 100 }),
  unknown,
})

const GuestAddress = s.object('GuestAddress', 'An address of the guest', {
  family: s.choice('kind of address', ['ipv4', 'ipv6'], { xml: '@family', optional: true }),
  address: s.string('address', { xml: '@address', ...anIp }),
  prefix: s.integer('bits of the network', { xml: '@prefix', optional: true, min: 0, max: 128 }),
  peer: s.string('address of the other end', { xml: '@peer', optional: true, ...anIp }),
  gateway: s.string('address of the host, as the guest sees it; no word of libvirt', {
    xml: '@gateway',
    optional: true,
    ...anIp,
  }),
  dns: s.string('address of the DNS server that the guest is told of; no word of libvirt', {
    xml: 'dns/@address',
    optional: true,
    ...anIp,
  }),
  tftpRoot: path('folder that the guest reads by TFTP, as of networks', {
    xml: 'tftp/@root',
    optional: true,
  }),
  bootFile: s.string('file that the guest boots, as of networks', {
    xml: 'dhcp/bootp/@file',
    optional: true,
    maxLength: 127,
    pattern: /^[^\p{Cc}]+$/u,
    patternName: 'a name without control characters',
  }),
  unknown,
})

export const Interface = s.object(
  'Interface',
  'A network interface',
  {
    type: s.choice(
      'kind of connection',
      [
        ...(['user', 'network', 'bridge', 'ethernet', 'direct', 'vhostuser', 'server', 'client'] as const),
        ...(['mcast', 'udp', 'internal', 'hostdev', 'vdpa', 'null', 'vds'] as const),
      ],
      { xml: '@type' },
    ),
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
    portGroup: s.string('group of settings of the network', {
      xml: 'source/@portgroup',
      optional: true,
      maxLength: 255,
      ...aName,
    }),
    bridge: s.string('name of the bridge', { xml: 'source/@bridge', optional: true, ...aLink }),
    dev: s.string('host link', { xml: 'source/@dev', optional: true, ...aLink }),
    sourceType: s.choice('kind of socket (vhostuser)', ['unix'], { xml: 'source/@type', optional: true }),
    path: path('socket (vhostuser)', { xml: 'source/@path', optional: true }),
    sourceAddress: s.string('address of the other side (mcast, udp, server, client)', {
      xml: 'source/@address',
      optional: true,
      ...anIp,
    }),
    sourcePort: port('port of the other side (mcast, udp, server, client)', 'source/@port'),
    mode: s.choice(
      'mode of the macvtap link, or of the socket (vhostuser)',
      ['vepa', 'bridge', 'private', 'passthrough', 'server', 'client'],
      { xml: 'source/@mode', optional: true },
    ),
    localAddress: s.string('address of this side (udp)', {
      xml: 'source/local/@address',
      optional: true,
      ...anIp,
    }),
    localPort: port('port of this side (udp)', 'source/local/@port'),
    reconnect: s.boolean('whether it calls again when the line breaks (vhostuser)', {
      xml: 'source/reconnect/@enabled',
      as: 'yes-no',
      optional: true,
    }),
    reconnectSeconds: s.integer('time between two calls', {
      xml: 'source/reconnect/@timeout',
      optional: true,
      min: 1,
      max: 86_400,
    }),
    ips: s.array('addresses of the guest (user)', GuestAddress, { xml: 'ip', default: [], maxItems: 8 }),
    target: s.string('name of the host side', {
      xml: 'target/@dev',
      optional: true,
      generated: true,
      ...aLink,
    }),
    managedTarget: s.boolean('make the host side (ethernet)', {
      xml: 'target/@managed',
      as: 'yes-no',
      optional: true,
    }),
    model: s.choice(
      'model of the card',
      [
        ...(['virtio', 'virtio-transitional', 'virtio-non-transitional', 'e1000', 'e1000e'] as const),
        ...(['rtl8139', 'vmxnet3', 'pcnet', 'ne2k_pci', 'usb-net', 'i82551', 'i82557b', 'i82559er'] as const),
        ...(['igb', 'tulip', 'e1000-82544gc', 'e1000-82545em'] as const),
      ],
      { xml: 'model/@type', optional: true, names: true },
    ),
    driver: s.choice('who moves the packets', ['qemu', 'vhost'], { xml: 'driver/@name', optional: true }),
    sendMode: s.choice('when packets are sent', ['iothread', 'timer'], {
      xml: 'driver/@txmode',
      optional: true,
    }),
    ioeventfd: onOff('notification without waiting', 'driver/@ioeventfd'),
    eventIndex: onOff('fewer interrupts', 'driver/@event_idx'),
    queues: s.integer('number of queues', { xml: 'driver/@queues', optional: true, min: 1, max: 256 }),
    receiveQueueSize: size('length of the receive queue', 'driver/@rx_queue_size'),
    sendQueueSize: size('length of the send queue', 'driver/@tx_queue_size'),
    rss: onOff('spreading by content', 'driver/@rss'),
    backend: s.choice('who serves the network (user)', ['default', 'passt'], {
      xml: 'backend/@type',
      optional: true,
    }),
    backendLog: path('log of the backend', { xml: 'backend/@logFile', optional: true }),
    portForwards: s.array('ports of the host that lead to the guest (user)', PortForward, {
      xml: 'portForward',
      default: [],
      maxItems: 64,
    }),
    link: s.choice('state of the cable', ['up', 'down'], { xml: 'link/@state', optional: true }),
    hostOffloads: s.field(HostOffloads, { xml: 'driver/host', optional: true }),
    guestOffloads: s.field(GuestOffloads, { xml: 'driver/guest', optional: true }),
    inbound: s.field(
      Bandwidth,
      { xml: 'bandwidth/inbound', optional: true },
      'limits of what the guest receives',
    ),
    outbound: s.field(
      Bandwidth,
      { xml: 'bandwidth/outbound', optional: true },
      'limits of what the guest sends',
    ),
    vlanTrunk: s.boolean('whether packets of several virtual LANs pass with their tags', {
      xml: 'vlan/@trunk',
      as: 'yes-no',
      optional: true,
    }),
    vlanTags: s.array('virtual LANs that the card is in', VlanTag, {
      xml: 'vlan/tag',
      default: [],
      maxItems: 256,
    }),
    isolated: s.boolean('it does not see other isolated ports of the bridge', {
      xml: 'port/@isolated',
      as: 'yes-no',
      optional: true,
    }),
    filter: s.string('name of a filter of packets (network)', {
      xml: 'filterref/@filter',
      optional: true,
      ...aFilterName,
    }),
    filterParameters: s.array("values of the filter's variables", FilterParameter, {
      xml: 'filterref/parameter',
      default: [],
      maxItems: 4096,
    }),
    guestDev: s.string('name of the link in a container', {
      xml: 'guest/@dev',
      optional: true,
      inert: true,
      ...aLink,
    }),
    mtu: s.integer('largest packet, in bytes', { xml: 'mtu/@size', optional: true, min: 68, max: 65_535 }),
    sendBufferBytes: s.integer('what may wait on its way to the host link, in bytes; 0 is any amount', {
      xml: 'tune/sndbuf',
      optional: true,
      min: 0,
      max: 2 ** 31 - 1,
    }),
    coalescedFrames: s.integer('packets that the host link takes together; 0 is each by itself', {
      xml: 'coalesce/rx/frames/@max',
      optional: true,
      min: 0,
      max: 4_294_967_295,
    }),
    romBar: onOff('whether the guest sees the ROM', 'rom/@bar'),
    romFile: path('file of the ROM', { xml: 'rom/@file', optional: true }),
    rom: s.boolean('whether there is a ROM', { xml: 'rom/@enabled', as: 'yes-no', optional: true }),
    bootOrder,
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words(
        '@type @managed @trustGuestRxFilters mac source vlan virtualport bandwidth ip route portForward port script',
        'downscript backenddomain target guest model driver backend filterref tune link mtu teaming coalesce',
        deviceOrder,
      ),
      driver: words(
        '@name @txmode @ioeventfd @event_idx @queues @rx_queue_size @tx_queue_size @rss host guest',
      ),
      bandwidth: words('inbound outbound'),
      vlan: words('@trunk tag'),
      source: words(
        '@type @network @portgroup @dev @bridge @path @mode @address @port local address reconnect',
      ),
    },
    runtime: { 'source/@portid': 'identity of the port on the network' },
  },
)

export type Interface = s.Output<typeof Interface>
export type PortForward = s.Output<typeof PortForward>
