import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  contains,
  formatIp,
  formatNetworkDefinition,
  formatSubnet,
  type IpFamily,
  overlaps,
  parseIp,
  parseNetworkDefinition,
  parseSubnet,
  VisorError,
} from '../index.ts'

const samples = join(import.meta.dirname, '../../../test/fixtures/networks')

for (const file of readdirSync(samples))
  test(`${file} is the same after it went through each notation`, () => {
    const text = readFileSync(join(samples, file), 'utf8')
    const definition = parseNetworkDefinition(text)
    assert.equal(formatNetworkDefinition(definition, 'xml'), text)
    for (const format of ['yaml', 'json'] as const)
      assert.deepEqual(
        parseNetworkDefinition(formatNetworkDefinition(definition, format), format),
        definition,
      )
    assert.ok(!text.includes('unknown') && !JSON.stringify(definition).includes('"unknown"'))
  })

/** What is wrong with a network with these elements. */
function faultsOf(inner: string): string {
  try {
    parseNetworkDefinition(`<network><name>n</name>${inner}</network>`)
    return ''
  } catch (error) {
    assert.ok(error instanceof VisorError && error.code === 'invalid-definition', String(error))
    return error.message
  }
}

const subnet = (inner: string) => `<ip address='10.1.0.1' prefix='24'><dhcp>${inner}</dhcp></ip>`

const wrong: readonly (readonly [string, string, RegExp])[] = [
  [
    'a range that runs backwards',
    subnet("<range start='10.1.0.9' end='10.1.0.2'/>"),
    /range\[1\]: runs backwards/u,
  ],
  [
    'a range outside',
    subnet("<range start='10.1.0.9' end='10.1.1.2'/>"),
    /10\.1\.1\.2' is not in the subnet 10\.1\.0\.0\/24/u,
  ],
  [
    'ranges that overlap',
    subnet("<range start='10.1.0.2' end='10.1.0.9'/><range start='10.1.0.9' end='10.1.0.20'/>"),
    /range\[2\]: overlaps with addresses\[0\]\.dhcp\.ranges\[0\]/u,
  ],
  [
    'a reservation outside',
    subnet("<host mac='52:54:00:11:22:33' ip='10.2.0.5'/>"),
    /host\[1\]\/@ip: '10\.2\.0\.5' is not in the subnet/u,
  ],
  [
    'a MAC address twice',
    subnet("<host mac='52:54:00:11:22:33' ip='10.1.0.5'/><host mac='52:54:00:11:22:33' ip='10.1.0.6'/>"),
    /host\[2\]\/@mac: is that of addresses\[0\]\.dhcp\.hosts\[0\]/u,
  ],
  [
    'an address twice',
    subnet("<host name='a' ip='10.1.0.5'/><host name='b' ip='10.1.0.5'/>"),
    /host\[2\]\/@ip: is that of/u,
  ],
  [
    "the host's own address kept for a guest",
    subnet("<host name='a' ip='10.1.0.1'/>"),
    /host\[1\]\/@ip: is that of addresses\[0\]\.address/u,
  ],
  ['a name of a bridge that is too long', "<bridge name='bridge-of-16-cha'/>", /bridge/u],
  ['a prefix that does not fit', "<ip family='ipv6' address='fd00::1' prefix='129'/>", /prefix/u],
  ['a prefix for the other family', "<ip address='10.1.0.1' prefix='64'/>", /64 is too long for ipv4/u],
  ['a mask that is none', "<ip address='10.1.0.1' netmask='255.0.255.0'/>", /no mask/u],
  ['an address that is none', "<ip address='10.1.0.256' prefix='24'/>", /no IP address/u],
  [
    'subnets that overlap',
    "<ip address='10.1.0.1' prefix='16'/><ip address='10.1.3.1' prefix='24'/>",
    /overlaps with addresses\[0\]/u,
  ],
  ['the subnet instead of an address', "<ip address='10.1.0.0' prefix='24'/>", /is the subnet/u],
  [
    'an address on the LAN of others',
    "<forward mode='bridge'/><bridge name='br0'/><ip address='10.1.0.1' prefix='24'/>",
    /mode 'bridge'/u,
  ],
  [
    'a gateway elsewhere',
    "<ip address='10.1.0.1' prefix='24'/><route address='10.2.0.0' prefix='16' gateway='10.3.0.1'/>",
    /in no subnet/u,
  ],
  ['a line break in a text record', "<dns><txt name='a' value='b&#10;c'/></dns>", /value/u],
  [
    'two default port groups',
    "<portgroup name='a' default='yes'/><portgroup name='b' default='yes'/>",
    /only one/u,
  ],
]
for (const [what, inner, message] of wrong)
  test(`refused: ${what}`, () => assert.match(faultsOf(inner), message))

test('addresses are the same after they were printed', () => {
  const address = fc.oneof(
    fc.tuple(fc.constant<IpFamily>('ipv4'), fc.bigInt({ min: 0n, max: 2n ** 32n - 1n })),
    fc.tuple(fc.constant<IpFamily>('ipv6'), fc.bigInt({ min: 0n, max: 2n ** 128n - 1n })),
  )
  fc.assert(
    fc.property(address, ([family, value]) => {
      assert.deepEqual(parseIp(formatIp({ family, value })), { family, value })
    }),
  )
})

test('addresses are written as RFC 5952 says', () => {
  const cases = [
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::', '::'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['fe80:0:0:0::1', 'fe80::1'],
  ]
  for (const [given = '', wanted] of cases) {
    const parsed = parseIp(given)
    assert.ok(parsed, given)
    assert.equal(formatIp(parsed), wanted)
  }
  for (const text of [
    '',
    ':',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '10.0.0',
    '01.2.3.4',
    '::1.2.3',
    'g::',
  ])
    assert.equal(parseIp(text), undefined, text)
})

test('subnets know what is in them', () => {
  const of = (text: string) => {
    const found = parseSubnet(text)
    assert.ok(found, text)
    return found
  }
  assert.equal(formatSubnet(of('10.1.2.3/8')), '10.0.0.0/8')
  assert.ok(contains(of('10.1.0.0/16'), of('10.1.255.255')))
  assert.ok(!contains(of('10.1.0.0/16'), of('fd00::1')))
  assert.ok(overlaps(of('10.0.0.0/8'), of('10.9.0.0/24')))
  assert.ok(overlaps(of('0.0.0.0/0'), of('10.9.0.0/24')))
  assert.ok(!overlaps(of('10.8.0.0/24'), of('10.9.0.0/24')))
})
