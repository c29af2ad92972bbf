import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { randomInput } from '../../test/fixtures/random-values.ts'
import {
  type DomainDefinition as Definition,
  DomainDefinition,
  definitionFormats,
  described,
  formatDefinition,
  formatXml,
  formatYaml,
  jsonSchema,
  parse,
  parseDefinition,
  parseXmlDocument,
  parseYaml,
  type schema as s,
} from './index.ts'

const samples = join(import.meta.dirname, '../../test/fixtures/definitions')
const printed = readdirSync(samples).filter((file) => file.startsWith('libvirt-'))
const read = (file: string) => readFileSync(join(samples, file), 'utf8')

const definitions = randomInput(DomainDefinition).map((input) => parse(DomainDefinition, input))
const runs = { numRuns: 150 }

test('whatever is printed as XML is read as the same', () => {
  fc.assert(
    fc.property(definitions, (definition) => {
      const text = formatXml(DomainDefinition, definition)
      assert.deepEqual(parseXmlDocument(DomainDefinition, text), definition)
      assert.equal(formatXml(DomainDefinition, parseXmlDocument(DomainDefinition, text)), text)
    }),
    runs,
  )
})

test('whatever is printed as YAML is read as the same', () => {
  fc.assert(
    fc.property(definitions, (definition) => {
      assert.deepEqual(parseYaml(DomainDefinition, formatYaml(DomainDefinition, definition)), definition)
    }),
    runs,
  )
})

test('whatever is printed as JSON is read as the same', () => {
  fc.assert(
    fc.property(definitions, (definition) => {
      const text = formatDefinition(definition, 'json')
      assert.deepEqual(parseYaml(DomainDefinition, text, { format: 'json' }), definition)
      assert.deepEqual(parse(DomainDefinition, JSON.parse(text)), definition)
    }),
    runs,
  )
})

test('what parsing gives is what parsing takes', () => {
  fc.assert(
    fc.property(definitions, (definition) =>
      assert.deepEqual(parse(DomainDefinition, definition), definition),
    ),
    runs,
  )
})

test('every format of every sample says the same', () => {
  for (const file of readdirSync(samples)) {
    const definition = parseDefinition(read(file))
    for (const format of definitionFormats)
      assert.deepEqual(
        parseDefinition(formatDefinition(definition, format), format),
        definition,
        `${file} as ${format}`,
      )
  }
})

for (const file of printed)
  test(`printing what libvirt printed gives the same text: ${file}`, () => {
    assert.equal(formatDefinition(parseDefinition(read(file)), 'xml'), read(file))
  })

const rng = '/usr/share/libvirt/schemas/domain.rng'

test("libvirt's own schema accepts what is printed", { skip: missing(rng) }, async () => {
  const { RelaxNGValidator, XmlDocument, xmlRegisterFsInputProviders } = await loadLibxml()
  xmlRegisterFsInputProviders()
  const grammar = XmlDocument.fromBuffer(readFileSync(rng), { url: rng })
  const validator = RelaxNGValidator.fromDoc(grammar)
  const check = (definition: Definition, name: string) => {
    const text = formatDefinition({ ...definition, type: 'qemu' }, 'xml')
    const document = XmlDocument.fromString(text)
    try {
      validator.validate(document)
    } catch (error) {
      assert.fail(`${name}: ${String(error)}\n${text}`)
    } finally {
      document.dispose()
    }
  }
  const stray = XmlDocument.fromString("<domain type='qemu'><nonsense/></domain>")
  assert.throws(() => validator.validate(stray), 'the schema is really asked')
  stray.dispose()
  for (const file of readdirSync(samples)) check(parseDefinition(read(file)), file)
  validator.dispose()
  grammar.dispose()
})

function missing(file: string): string | false {
  try {
    readFileSync(file)
    return false
  } catch {
    return `there is no ${file}: install libvirt0 or libvirt-daemon`
  }
}

async function loadLibxml() {
  const [main, nodejs] = await Promise.all([import('libxml2-wasm'), import('libxml2-wasm/lib/nodejs.mjs')])
  return { ...main, ...nodejs }
}

test('every object of the XML has room for what is not known', () => {
  const visit = (schema: s.Schema, seen: Set<unknown>): void => {
    const known = described(schema)
    if (known.kind === 'array') visit(known.item, seen)
    if (known.kind !== 'object' || seen.has(known.fields)) return
    seen.add(known.fields)
    assert.ok('unknown' in known.fields, known.name)
    for (const field of Object.values(known.fields)) visit(field, seen)
  }
  visit(DomainDefinition, new Set())
})

test('the JSON schema has each noun once, and all references lead to one', () => {
  for (const variant of ['input', 'output'] as const) {
    const schema = jsonSchema(DomainDefinition, { variant })
    const definitions = schema.$defs as Record<string, unknown>
    const references = [...JSON.stringify(schema).matchAll(/"\$ref":"#\/\$defs\/([^"]+)"/gu)].map(
      ([, name]) => name ?? '',
    )
    for (const name of references) assert.ok(name in definitions, name)
    assert.ok(references.includes(variant === 'input' ? 'DomainDefinitionInput' : 'DomainDefinition'))
  }
})
