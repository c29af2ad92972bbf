import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { randomInput } from '../../../test/fixtures/random-values.ts'
import {
  checkNwfilterDefinition,
  type NwfilterDefinition,
  parse,
  parseNwfilterDefinition,
  NwfilterDefinition as Schema,
  VisorError,
} from '../../model/index.ts'
import { type CompiledPort, compilePort } from './compile.ts'
import { formatFilters } from './script.ts'
import { shippedFilters } from './shipped.ts'

const values = new Map([
  ['MAC', ['52:54:00:00:00:01']],
  ['IP', ['10.0.0.5', '10.0.0.6']],
  ['IPV6', ['fd00::5']],
  ['DHCPSERVER', ['10.0.0.1', 'fd00::1']],
  ['GATEWAY_MAC', ['52:54:00:00:00:09']],
  ['PORTS', ['80', '443']],
])

function compile(filter: string, ...others: NwfilterDefinition[]): CompiledPort {
  const book = new Map([...shippedFilters, ...others].map((one) => [one.name, one]))
  return compilePort({ link: 'vnet0', filter, values }, { find: (name) => book.get(name), canReject: false })
}

const filterOf = (inner: string) => parseNwfilterDefinition(`<filter name='f'>${inner}</filter>`)
const chainOf = (port: CompiledPort, name: string) => port.chains.find(([one]) => one === name)?.[1]
const failing = (inner: string) => {
  try {
    compile('f', filterOf(inner))
  } catch (error) {
    assert.ok(error instanceof VisorError, String(error))
    return `${error.code}: ${error.message}`
  }
  return ''
}

test('clean-traffic: chains by their priority among the rules', () => {
  const port = compile('clean-traffic')
  assert.deepEqual(Object.fromEntries(port.chains), {
    out_vnet0_mac: ['ether saddr 52:54:00:00:00:01 return', 'drop'],
    out_vnet0_ipv4_2d_ip: [
      'ether type ip ip saddr 0.0.0.0 meta l4proto 17 return',
      'ether type ip ip saddr 10.0.0.5 return',
      'ether type ip ip saddr 10.0.0.6 return',
      'drop',
    ],
    out_vnet0_arp_2d_mac: ['ether type 0x0806 @nh,64,48 0x525400000001 return', 'drop'],
    out_vnet0_arp_2d_ip: [
      'ether type 0x0806 @nh,112,32 0xa000005 return',
      'ether type 0x0806 @nh,112,32 0xa000006 return',
      'drop',
    ],
    out_vnet0_rarp: [
      'ether type 0x8035 ether saddr 52:54:00:00:00:01 ether daddr ff:ff:ff:ff:ff:ff @nh,48,16 3 @nh,64,48 0x525400000001 @nh,112,32 0x0 @nh,144,48 0x525400000001 @nh,192,32 0x0 accept',
      'drop',
    ],
    out_vnet0: [
      'jump out_vnet0_mac',
      'ether type 0x0800 jump out_vnet0_ipv4_2d_ip',
      'ether type 0x0800 accept',
      'ether type 0x0806 jump out_vnet0_arp_2d_mac',
      'ether type 0x0806 jump out_vnet0_arp_2d_ip',
      'ether type 0x0806 accept',
      'ether type 0x8035 jump out_vnet0_rarp',
      'ether type 2101 accept',
      'drop',
      'accept',
    ],
    in_vnet0_ipv4: ['accept'],
    in_vnet0_rarp: [
      'ether type 0x8035 ether daddr ff:ff:ff:ff:ff:ff @nh,48,16 3 @nh,64,48 0x525400000001 @nh,112,32 0x0 @nh,144,48 0x525400000001 @nh,192,32 0x0 accept',
      'drop',
    ],
    in_vnet0: [
      'ether type 0x0800 jump in_vnet0_ipv4',
      'ether type 0x0806 accept',
      'ether type 0x8035 jump in_vnet0_rarp',
      'drop',
      'accept',
    ],
  })
})

test('what is accepted is remembered, and answers are what is remembered', () => {
  const port = compile(
    'f',
    filterOf(`<rule action='accept' direction='in'><tcp dstportstart='22'/></rule>
      <rule action='drop' direction='inout' priority='1000'><all/></rule>`),
  )
  const incoming = 'oifname . ip daddr . ip saddr . tcp dport . tcp sport'
  const outgoing = 'iifname . ip saddr . ip daddr . tcp sport . tcp dport'
  assert.deepEqual(chainOf(port, 'in_vnet0_over'), [
    `ether type ip meta l4proto 6 tcp dport 22 update @tcp4 { ${incoming} } accept`,
    'ether type ip drop',
    'accept',
  ])
  assert.deepEqual(chainOf(port, 'out_vnet0_over'), [
    `ether type ip meta l4proto 6 tcp sport 22 ${outgoing} @tcp4 update @tcp4 { ${outgoing} } accept`,
    'ether type ip drop',
    'accept',
  ])
  assert.deepEqual(chainOf(port, 'in_vnet0'), ['goto in_vnet0_over'])
})

test('lists: in step by default, in all combinations with numbers of their own, one item by its place', () => {
  const rules = (match: string) =>
    chainOf(compile('f', filterOf(`<rule action='accept' direction='in'>${match}</rule>`)), 'in_vnet0')
  assert.deepEqual(rules("<ip dstipaddr='$IP' protocol='tcp' dstportstart='$PORTS'/>"), [
    'ether type ip ip daddr 10.0.0.5 meta l4proto 6 th dport 80 accept',
    'ether type ip ip daddr 10.0.0.6 meta l4proto 6 th dport 443 accept',
    'accept',
  ])
  assert.deepEqual(rules("<ip dstipaddr='$IP[@1]' protocol='tcp' dstportstart='$PORTS[@2]'/>"), [
    'ether type ip ip daddr 10.0.0.5 meta l4proto 6 th dport 80 accept',
    'ether type ip ip daddr 10.0.0.5 meta l4proto 6 th dport 443 accept',
    'ether type ip ip daddr 10.0.0.6 meta l4proto 6 th dport 80 accept',
    'ether type ip ip daddr 10.0.0.6 meta l4proto 6 th dport 443 accept',
    'accept',
  ])
  assert.deepEqual(rules("<ip dstipaddr='$IP[1]'/>"), ['ether type ip ip daddr 10.0.0.6 accept', 'accept'])
})

test('both directions are written as the guest gets them; match=no turns each attribute around', () => {
  const port = compile(
    'f',
    filterOf(`<rule action='drop' direction='inout'>
      <ip match='no' srcipaddr='10.0.0.0' srcipmask='255.255.255.0' dstmacaddr='1:2:3:4:5:6'/></rule>`),
  )
  assert.deepEqual(chainOf(port, 'in_vnet0'), [
    'ether type ip ether daddr != 01:02:03:04:05:06 ip saddr != 10.0.0.0/24 drop',
    'accept',
  ])
  assert.deepEqual(chainOf(port, 'out_vnet0'), [
    'ether type ip ether saddr != 01:02:03:04:05:06 ip daddr != 10.0.0.0/24 drop',
    'accept',
  ])
})

test('parameters of a reference count for what it leads to', () => {
  const inner = parseNwfilterDefinition(
    "<filter name='one'><rule action='accept' direction='in'><ip srcipaddr='$PEER'/></rule></filter>",
  )
  const port = compile(
    'f',
    inner,
    filterOf("<filterref filter='one'><parameter name='PEER' value='10.9.9.9'/></filterref>"),
  )
  assert.deepEqual(chainOf(port, 'in_vnet0'), ['ether type ip ip saddr 10.9.9.9 accept', 'accept'])
})

const refused: readonly (readonly [string, string, RegExp])[] = [
  [
    'addresses compared with each other',
    "<rule action='drop' direction='in'><arp gratuitous='true'/></rule>",
    /^unsupported-config: Filter 'f', entries\[0\]\.rule\.arp\.gratuitous: /u,
  ],
  ['ipset', "<rule action='drop' direction='in'><tcp ipset='a' ipsetflags='src'/></rule>", /tcp\.ipset/u],
  [
    'counted connections',
    "<rule action='drop' direction='in'><tcp connlimit-above='2'/></rule>",
    /connLimitAbove/u,
  ],
  [
    'related connections',
    "<rule action='accept' direction='in'><all state='RELATED'/></rule>",
    /all\.state/u,
  ],
  [
    'reject of what is sent to the guest',
    "<rule action='reject' direction='in'><tcp/></rule>",
    /rule\.action/u,
  ],
  [
    'a port of no protocol',
    "<rule action='drop' direction='in'><ip dstportstart='5'/></rule>",
    /dstPortStart: needs/u,
  ],
  [
    'a variable without a value',
    "<rule action='drop' direction='in'><ip srcipaddr='$X'/></rule>",
    /'X' has no value/u,
  ],
  [
    'a value of another kind',
    "<rule action='drop' direction='in'><ip srcipaddr='$MAC'/></rule>",
    /must be an IPv4 address/u,
  ],
  [
    'ports that run backwards',
    "<rule action='drop' direction='in'><tcp dstportstart='9' dstportend='8'/></rule>",
    /less than the first/u,
  ],
  [
    'a filter that is not there',
    "<filterref filter='nothing'/>",
    /no filter 'nothing', which filter 'f' names/u,
  ],
  [
    'lists of different lengths in step',
    "<rule action='drop' direction='in'><ip srcipaddr='$IP' dstipaddr='$DHCPSERVER'/></rule><filterref filter='g'/>",
    /no filter 'g'/u,
  ],
]
for (const [what, inner, message] of refused)
  test(`refused: ${what}`, () => assert.match(failing(inner), message))

test('filters that lead to each other are refused', () => {
  const g = parseNwfilterDefinition("<filter name='g'><filterref filter='f'/></filter>")
  assert.throws(() => compile('f', g, filterOf("<filterref filter='g'/>")), /leads to itself: f, g, f/u)
})

test('all that visor ships is in force for a guest of known addresses', () => {
  for (const { name } of shippedFilters) compile(name)
})

test('whatever is defined becomes rules without words of nft, or is refused', () => {
  fc.assert(
    fc.property(randomInput(Schema), (input) => {
      const definition = parse(Schema, input)
      try {
        checkNwfilterDefinition(definition)
        const port = compilePort(
          { link: 'vnet0', filter: definition.name, values },
          { find: (name) => (name === definition.name ? definition : undefined), canReject: true },
        )
        for (const [name, rules] of port.chains) {
          assert.match(name, /^[a-z]+_[\w]+$/u)
          for (const rule of rules) assert.match(rule, /^[\w .:,@!=&<>{}/-]+$/u)
        }
      } catch (error) {
        assert.ok(error instanceof VisorError, String(error))
      }
    }),
    { numRuns: 150 },
  )
})

test('the table is replaced with all chains that were there, and is gone with the last guest', () => {
  const script = formatFilters('visor', [compile('no-ip-multicast')], ['out', 'in', 'out_old'])
  assert.match(script, /^flush chain bridge visor-filter out\nflush chain bridge visor-filter in\n/u)
  assert.match(script, /delete chain bridge visor-filter out_old\n/u)
  assert.ok(!script.includes('delete chain bridge visor-filter out\n'))
  assert.match(script, /iifname vmap \{ "vnet0" : goto out_vnet0 \}/u)
  assert.equal(
    formatFilters('visor', [], ['out']),
    'table bridge visor-filter {}\ndelete table bridge visor-filter\n',
  )
  assert.equal(formatFilters('visor', [], []), '')
})
