import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  DomainDefinition,
  formatXml,
  parseXml,
  parseXmlDocument,
  positionOf,
  schema as s,
  VisorError,
  xmlPathOf,
} from './index.ts'

const read = (text: string) => parseXmlDocument(DomainDefinition, text)
const print = (definition: DomainDefinition) => formatXml(DomainDefinition, definition)
const domain = (inner: string, attributes = '') =>
  `<domain type='qemu'${attributes}>\n  <name>a</name>\n  <memory>65536</memory>\n${inner}</domain>`

test('the tree has texts, attributes and where they stood', () => {
  const { root, source, locate } = parseXml(
    '\ufeff<?xml version="1.0"?>\r\n<!-- c --><a x="1&lt;"\r\n y=\'2\'>t<![CDATA[<u>]]>&#65;<b/></a>\n',
  )
  assert.equal(root.text, 't<u>A')
  assert.deepEqual(
    [...root.attributes.values()].map(({ name, value }) => [name, value]),
    [
      ['x', '1<'],
      ['y', '2'],
    ],
  )
  assert.equal(source.slice(root.start, root.end).at(-1), '>')
  assert.deepEqual(locate(root.attributes.get('y')?.start ?? 0), { line: 3, column: 2 })
  assert.equal(root.children[0]?.name, 'b')
})

test('errors tell line and column', () => {
  const wrong: [string, RegExp, number][] = [
    ['<a>\n<b></a>', /unexpected close tag/u, 2],
    ['<a>\n &nbsp;</a>', /undefined entity/u, 2],
    ['<a x="1"\n x="2"/>', /attribute 'x' is given twice/u, 2],
    ['<!DOCTYPE a>\n<a/>', /document type/u, 1],
    ['<a/>\n<b/>', /only one root/u, 2],
    ['\n\n', /root element/u, 3],
  ]
  for (const [text, message, line] of wrong)
    assert.throws(
      () => parseXml(text),
      (error: VisorError) => message.test(error.message) && error.line === line && (error.column ?? 0) > 0,
      text,
    )
})

test('limits hold', () => {
  assert.throws(
    () => parseXml('<a><b><c/></b></a>', { maxDepth: 2 }),
    /more than 2 deep \(line 1, column 7\)/u,
  )
  assert.throws(() => parseXml('<a><b/><c/></a>', { maxNodes: 2 }), /more than 2 elements/u)
  assert.throws(() => parseXml('<a x="" y=""/>', { maxNodes: 2 }), /more than 2 elements/u)
  assert.throws(() => parseXml('<a>xxxx</a>', { maxBytes: 10 }), /more than 10/u)
})

test("sizes follow libvirt's units", () => {
  const memory = (text: string) => read(`<domain type='qemu'><name>a</name>${text}</domain>`).memoryKiB
  assert.equal(memory('<memory>65536</memory>'), 65_536)
  for (const [unit, wanted] of [
    ['bytes', 1024],
    ['KB', 1_024_000],
    ['k', 1_048_576],
    ['MiB', 1024 ** 3],
    ['m', 1024 ** 3],
  ] as const)
    assert.equal(memory(`<memory unit='${unit}'>1048576</memory>`), wanted, unit)
  assert.equal(memory("<memory unit='G'>2</memory>"), 2_097_152)
  assert.equal(memory("<memory unit='GB'> 2 </memory>"), 1_953_125)
  assert.throws(
    () => memory("<memory unit='parsecs'>2</memory>"),
    /\/domain\/memory: must be a whole number of KiB, not '2 parsecs'/u,
  )
  assert.throws(() => memory("<memory unit='EiB'>99999</memory>"), VisorError)
})

test('what tells of a running machine is read over', () => {
  const definition = read(domain('', " id='12'"))
  assert.equal(definition.unknown, undefined)
  assert.ok(!print(definition).includes('id='))
})

test('what is not described is kept and printed back at its place', () => {
  const inner = `  <devices>
    <disk type='file' device='disk' snapshot='no'>
      <driver name='qemu' type='raw' io='native' strange='x'/>
      <source file='/a'/>
      <mirror>
        <format type='raw'/><!-- as it was -->
      </mirror>
      <target dev='vda'/>
      <readonly/>
    </disk>
    <sound model='ac97'/>
    <video>
      <model type='vga'/>
    </video>
    <strange:device xmlns:strange='urn:x'/>
  </devices>
`
  const definition = read(domain(inner))
  assert.deepEqual(
    definition.devices.disks[0]?.unknown?.map(({ path }) => path),
    ['@snapshot', 'driver/@strange', 'mirror'],
  )
  assert.deepEqual(positionOf(definition, 'devices.disks[0].unknown[2]'), { line: 8, column: 7 })
  assert.ok(print(definition).includes(inner), print(definition))
})

test('prefixes that come from outside go with what is kept', () => {
  const definition = read(
    domain("<x:a><x:b xmlns:y='v' y:c='' xml:lang='de'/></x:a><metadata><x:m/></metadata>", " xmlns:x='u'"),
  )
  assert.equal(definition.metadata, "<metadata xmlns:x='u'><x:m/></metadata>")
  assert.equal(definition.unknown?.[1]?.xml, "<x:a xmlns:x='u'><x:b xmlns:y='v' y:c='' xml:lang='de'/></x:a>")
  assert.deepEqual(read(print(definition)), definition)
})

test('single elements given twice, stray texts and other documents are refused', () => {
  assert.throws(() => read(domain('<name>b</name>')), /\/domain: has <name> twice \(line 4, column 1\)/u)
  assert.throws(() => read(domain('<os/><os/>')), /has <os> twice/u)
  assert.throws(() => read(domain('<devices>hello</devices>')), /\/domain\/devices: has a text in <devices>/u)
  assert.throws(() => read('<network/>'), /is a <network>, not a <domain>/u)
})

test('booleans are written in the three ways of libvirt', () => {
  const definition = read(
    domain("<os><bootmenu enable='no'/></os><features><acpi/><vmport state='on'/></features>"),
  )
  assert.deepEqual(
    [definition.os.bootMenu, definition.features.acpi, definition.features.apic, definition.features.vmport],
    [false, true, false, true],
  )
  assert.throws(
    () => read(domain("<os><bootmenu enable='on'/></os>")),
    /\/domain\/os\/bootmenu\/@enable: must be true or false \('yes' or 'no' in XML\), not 'on'/u,
  )
})

test('a noun may be told in attributes, texts, lists and nouns of its own', () => {
  const Inner = s.object('Inner', 'A noun', {
    text: s.string('own text', { xml: '.', optional: true }),
    n: s.number('n', { xml: '@n' }),
  })
  const Outer = s.object(
    'Outer',
    'A noun',
    {
      words: s.array('words', s.string('word'), { xml: 'words/word', default: [] }),
      inner: s.field(Inner, { xml: 'some/inner', optional: true }),
      only: s.string('not in XML', { default: 'x' }),
    },
    { xml: 'outer' },
  )
  const text =
    "<outer>\n  <words>\n    <word>a</word>\n    <word>b c</word>\n  </words>\n  <some>\n    <inner n='1.5'>t</inner>\n  </some>\n</outer>\n"
  const value = parseXmlDocument(Outer, text)
  assert.deepEqual(value, { words: ['a', 'b c'], inner: { text: 't', n: 1.5 }, only: 'x' })
  assert.equal(formatXml(Outer, value), text)
  assert.throws(
    () => parseXmlDocument(Outer, "<outer><some><inner n='1' m='2'/></some></outer>"),
    /has '@m', which is not known/u,
  )
})

test('paths lead into the XML', () => {
  assert.equal(xmlPathOf(DomainDefinition, 'devices.disks[1].cache'), '/domain/devices/disk[2]/driver/@cache')
  assert.equal(xmlPathOf(DomainDefinition, 'os.boot[0]'), '/domain/os/boot[1]/@dev')
  assert.equal(xmlPathOf(DomainDefinition, 'no.such'), undefined)
})
