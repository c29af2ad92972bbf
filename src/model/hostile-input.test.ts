/** Whatever is thrown at the parsers, they answer with a definition or with a VisorError that says where. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  DomainDefinition,
  definitionFormats,
  formatDefinition,
  parse,
  parseDefinitions,
  VisorError,
} from './index.ts'

const samples = join(import.meta.dirname, '../../test/fixtures/definitions')
const texts = readdirSync(samples).map((file) => readFileSync(join(samples, file), 'utf8'))

/** A definition is printed again and gives the same; an error is typed. */
function survive(text: string): void {
  for (const definition of tryParse(text))
    for (const format of definitionFormats)
      assert.deepEqual(parseDefinitions(formatDefinition(definition, format), format)[0], definition)
}

function tryParse(text: string): DomainDefinition[] {
  try {
    return parseDefinitions(text)
  } catch (error) {
    assert.ok(error instanceof VisorError, String(error instanceof Error ? error.stack : error))
    assert.equal(error.code, 'invalid-definition')
    assert.ok(error.message.length < 10_000, 'the message is of a readable length')
    return []
  }
}

const piece = fc.oneof(
  fc.string({ maxLength: 4, unit: 'binary' }),
  fc.constantFrom(
    '<',
    '>',
    '&',
    '"',
    "'",
    '/>',
    '<!--',
    '-->',
    '<![CDATA[',
    ']]>',
    '<?x ?>',
    '&#0;',
    '&amp;',
    '<!DOCTYPE a>',
  ),
  fc.constantFrom(
    '\n',
    '  ',
    '\t',
    ': ',
    '- ',
    '{',
    '}',
    '[',
    ']',
    '&a ',
    '*a',
    '|\n',
    '? ',
    '--- \n',
    '!!map',
    '%',
    '__proto__',
  ),
  fc.constantFrom(
    '0',
    '-1',
    '1e999',
    '99999999999999999999',
    'null',
    'unknown',
    'xmlns:a="b"',
    '\ufeff',
    '\ud800',
  ),
)
const edit = fc.record({
  place: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.nat(12),
  insert: piece,
})
const mutant = fc
  .tuple(fc.constantFrom(...texts), fc.array(edit, { minLength: 1, maxLength: 6 }))
  .map(([text, edits]) =>
    edits.reduce((before, { place, remove, insert }) => {
      const start = Math.floor(place * before.length)
      return before.slice(0, start) + insert + before.slice(start + remove)
    }, text),
  )

test('edits of real definitions', () => {
  fc.assert(fc.property(mutant, survive), { numRuns: 800 })
})

test('values of any shape', () => {
  const anything = fc.anything({
    withNullPrototype: true,
    withDate: true,
    withMap: true,
    withBigInt: true,
    withSparseArray: true,
  })
  const near = fc.dictionary(
    fc.constantFrom('type', 'name', 'memoryKiB', 'memory', 'devices', 'unknown', '__proto__'),
    anything,
  )
  fc.assert(
    fc.property(fc.oneof(anything, near), (value) => {
      try {
        parse(DomainDefinition, value)
      } catch (error) {
        assert.ok(error instanceof VisorError, String(error))
      }
    }),
    { numRuns: 800 },
  )
})

const deep = (n: number, open: string, close = '') => open.repeat(n) + close.repeat(n)
const billionLaughs = `<!DOCTYPE lolz [<!ENTITY lol "lol">${Array.from({ length: 9 }, (_, i) => `<!ENTITY lol${i} "${'&lol;'.repeat(10)}">`).join('')}]><domain>&lol9;</domain>`
const aliasBomb = `a0: &a0 [x]\n${Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`).join('\n')}`
const hostile: Record<string, string> = {
  'entity bomb': billionLaughs,
  'external entity':
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><domain><name>&x;</name></domain>',
  'alias bomb': aliasBomb,
  'alias in itself': 'a: &a { b: *a }',
  'deep XML': deep(100_000, '<a>'),
  'deep XML in metadata': `<domain><metadata>${deep(200, '<a>', '</a>').replaceAll('</a><a>', '')}</metadata></domain>`,
  'deep YAML in flow': deep(50_000, '['),
  'deep YAML maps': deep(50_000, '{a: '),
  'deep YAML lists': deep(50_000, '- '),
  'deep JSON': `${deep(200_000, '{"a":')}1${'}'.repeat(200_000)}`,
  'huge attribute': `<domain type='${'x'.repeat(3_000_000)}'/>`,
  'many attributes': `<domain ${Array.from({ length: 150_000 }, (_, i) => `a${i}=''`).join(' ')}/>`,
  'many elements': `<domain>${'<a/>'.repeat(500_000)}</domain>`,
  'many keys': Array.from({ length: 40_000 }, (_, i) => `key${i}: 1`).join('\n'),
  'many character references': `<domain>${'&#65;'.repeat(500_000)}</domain>`,
  'ten million letters of XML': `<domain>${'x'.repeat(10_000_000)}</domain>`,
  'ten million letters of YAML': `name: ${'x'.repeat(10_000_000)}`,
  'ten million letters of JSON': `{"name": "${'x'.repeat(10_000_000)}"}`,
  'prototype in YAML': '__proto__: { polluted: true }\ntype: qemu',
  'prototype in JSON': '{"__proto__": {"polluted": true}}',
  'prototype by constructor': '{"constructor": {"prototype": {"polluted": true}}}',
  'half a character': '{"type":"qemu","name":"\\ud800","memoryKiB":65536}',
  'control character': '{"type":"qemu","name":"a","title":"\\u0001","memoryKiB":65536}',
  'markup in unknown content': JSON.stringify({
    type: 'qemu',
    name: 'a',
    memoryKiB: 65536,
    unknown: [{ path: 'a', xml: '<a/></domain><domain>' }],
  }),
  'markup in an attribute': JSON.stringify({
    type: 'qemu',
    name: 'a',
    memoryKiB: 65536,
    unknown: [{ path: '@a', xml: "a=''/><b c=''" }],
  }),
}
for (const [name, text] of Object.entries(hostile))
  test(`refuses: ${name}`, { timeout: 60_000 }, () => {
    assert.throws(
      () => parseDefinitions(text),
      (error) =>
        error instanceof VisorError && error.code === 'invalid-definition' && error.message.length < 10_000,
    )
    assert.equal(({} as Record<string, unknown>).polluted, undefined)
  })

test('values that hold themselves end at the depth limit', () => {
  const value: Record<string, unknown> = { type: 'qemu', name: 'a', memoryKiB: 65536 }
  value.devices = { disks: [value] }
  assert.throws(() => parse(DomainDefinition, value), VisorError)
})
