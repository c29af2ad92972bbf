/** The reference page of a noun, in Markdown. */
import { type Described, described, sizeName } from './described.ts'
import type * as s from './schema.ts'

/**
 * The reference of a description: one section for each noun in it, with each field's YAML and JSON key, its
 * place in the XML, its kind and bounds, its default and what it is; then what is read over and what is inert.
 * What is not XML is told by an `introduction` of its own, and has no column of it.
 */
export function formatReference(schema: s.Schema, title: string, introduction?: string): string {
  const hasXml = introduction === undefined
  const sections: string[] = []
  const waiting: { schema: s.ObjectSchema; element: string }[] = [
    { schema: described(schema) as s.ObjectSchema, element: schema.options.xml ?? '' },
  ]
  const seen = new Set<s.Fields>()
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    if (seen.has(next.schema.fields)) continue
    seen.add(next.schema.fields)
    sections.push(formatSection(next.schema, next.element, hasXml))
    for (const field of Object.values(next.schema.fields)) {
      const inner = objectIn(field)
      if (inner) waiting.push({ schema: inner, element: lastElement(field.options.xml ?? '') })
    }
  }
  return `# ${title}\n\n${introduction ?? aboutDefinitions}\n\n${sections.join('\n\n')}\n`
}

const aboutDefinitions = `This page is generated from the descriptions in \`src/model\`: run \`node tools/generate-docs.ts\` after a
change there.

A definition is written as libvirt's XML, as YAML or as JSON; all three say the same. *Key* is the name in YAML
and JSON. *XML* is the place below the element of the section: \`@x\` is an attribute, \`a/@x\` an attribute of
a child, \`a\` the text of a child (or, for *flag*, its being there). Sizes are written with a unit in YAML and
JSON (\`memory: 2GiB\`) or as a plain number under the long key (\`memoryKiB: 2097152\`).

XML that is not on this page is kept in the \`unknown\` list of its element and printed back where it stood; a
driver refuses to run a definition that has some, unless it is listed as inert here.`

function formatSection(schema: s.ObjectSchema, element: string, hasXml: boolean): string {
  const rows = Object.entries(schema.fields).flatMap(([key, field]) =>
    described(field).kind === 'unknown' ? [] : [formatRow(key, field, hasXml)],
  )
  const lines = [
    `## ${schema.name}`,
    '',
    `${schema.doc}.${element === '' ? '' : ` In XML: \`<${element}>\`.`}`,
    '',
    `| Key |${hasXml ? ' XML |' : ''} Kind | Default | Meaning |`,
    `|---|${hasXml ? '---|' : ''}---|---|---|`,
    ...rows,
  ]
  const { runtime = {}, inertXml = {} } = schema.options
  const notes = [
    ...Object.entries(runtime).map(([path, reason]) => `- \`${path}\`: read over; ${reason}.`),
    ...Object.entries(inertXml).map(([path, { reason, when }]) => {
      const only = when ? ', when it is written as libvirt writes it by itself' : ''
      return `- \`${path}\`: inert${only}; ${reason}.`
    }),
  ]
  return [...lines, ...(notes.length > 0 ? ['', ...notes] : [])].join('\n')
}

function formatRow(key: string, field: s.Schema, hasXml: boolean): string {
  const known = described(field)
  const short = known.kind === 'size' ? sizeName(key) : undefined
  const keys = short === undefined ? `\`${key}\`` : `\`${short}\` or \`${key}\``
  const { xml, default: standard, optional, generated } = field.options
  const fallback = optional ? (generated ? 'made by visor' : '') : formatDefault(standard)
  // A noun is described as the head of a section; here it stands in a row.
  const doc = known.kind === 'object' ? field.doc.charAt(0).toLowerCase() + field.doc.slice(1) : field.doc
  const place = hasXml ? [xml === undefined ? '' : `\`${xml}\``] : []
  const kind = known.kind === 'boolean' && !hasXml ? '`true`, `false`' : formatKind(known)
  const cells = [keys, ...place, kind, fallback, doc]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function formatDefault(standard: unknown): string {
  if (standard === undefined) return '**required**'
  if (Array.isArray(standard))
    return standard.length > 0 ? standard.map((item) => `\`${String(item)}\``).join(', ') : 'none'
  return typeof standard === 'object' ? 'its defaults' : `\`${String(standard)}\``
}

function formatKind(known: Described): string {
  switch (known.kind) {
    case 'string':
      return known.options.patternName ?? lengths(known.options)
    case 'integer':
    case 'number':
      return `${known.kind === 'integer' ? 'whole number' : 'number'}${bounds(known.options)}`
    case 'size':
      return `size${bounds(known.options)} ${known.options.unit}`
    case 'boolean':
      return { 'yes-no': 'boolean (`yes`, `no`)', 'on-off': 'boolean (`on`, `off`)', presence: 'flag' }[
        known.options.as ?? 'presence'
      ]
    case 'choice':
      return known.values.map((value) => `\`${value}\``).join(', ')
    case 'array':
      return `list of ${formatKind(described(known.item))}`
    case 'object':
      return `[${known.name}](#${known.name.toLowerCase()})`
    case 'record':
      return `keys to ${formatKind(described(known.value))}`
    case 'fragment':
      return 'XML'
    case 'unknown':
    case 'any':
      return 'anything'
  }
}

const lengths = ({ maxLength }: s.StringOptions): string =>
  maxLength === undefined ? 'text' : `text of at most ${maxLength} characters`

function bounds({ min, max }: s.IntegerOptions): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`
  if (min !== undefined) return ` of at least ${min}`
  return max === undefined ? '' : ` of at most ${max}`
}

function objectIn(field: s.Schema): s.ObjectSchema | undefined {
  const known = described(field)
  const inner = known.kind === 'array' ? described(known.item) : known
  return inner.kind === 'object' ? inner : undefined
}

const lastElement = (xml: string): string => xml.slice(xml.lastIndexOf('/') + 1)
