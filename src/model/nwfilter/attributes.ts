/** What rules of filters look at. Source: libvirt's "Network Filters" (formatnwfilter). */
import * as s from '../schema.ts'

/** The kinds of words that they are compared with. */
export const attributeKinds = {
  mac: { pattern: /^[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}$/u, name: 'a MAC address' },
  ip: { pattern: /^\d{1,3}(?:\.\d{1,3}){3}$/u, name: 'an IPv4 address' },
  ipMask: { pattern: /^(?:\d{1,3}(?:\.\d{1,3}){3}|\d{1,2})$/u, name: 'a mask or a number of bits' },
  ipv6: { pattern: /^[0-9a-fA-F:]*:[0-9a-fA-F:.]*$/u, name: 'an IPv6 address' },
  ipv6Mask: { pattern: /^(?:[0-9a-fA-F:]*:[0-9a-fA-F:]*|\d{1,3})$/u, name: 'a mask or a number of bits' },
  bits6: { pattern: /^(?:0x[0-9a-fA-F]{1,2}|\d{1,2})$/u, name: 'a number up to 63', max: 63 },
  bits8: { pattern: /^(?:0x[0-9a-fA-F]{1,2}|\d{1,3})$/u, name: 'a number up to 255', max: 255 },
  bits12: { pattern: /^(?:0x[0-9a-fA-F]{1,3}|\d{1,4})$/u, name: 'a number up to 4095', max: 4095 },
  bits16: { pattern: /^(?:0x[0-9a-fA-F]{1,4}|\d{1,5})$/u, name: 'a number up to 65535', max: 65_535 },
  bits32: {
    pattern: /^(?:0x[0-9a-fA-F]{1,8}|\d{1,10})$/u,
    name: 'a number up to 4294967295',
    max: 4_294_967_295,
  },
  etherType: {
    pattern: /^(?:arp|rarp|ipv4|ipv6|vlan|0x[0-9a-fA-F]{1,4}|\d{1,5})$/u,
    name: 'arp, rarp, ipv4, ipv6, vlan or a number up to 65535',
    max: 65_535,
  },
  ipProtocol: {
    pattern: /^(?:tcp|udp|udplite|esp|ah|icmp|igmp|sctp|icmpv6|0x[0-9a-fA-F]{1,2}|\d{1,3})$/u,
    name: 'tcp, udp, udplite, esp, ah, icmp, igmp, sctp, icmpv6 or a number up to 255',
    max: 255,
  },
  arpOpcode: {
    pattern:
      /^(?:Request|Reply|Request_Reverse|Reply_Reverse|DRARP_Request|DRARP_Reply|DRARP_Error|InARP_Request|ARP_NAK|0x[0-9a-fA-F]{1,4}|\d{1,5})$/u,
    name: "an operation such as 'Request' or 'Reply', or a number",
    max: 65_535,
  },
  yes: { pattern: /^(?:yes|no|true|false|1|0)$/u, name: 'true or false' },
  states: {
    pattern: /^(?:NONE|(?:NEW|ESTABLISHED|RELATED|INVALID)(?:,(?:NEW|ESTABLISHED|RELATED|INVALID))*)$/u,
    name: 'NEW, ESTABLISHED, RELATED, INVALID, several of them with commas, or NONE',
  },
  tcpFlags: {
    pattern:
      /^(?:SYN|ACK|FIN|RST|PSH|URG|ALL|NONE)(?:,(?:SYN|ACK|FIN|RST|PSH|URG|ALL|NONE))*\/(?:SYN|ACK|FIN|RST|PSH|URG|ALL|NONE)(?:,(?:SYN|ACK|FIN|RST|PSH|URG|ALL|NONE))*$/u,
    name: "flags looked at and flags set, such as 'SYN,ACK/SYN'",
  },
  setName: { pattern: /^[\w.:+-]{1,31}$/u, name: 'the name of a set' },
  setFlags: { pattern: /^(?:src|dst)(?:,(?:src|dst)){0,5}$/u, name: "'src' and 'dst' with commas" },
  comment: { pattern: /^[^\p{Cc}]{0,256}$/u, name: 'one line of at most 256 characters' },
} as const satisfies Readonly<Record<string, { pattern: RegExp; name: string; max?: number }>>
export type AttributeKind = keyof typeof attributeKinds

/** `$NAME`, `$NAME[2]` (the item of a list, from 0) or `$NAME[@1]` (all items, in step with others of the number). */
export const variable = /^\$([a-zA-Z0-9_]{1,64})(?:\[(@?)(\d{1,4})\])?$/u

/** An attribute of a rule: key in JSON and YAML, name in XML, kind, what it is. */
export type Attribute = readonly [key: string, xml: string, kind: AttributeKind, doc: string]

/** The field of an attribute; every one may be a variable instead. */
export function attributeField([, xml, kind, doc]: Attribute) {
  const { pattern, name } = attributeKinds[kind]
  const whole = new RegExp(`${pattern.source}|${variable.source}`, 'u')
  return s.string(doc, {
    xml: `@${xml}`,
    optional: true,
    pattern: whole,
    patternName: `${name}, or a variable such as '$IP'`,
    maxLength: 256,
  })
}

const srcMac: readonly Attribute[] = [['srcMac', 'srcmacaddr', 'mac', 'hardware address of who sends']]
const srcMacMask: readonly Attribute[] = [
  ...srcMac,
  ['srcMacMask', 'srcmacmask', 'mac', 'bits of it that count'],
]
const macs: readonly Attribute[] = [
  ...srcMacMask,
  ['dstMac', 'dstmacaddr', 'mac', 'hardware address of who shall get it'],
  ['dstMacMask', 'dstmacmask', 'mac', 'bits of it that count'],
]
const comment: readonly Attribute[] = [['comment', 'comment', 'comment', 'note']]
const addresses = (ip: 'ip' | 'ipv6'): readonly Attribute[] => [
  ['srcIp', 'srcipaddr', ip, 'address of who sends'],
  ['srcIpMask', 'srcipmask', `${ip}Mask`, 'bits of it that count'],
  ['dstIp', 'dstipaddr', ip, 'address of who shall get it'],
  ['dstIpMask', 'dstipmask', `${ip}Mask`, 'bits of it that count'],
]
const ranges = (ip: 'ip' | 'ipv6'): readonly Attribute[] => [
  ['srcIpFrom', 'srcipfrom', ip, 'first address of who sends'],
  ['srcIpTo', 'srcipto', ip, 'last address of who sends'],
  ['dstIpFrom', 'dstipfrom', ip, 'first address of who shall get it'],
  ['dstIpTo', 'dstipto', ip, 'last address of who shall get it'],
  ['dscp', 'dscp', 'bits6', 'class of service'],
  ['connLimitAbove', 'connlimit-above', 'bits16', 'more connections than this'],
  ['state', 'state', 'states', 'what is known of the connection'],
  ['ipset', 'ipset', 'setName', 'set of ipset(8)'],
  ['ipsetFlags', 'ipsetflags', 'setFlags', 'what is looked up in it'],
]
const ports: readonly Attribute[] = [
  ['srcPortStart', 'srcportstart', 'bits16', 'first port it is from'],
  ['srcPortEnd', 'srcportend', 'bits16', 'last port it is from'],
  ['dstPortStart', 'dstportstart', 'bits16', 'first port it is for'],
  ['dstPortEnd', 'dstportend', 'bits16', 'last port it is for'],
]
const icmp: readonly Attribute[] = [
  ['type', 'type', 'bits8', 'type of the message'],
  ['code', 'code', 'bits8', 'code of the message'],
]
const arp: readonly Attribute[] = [
  ...macs,
  ['hardwareType', 'hwtype', 'bits16', 'kind of hardware'],
  ['protocolType', 'protocoltype', 'bits16', 'kind of address'],
  ['opcode', 'opcode', 'arpOpcode', 'operation'],
  ['arpSrcMac', 'arpsrcmacaddr', 'mac', 'hardware address that is told'],
  ['arpDstMac', 'arpdstmacaddr', 'mac', 'hardware address of who is told'],
  ['arpSrcIp', 'arpsrcipaddr', 'ip', 'address that is told'],
  ['arpSrcIpMask', 'arpsrcipmask', 'ipMask', 'bits of it that count'],
  ['arpDstIp', 'arpdstipaddr', 'ip', 'address that is asked for'],
  ['arpDstIpMask', 'arpdstipmask', 'ipMask', 'bits of it that count'],
  ['gratuitous', 'gratuitous', 'yes', 'whether both addresses are the same'],
  ...comment,
]
const bounded = (key: string, xml: string, kind: AttributeKind, doc: string): readonly Attribute[] => [
  [key, xml, kind, doc],
  [`${key}High`, `${xml}-hi`, kind, `${doc}, at most`],
]
const ip = (version: 'ip' | 'ipv6'): readonly Attribute[] => [
  ...macs,
  ...addresses(version),
  ['protocol', 'protocol', 'ipProtocol', 'what it carries'],
  ...ports,
]
const over = (version: 'ip' | 'ipv6', ...more: (readonly Attribute[])[]): readonly Attribute[] => [
  ...srcMac,
  ...addresses(version),
  ...ranges(version),
  ...more.flat(),
  ...comment,
]
const tcp: readonly Attribute[] = [
  ...ports,
  ['option', 'option', 'bits8', 'option that it has'],
  ['flags', 'flags', 'tcpFlags', 'flags'],
]

/** Attributes by protocol, in libvirt's order. Those from `tcp` on know connections. */
export const protocolAttributes = {
  mac: [...macs, ['protocolId', 'protocolid', 'etherType', 'what it carries'], ...comment],
  vlan: [
    ...macs,
    ['vlanId', 'vlanid', 'bits12', 'number of the VLAN'],
    ['encapProtocol', 'encap-protocol', 'etherType', 'what it carries'],
    ...comment,
  ],
  stp: [
    ...srcMacMask,
    ['type', 'type', 'bits8', 'type of the message'],
    ['flags', 'flags', 'bits8', 'flags'],
    ...bounded('rootPriority', 'root-priority', 'bits16', 'priority of the root'),
    ['rootAddress', 'root-address', 'mac', 'address of the root'],
    ['rootAddressMask', 'root-address-mask', 'mac', 'bits of it that count'],
    ...bounded('rootCost', 'root-cost', 'bits32', 'way to the root'),
    ...bounded('senderPriority', 'sender-priority', 'bits16', 'priority of who sends'),
    ['senderAddress', 'sender-address', 'mac', 'address of who sends'],
    ['senderAddressMask', 'sender-address-mask', 'mac', 'bits of it that count'],
    ...bounded('port', 'port', 'bits16', 'port'),
    ...bounded('age', 'age', 'bits16', 'age'),
    ...bounded('maxAge', 'max-age', 'bits16', 'greatest age'),
    ...bounded('helloTime', 'hello-time', 'bits16', 'time between messages'),
    ...bounded('forwardDelay', 'forward-delay', 'bits16', 'wait before a port forwards'),
    ...comment,
  ],
  arp,
  rarp: arp,
  ip: [...ip('ip'), ['dscp', 'dscp', 'bits6', 'class of service'], ...comment],
  ipv6: [
    ...ip('ipv6'),
    ['type', 'type', 'bits8', 'first type of the message of ICMPv6'],
    ['typeEnd', 'typeend', 'bits8', 'last type'],
    ['code', 'code', 'bits8', 'first code'],
    ['codeEnd', 'codeend', 'bits8', 'last code'],
    ...comment,
  ],
  tcp: over('ip', tcp),
  udp: over('ip', ports),
  sctp: over('ip', ports),
  icmp: over('ip', icmp),
  igmp: over('ip'),
  esp: over('ip'),
  ah: over('ip'),
  udplite: over('ip'),
  all: over('ip'),
  'tcp-ipv6': over('ipv6', tcp),
  'udp-ipv6': over('ipv6', ports),
  'sctp-ipv6': over('ipv6', ports),
  icmpv6: over('ipv6', icmp),
  'esp-ipv6': over('ipv6'),
  'ah-ipv6': over('ipv6'),
  'udplite-ipv6': over('ipv6'),
  'all-ipv6': over('ipv6'),
} as const satisfies Readonly<Record<string, readonly Attribute[]>>
export type FilterProtocol = keyof typeof protocolAttributes
export const filterProtocols = Object.keys(protocolAttributes) as readonly FilterProtocol[]

/** The key of a protocol in a rule: `tcpIpv6`. */
export const protocolKey = (protocol: string): string => protocol.replace('-i', 'I')
