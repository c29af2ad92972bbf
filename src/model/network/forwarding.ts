/** Where packets of a network go. Source: libvirt's "Network XML format". */
import { unknown } from '../domain-words.ts'
import * as s from '../schema.ts'
import { anAddress, aPlainLink, port, yesNo } from './words.ts'

/** libvirt's modes, and two of visor's own: no host on it (`internal`), over several hosts (`vxlan`). */
export const forwardModes = [
  ...(['nat', 'route', 'open', 'bridge', 'private', 'vepa', 'passthrough', 'hostdev'] as const),
  ...(['internal', 'vxlan'] as const),
] as const

const Nat = s.object('Nat', 'What packets are sent as', {
  ipv6: yesNo('also those of IPv6', '@ipv6'),
  addressStart: s.string('first address that they are sent from', {
    xml: 'address/@start',
    optional: true,
    ...anAddress,
  }),
  addressEnd: s.string('last address that they are sent from', {
    xml: 'address/@end',
    optional: true,
    ...anAddress,
  }),
  portStart: port('first port that they are sent from', 'port/@start'),
  portEnd: port('last port that they are sent from', 'port/@end'),
  unknown,
})

const ForwardLink = s.object('ForwardLink', 'A link of this host that guests may be given', {
  dev: s.string('its name', { xml: '@dev', ...aPlainLink }),
  unknown,
})

export const Forward = s.object(
  'Forward',
  'Where packets go that are for elsewhere',
  {
    mode: s.choice('how', forwardModes, { xml: '@mode', default: 'nat' }),
    dev: s.string('only through this link of the host', { xml: '@dev', optional: true, ...aPlainLink }),
    managed: yesNo('detach the device from its driver first (hostdev)', '@managed'),
    nat: s.field(Nat, { xml: 'nat', optional: true }),
    links: s.array('links that guests are given, one each or shared', ForwardLink, {
      xml: 'interface',
      default: [],
      maxItems: 1024,
    }),
    unknown,
  },
  { order: { '.': ['@dev', '@mode', '@managed', 'driver', 'pf', 'nat', 'interface', 'address'] } },
)

const Peer = s.object('VxlanPeer', 'A host that the segment is on as well', {
  address: s.string('its address', { xml: '@address', ...anAddress }),
  unknown,
})

export const Vxlan = s.object('Vxlan', 'One segment over several hosts (RFC 7348)', {
  id: s.integer('number of the segment, the same on all hosts', { xml: '@id', min: 1, max: 16_777_215 }),
  port: port("UDP port; IANA's 4789 when absent", '@port'),
  dev: s.string('link of this host that it runs over', { xml: '@dev', optional: true, ...aPlainLink }),
  local: s.string('address of this host that it is sent from', {
    xml: '@local',
    optional: true,
    ...anAddress,
  }),
  peers: s.array('the other hosts', Peer, { xml: 'peer', default: [], maxItems: 256 }),
  unknown,
})
