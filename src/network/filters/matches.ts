/** What rules of filters look at, as expressions of nft(8). Sources: nft(8), libvirt's "Network Filters". */
import { type FilterProtocol, formatIp, maskBits, parseIp, type RuleMatch } from '../../model/index.ts'

/** Why a rule cannot be expressed. */
export class MatchProblem extends Error {
  readonly key: string
  constructor(key: string, message: string) {
    super(message)
    this.key = key
  }
}

/** Protocols that are told apart by what follows the addresses, of IPv4 or IPv6. */
export const numbers: Readonly<Record<string, number>> = {
  ...{ icmp: 1, igmp: 2, tcp: 6, udp: 17, esp: 50, ah: 51, icmpv6: 58, sctp: 132, udplite: 136 },
}
const etherTypes: Readonly<Record<string, string>> = {
  ...{ arp: '0x0806', rarp: '0x8035', ipv4: '0x0800', ipv6: '0x86dd', vlan: '0x8100' },
}
const opcodes = [
  ...['Request', 'Reply', 'Request_Reverse', 'Reply_Reverse', 'DRARP_Request', 'DRARP_Reply'],
  ...['DRARP_Error', 'InARP_Request', 'ARP_NAK'],
]

/** Whether it knows connections: rules over TCP and its like, not over single frames. */
export const knowsConnections = (protocol: FilterProtocol): boolean =>
  !['mac', 'vlan', 'stp', 'arp', 'rarp', 'ip', 'ipv6'].includes(protocol)

/** `ip` or `ip6`, for what is of one. */
export const ipWord = (protocol: FilterProtocol): 'ip' | 'ip6' => (protocol.endsWith('v6') ? 'ip6' : 'ip')

/** Who sends is who gets it, as seen from the other side. */
export function swapped(match: RuleMatch): RuleMatch {
  const other = (key: string) =>
    key.replace(/^(arp)?(src|Src|dst|Dst)/u, (_, arp = '', way: string) => {
      const turned = { src: 'dst', dst: 'src', Src: 'Dst', Dst: 'Src' }[way] ?? way
      return `${arp}${turned}`
    })
  return Object.fromEntries(Object.entries(match).map(([key, value]) => [other(key), value]))
}

/** The expressions that all must hold; `''` for any packet. Fails with {@link MatchProblem}. */
export function formatMatch(protocol: FilterProtocol, match: RuleMatch): string {
  const has = reader(match)
  const parts = knowsConnections(protocol) ? overIp(protocol, has) : frames(protocol, has)
  return parts.flat().join(' ')
}

interface Reader {
  text(key: string): string | undefined
  /** The expression compared with the value. */
  is(expression: string, value: string | number | undefined): string[]
  number(key: string): number | undefined
}

function reader(match: RuleMatch): Reader {
  const not = match.match === false
  const text = (key: string) => {
    const value = match[key]
    return typeof value === 'string' ? value : undefined
  }
  return {
    text,
    is: (expression, value) =>
      value === undefined
        ? []
        : [`${expression} ${not ? '!= ' : expression.includes('&') ? '== ' : ''}${value}`],
    number: (key) => {
      const value = text(key)
      return value === undefined ? undefined : Number(value)
    },
  }
}

const allMac = 'ff:ff:ff:ff:ff:ff'
const longMac = (mac: string) =>
  mac
    .toLowerCase()
    .split(':')
    .map((byte) => byte.padStart(2, '0'))
    .join(':')
const macValue = (mac: string) => BigInt(`0x${longMac(mac).replaceAll(':', '')}`)
const formatMac = (value: bigint) => (value.toString(16).padStart(12, '0').match(/../gu) ?? []).join(':')

function ofMac({ text, is }: Reader, key: string, expression: string): string[] {
  const mac = text(key)
  if (mac === undefined) return []
  const mask = longMac(text(`${key}Mask`) ?? allMac)
  if (mask === allMac) return is(expression, longMac(mac))
  return is(`${expression} & ${mask}`, formatMac(macValue(mac) & macValue(mask)))
}

const macs = (has: Reader) => [...ofMac(has, 'srcMac', 'ether saddr'), ...ofMac(has, 'dstMac', 'ether daddr')]

function ofIp({ text, is }: Reader, key: string, expression: string, width: 32 | 128): string[] {
  const address = parseIp(text(key) ?? '')
  const mask = text(`${key}Mask`)
  const bits = mask === undefined ? undefined : maskBits(mask, width)
  const [from, to] = [parseIp(text(`${key}From`) ?? ''), parseIp(text(`${key}To`) ?? '')]
  if (to && (!from || from.value > to.value))
    throw new MatchProblem(`${key}From`, 'the first address is not before the last')
  return [
    ...is(expression, address && `${formatIp(address)}${bits === undefined ? '' : `/${bits}`}`),
    ...is(
      expression,
      from && (to && to.value > from.value ? `${formatIp(from)}-${formatIp(to)}` : formatIp(from)),
    ),
  ]
}

const addresses = (has: Reader, word: 'ip' | 'ip6') => {
  const width = word === 'ip' ? 32 : 128
  return [...ofIp(has, 'srcIp', `${word} saddr`, width), ...ofIp(has, 'dstIp', `${word} daddr`, width)]
}

/** From the first to the last, or the first alone. */
function span({ number }: Reader, first: string, last: string): string | number | undefined {
  const [start, end] = [number(first), number(last)]
  if (end === undefined || start === end) return start
  if (start === undefined) throw new MatchProblem(last, `needs '${first}' too`)
  if (start > end) throw new MatchProblem(last, 'is less than the first')
  return `${start}-${end}`
}

const ports = (has: Reader, word: string) => [
  ...has.is(`${word} sport`, span(has, 'srcPortStart', 'srcPortEnd')),
  ...has.is(`${word} dport`, span(has, 'dstPortStart', 'dstPortEnd')),
]

/** Rules over single frames. */
function frames(protocol: FilterProtocol, has: Reader): string[] {
  switch (protocol) {
    case 'mac':
      return [...macs(has), ...has.is('ether type', etherType(has.text('protocolId')))]
    case 'vlan':
      return [
        'ether type 0x8100',
        ...macs(has),
        ...has.is('vlan id', has.number('vlanId')),
        ...has.is('vlan type', etherType(has.text('encapProtocol'))),
      ]
    case 'stp':
      return ['ether daddr 01:80:c2:00:00:00', ...macs(has), ...spanningTree(has)]
    case 'arp':
    case 'rarp':
      return [`ether type ${etherTypes[protocol]}`, ...macs(has), ...arp(has)]
    default:
      return ipFrames(ipWord(protocol), has)
  }
}

const etherType = (text: string | undefined) =>
  text === undefined ? undefined : (etherTypes[text] ?? Number(text))

/** Bytes of the message behind the Ethernet and LLC headers. Source: IEEE 802.1D, 9.3.1. */
function spanningTree(has: Reader): string[] {
  const field = (key: string, bit: number, width: number) =>
    has.is(`@ll,${bit},${width}`, span(has, key, `${key}High`))
  const address = (key: string, bit: number) => {
    const mac = has.text(key)
    if (mac === undefined) return []
    const mask = macValue(has.text(`${key}Mask`) ?? allMac)
    return has.is(`@ll,${bit},48 & 0x${mask.toString(16)}`, `0x${(macValue(mac) & mask).toString(16)}`)
  }
  return [
    ...has.is('@ll,160,8', has.number('type')),
    ...has.is('@ll,168,8', has.number('flags')),
    ...field('rootPriority', 176, 16),
    ...address('rootAddress', 192),
    ...field('rootCost', 240, 32),
    ...field('senderPriority', 272, 16),
    ...address('senderAddress', 288),
    ...field('port', 336, 16),
    ...field('age', 352, 16),
    ...field('maxAge', 368, 16),
    ...field('helloTime', 384, 16),
    ...field('forwardDelay', 400, 16),
  ]
}

/** By their places in the packet, which are the same with RARP (RFC 826, RFC 903). */
function arp(has: Reader): string[] {
  if (['yes', 'true', '1'].includes(has.text('gratuitous') ?? ''))
    throw new MatchProblem('gratuitous', 'nftables cannot compare two addresses of a packet')
  const opcode = has.text('opcode')
  const known = opcodes.indexOf(opcode ?? '')
  const mac = (key: string, bit: number) => {
    const value = has.text(key)
    return has.is(`@nh,${bit},48`, value === undefined ? undefined : `0x${macValue(value).toString(16)}`)
  }
  const ip = (key: string, bit: number) => {
    const address = parseIp(has.text(key) ?? '')
    if (!address) return []
    const bits = maskBits(has.text(`${key}Mask`) ?? '32', 32) ?? 32
    const mask = (0xffffffffn << BigInt(32 - bits)) & 0xffffffffn
    const place = bits === 32 ? `@nh,${bit},32` : `@nh,${bit},32 & 0x${mask.toString(16)}`
    return has.is(place, `0x${(address.value & mask).toString(16)}`)
  }
  return [
    ...has.is('@nh,0,16', has.number('hardwareType')),
    ...has.is('@nh,16,16', has.number('protocolType')),
    ...has.is('@nh,48,16', opcode === undefined ? undefined : known < 0 ? Number(opcode) : known + 1),
    ...mac('arpSrcMac', 64),
    ...ip('arpSrcIp', 112),
    ...mac('arpDstMac', 144),
    ...ip('arpDstIp', 192),
  ]
}

function ipFrames(word: 'ip' | 'ip6', has: Reader): string[] {
  const protocol = has.text('protocol')
  const number = protocol === undefined ? undefined : (numbers[protocol] ?? Number(protocol))
  const asksPorts = ['srcPortStart', 'dstPortStart'].find((key) => has.text(key) !== undefined)
  if (asksPorts && ![6, 17, 132, 136].includes(number ?? -1))
    throw new MatchProblem(asksPorts, "needs the protocol 'tcp', 'udp', 'udplite' or 'sctp'")
  const asksType = ['type', 'code'].find((key) => has.text(key) !== undefined)
  if (asksType && number !== 58) throw new MatchProblem(asksType, "needs the protocol 'icmpv6'")
  return [
    `ether type ${word}`,
    ...macs(has),
    ...addresses(has, word),
    ...has.is('meta l4proto', number),
    ...ports(has, 'th'),
    ...has.is('icmpv6 type', span(has, 'type', 'typeEnd')),
    ...has.is('icmpv6 code', span(has, 'code', 'codeEnd')),
    ...has.is(`${word} dscp`, has.number('dscp')),
  ]
}

/** Rules that know connections. */
function overIp(protocol: FilterProtocol, has: Reader): string[] {
  for (const [key, reason] of impossible) if (has.text(key) !== undefined) throw new MatchProblem(key, reason)
  const word = ipWord(protocol)
  const name = protocol.replace('-ipv6', '')
  const number = numbers[name]
  return [
    `ether type ${word}`,
    ...(number === undefined ? [] : [`meta l4proto ${number}`]),
    ...macs(has),
    ...addresses(has, word),
    ...has.is(`${word} dscp`, has.number('dscp')),
    ...ports(has, name === 'tcp' || name === 'udp' ? name : 'th'),
    ...has.is(`${name} type`, has.number('type')),
    ...has.is(`${name} code`, has.number('code')),
    ...tcpFlags(has),
  ]
}

const impossible = [
  ['ipset', 'nftables does not look into sets of ipset(8): use a list of addresses as a variable'],
  ['connLimitAbove', 'connections of bridges are not counted'],
] as const

const flagBits: Readonly<Record<string, number>> = {
  ...{ FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ALL: 63, NONE: 0 },
}

function tcpFlags(has: Reader): string[] {
  const option = has.number('option')
  const [mask = '', set = ''] = has.text('flags')?.split('/') ?? []
  const bits = (names: string) => names.split(',').reduce((sum, name) => sum | (flagBits[name] ?? 0), 0)
  return [
    ...(option === undefined
      ? []
      : [`tcp option ${option} ${has.is('', 0)[0]?.includes('!') ? 'missing' : 'exists'}`]),
    ...(has.text('flags') === undefined ? [] : has.is(`tcp flags & ${bits(mask)}`, bits(set))),
  ]
}
