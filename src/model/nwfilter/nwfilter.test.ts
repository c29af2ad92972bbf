import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { formatNwfilterDefinition, parseNwfilterDefinition, VisorError } from '../index.ts'

/** As libvirt 9 printed it (virsh nwfilter-dumpxml). */
const everything = readFileSync(
  join(import.meta.dirname, '../../../test/fixtures/nwfilters/everything.xml'),
  'utf8',
)

test('what libvirt prints is the same after it went through each notation', () => {
  const definition = parseNwfilterDefinition(everything)
  assert.equal(formatNwfilterDefinition(definition, 'xml'), everything)
  for (const format of ['yaml', 'json'] as const)
    assert.deepEqual(
      parseNwfilterDefinition(formatNwfilterDefinition(definition, format), format),
      definition,
    )
  assert.ok(!JSON.stringify(definition).includes('"unknown"'))
})

test('rules and filters stay in the order in which they were written', () => {
  const text =
    "<filter name='a'><rule action='drop' direction='in'/><filterref filter='b'/><rule action='accept' direction='out'/></filter>"
  const { entries } = parseNwfilterDefinition(text)
  assert.deepEqual(
    entries.map(({ rule, reference }) => rule?.action ?? reference?.filter),
    ['drop', 'b', 'accept'],
  )
})

const wrong: readonly (readonly [string, string, RegExp])[] = [
  ['a port that is none', "<rule action='drop' direction='in'><tcp dstportstart='65536'/></rule>", /65535/u],
  [
    'an address that is none',
    "<rule action='drop' direction='in'><ip srcipaddr='10.0.0.300'/></rule>",
    /IPv4/u,
  ],
  [
    'an address of the other family',
    "<rule action='drop' direction='in'><tcp srcipaddr='fd00::1'/></rule>",
    /IPv4/u,
  ],
  [
    'a mask with holes',
    "<rule action='drop' direction='in'><ip srcipaddr='10.0.0.0' srcipmask='255.0.255.0'/></rule>",
    /mask/u,
  ],
  [
    'too many bits',
    "<rule action='drop' direction='in'><ip srcipaddr='10.0.0.0' srcipmask='33'/></rule>",
    /mask/u,
  ],
  [
    'two protocols',
    "<rule action='drop' direction='in'><tcp/><udp/></rule>",
    /one protocol only, not tcp and udp/u,
  ],
  ['itself', "<filterref filter='f'/>", /this filter itself/u],
  [
    'a variable with more to it',
    "<rule action='drop' direction='in'><ip srcipaddr='$IP; drop'/></rule>",
    /ip\/@srcipaddr/u,
  ],
  [
    'a word of nft',
    "<rule action='drop' direction='in'><mac protocolid='ip accept'/></rule>",
    /mac\/@protocolid/u,
  ],
  ['flags that are none', "<rule action='drop' direction='in'><tcp flags='SYN/FOO'/></rule>", /flags/u],
  ['a priority that is too great', "<rule action='drop' direction='in' priority='1001'/>", /priority/u],
]
for (const [what, inner, message] of wrong)
  test(`refused: ${what}`, () => {
    assert.throws(
      () => parseNwfilterDefinition(`<filter name='f'>${inner}</filter>`),
      (error: unknown) =>
        error instanceof VisorError && error.code === 'invalid-definition' && message.test(error.message),
    )
  })

test('refused: a chain that begins with no protocol', () => {
  assert.throws(() => parseNwfilterDefinition("<filter name='f' chain='mine'/>"), /chain/u)
})
