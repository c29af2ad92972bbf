/**
 * Filters that are there without being made, under the names and with the variables that libvirt's have.
 * Sources: libvirt's "Network Filters", RFC 903, RFC 2131, RFC 8415.
 */
import { createHash } from 'node:crypto'
import { chainPrefix, chainPriorities, NwfilterDefinition, parse } from '../../model/index.ts'

type Entry = Readonly<Record<string, unknown>>

const filter = (reference: string): Entry => ({ reference: { filter: reference } })
const rule = (
  action: 'accept' | 'drop' | 'return',
  direction: 'in' | 'out' | 'inout',
  priority: number,
  match: Entry = {},
): Entry => ({ rule: { action, direction, priority, ...match } })

const everyone = 'ff:ff:ff:ff:ff:ff'
/** What a guest's card says of itself, in RARP. */
const announcement = {
  ...{ opcode: 'Request_Reverse', dstMac: everyone, arpSrcMac: '$MAC', arpDstMac: '$MAC' },
  ...{ arpSrcIp: '0.0.0.0', arpDstIp: '0.0.0.0' },
}
const clientPort = { srcPortStart: '67', dstPortStart: '68' }
const clientPort6 = { srcPortStart: '547', dstPortStart: '546' }
const linkLocal = { srcIp: 'fe80::', srcIpMask: '10' }
const askDhcp = rule('accept', 'out', 100, {
  ip: {
    ...{ srcIp: '0.0.0.0', dstIp: '255.255.255.255', protocol: 'udp' },
    ...{ srcPortStart: '68', dstPortStart: '67' },
  },
})
const askDhcp6 = rule('accept', 'out', 100, {
  ipv6: { ...linkLocal, dstIp: 'ff02::1:2', protocol: 'udp', srcPortStart: '546', dstPortStart: '547' },
})

const table: readonly (readonly [
  name: string,
  chain: string,
  entries: readonly Entry[],
  priority?: number,
])[] = [
  ['allow-arp', 'arp', [rule('accept', 'inout', 500)]],
  ['allow-dhcp', 'ipv4', [askDhcp, rule('accept', 'in', 100, { ip: { protocol: 'udp', ...clientPort } })]],
  [
    'allow-dhcp-server',
    'ipv4',
    [askDhcp, rule('accept', 'in', 100, { ip: { srcIp: '$DHCPSERVER', protocol: 'udp', ...clientPort } })],
  ],
  [
    'allow-dhcpv6',
    'ipv6',
    [askDhcp6, rule('accept', 'in', 100, { ipv6: { protocol: 'udp', ...clientPort6 } })],
  ],
  [
    'allow-dhcpv6-server',
    'ipv6',
    [
      askDhcp6,
      rule('accept', 'in', 100, { ipv6: { srcIp: '$DHCPSERVER', protocol: 'udp', ...clientPort6 } }),
    ],
  ],
  ['allow-incoming-ipv4', 'ipv4', [rule('accept', 'in', 500)]],
  ['allow-incoming-ipv6', 'ipv6', [rule('accept', 'in', 500)]],
  ['allow-ipv4', 'ipv4', [rule('accept', 'inout', 500)]],
  ['allow-ipv6', 'ipv6', [rule('accept', 'inout', 500)]],
  [
    'clean-traffic',
    'root',
    [
      ...[filter('no-mac-spoofing'), filter('no-ip-spoofing')],
      rule('accept', 'out', -650, { mac: { protocolId: 'ipv4' } }),
      ...[filter('allow-incoming-ipv4'), filter('no-arp-spoofing')],
      rule('accept', 'inout', -500, { mac: { protocolId: 'arp' } }),
      ...[filter('no-other-l2-traffic'), filter('qemu-announce-self')],
    ],
  ],
  [
    'clean-traffic-gateway',
    'root',
    [
      ...[filter('no-mac-spoofing'), filter('no-ip-spoofing'), filter('no-arp-spoofing')],
      rule('accept', 'inout', -500, { mac: { protocolId: 'arp' } }),
      rule('accept', 'in', 500, { mac: { srcMac: '$GATEWAY_MAC' } }),
      rule('accept', 'out', 500, { mac: { dstMac: '$GATEWAY_MAC' } }),
      ...[filter('no-other-l2-traffic'), filter('qemu-announce-self')],
    ],
  ],
  [
    'no-arp-ip-spoofing',
    'arp-ip',
    [rule('return', 'out', 400, { arp: { arpSrcIp: '$IP' } }), rule('drop', 'out', 1000)],
    -510,
  ],
  [
    'no-arp-mac-spoofing',
    'arp-mac',
    [rule('return', 'out', 350, { arp: { arpSrcMac: '$MAC' } }), rule('drop', 'out', 1000)],
    -520,
  ],
  ['no-arp-spoofing', 'root', [filter('no-arp-mac-spoofing'), filter('no-arp-ip-spoofing')]],
  ['no-ip-multicast', 'ipv4', [rule('drop', 'out', 500, { ip: { dstIp: '224.0.0.0', dstIpMask: '4' } })]],
  [
    'no-ip-spoofing',
    'ipv4-ip',
    [
      // Who has no address yet asks for one.
      rule('return', 'out', 100, { ip: { srcIp: '0.0.0.0', protocol: 'udp' } }),
      ...[rule('return', 'out', 500, { ip: { srcIp: '$IP' } }), rule('drop', 'out', 1000)],
    ],
    -710,
  ],
  ['no-ipv6-multicast', 'ipv6', [rule('drop', 'out', 500, { ipv6: { dstIp: 'ff00::', dstIpMask: '8' } })]],
  [
    'no-ipv6-spoofing',
    'ipv6-ip',
    [
      rule('return', 'out', 100, { ipv6: { ...linkLocal, protocol: 'udp' } }),
      ...[rule('return', 'out', 500, { ipv6: { srcIp: '$IPV6' } }), rule('drop', 'out', 1000)],
    ],
    -610,
  ],
  ['no-mac-broadcast', 'ipv4', [rule('drop', 'out', 500, { mac: { dstMac: everyone } })]],
  [
    'no-mac-spoofing',
    'mac',
    [rule('return', 'out', 500, { mac: { srcMac: '$MAC' } }), rule('drop', 'out', 500, { mac: {} })],
  ],
  ['no-other-l2-traffic', 'root', [rule('drop', 'inout', 1000)]],
  ['no-other-rarp-traffic', 'rarp', [rule('drop', 'inout', 1000)]],
  [
    'qemu-announce-self',
    'root',
    [
      // What QEMU before 0.13 says of itself.
      rule('accept', 'out', 500, { mac: { protocolId: '0x835' } }),
      ...[filter('qemu-announce-self-rarp'), filter('no-other-rarp-traffic')],
    ],
  ],
  [
    'qemu-announce-self-rarp',
    'rarp',
    [
      rule('accept', 'out', 500, { rarp: { srcMac: '$MAC', ...announcement } }),
      rule('accept', 'in', 500, { rarp: announcement }),
    ],
  ],
]

export type CompleteNwfilter = NwfilterDefinition & { readonly uuid: string }

/** The same on every host, so that definitions may name them by it. */
function uuidOf(name: string): string {
  const hash = createHash('sha256').update(`visor nwfilter ${name}`).digest('hex')
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`
}

/** What is made of a definition that leaves something open. */
export function completeFilter(definition: NwfilterDefinition, uuid: string): CompleteNwfilter {
  const { chain, priority } = definition
  const usual = chain === 'root' ? {} : { priority: chainPriorities[chainPrefix(chain)] }
  return { ...definition, ...(priority === undefined ? usual : { priority }), uuid }
}

export const shippedFilters: readonly CompleteNwfilter[] = table.map(([name, chain, entries, priority]) =>
  completeFilter(
    parse(NwfilterDefinition, { name, chain, entries, ...(priority === undefined ? {} : { priority }) }),
    uuidOf(name),
  ),
)
