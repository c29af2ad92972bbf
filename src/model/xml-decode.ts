/** XML to a definition, led by its description alone. */
import { at, described, join } from './described.ts'
import { VisorError } from './error.ts'
import type { Fault } from './issue.ts'
import { parse } from './parse.ts'
import type { Position } from './position.ts'
import type * as s from './schema.ts'
import { clean } from './show.ts'
import { scale } from './size.ts'
import { attributeText } from './xml-format.ts'
import {
  hasUnit,
  hasUnitAttribute,
  isFlag,
  isSize,
  type Layout,
  layoutOf,
  type Place,
  type Slot,
  sortUnknown,
} from './xml-layout.ts'
import { parseXml, type XmlDocument, type XmlElement, type XmlLimits } from './xml-tree.ts'

/**
 * Parses the XML of a noun. What its description does not have is kept in the fields `unknown`; text that
 * stands where none means anything and single elements given twice are mistakes. Fails with
 * `invalid-definition` that tells every mistake with line and column.
 */
export function parseXmlDocument<S extends s.Schema>(
  schema: S,
  text: string,
  limits: XmlLimits = {},
): s.Output<S> {
  return readXmlDocument(schema, parseXml(text, limits))
}

/** As {@link parseXmlDocument}, of XML that is a tree already. */
export function readXmlDocument<S extends s.Schema>(schema: S, document: XmlDocument): s.Output<S> {
  const { root } = document
  const name = schema.options.xml
  if (root.name !== name) {
    const place = document.locate(root.start)
    const message = `The XML is a <${clean(root.name)}>, not a <${name}> (line ${place.line}, column ${place.column}).`
    throw new VisorError('invalid-definition', message, place)
  }
  const reading: Reading = { document, faults: [], places: new Map(), ancestors: [] }
  const value = readObject(reading, root, described(schema) as s.ObjectSchema, '')
  return parse(schema, value, { faults: reading.faults, positions: { format: 'xml', at: reading.places } })
}

interface Reading {
  readonly document: XmlDocument
  readonly faults: Fault[]
  readonly places: Map<string, Position>
  readonly ancestors: XmlElement[]
}

/** An object that is being read. */
interface Owner {
  readonly schema: s.ObjectSchema
  readonly layout: Layout
  readonly path: string
  readonly value: Record<string, unknown>
  readonly unknown: (s.UnknownContent & { readonly start: number })[]
}

function readObject(reading: Reading, element: XmlElement, schema: s.ObjectSchema, path: string): unknown {
  const owner: Owner = { schema, layout: layoutOf(schema), path, value: {}, unknown: [] }
  mark(reading, path, element.start)
  readPlace(reading, owner, element, owner.layout.root, '')
  const { unknown: key } = owner.layout
  if (key !== undefined && owner.unknown.length > 0) {
    const sorted = sortUnknown(owner.layout, owner.unknown)
    for (const [index, { start }] of sorted.entries()) mark(reading, at(join(path, key), index), start)
    owner.value[key] = sorted.map(({ path: place, xml }) => ({ path: place, xml }))
  }
  return owner.value
}

function mark({ places, document }: Reading, path: string, offset: number): void {
  places.set(path, document.locate(offset))
}

/** Reads what stands on one element: of the owner itself (`below` empty) or below it. */
function readPlace(reading: Reading, owner: Owner, element: XmlElement, place: Place, below: string): void {
  reading.ancestors.push(element)
  for (const attribute of element.attributes.values()) {
    const slot = place.attributes.get(attribute.name)
    if (slot && hasUnitAttribute(slot)) {
      const value = convertSize(slot, attribute.value, element.attributes.get('unit')?.value)
      assign(reading, owner, slot, value, attribute.start)
    } else if (slot) assign(reading, owner, slot, convert(slot.schema, attribute.value), attribute.start)
    else if (!(attribute.name === 'unit' && hasUnit(place))) {
      const xml = `${attribute.name}=${attributeText(attribute.value)}`
      keep(reading, owner, `${below}@${attribute.name}`, xml, attribute.start)
    }
  }
  readText(reading, owner, element, place)
  const seen = new Set<string>()
  for (const child of element.children) {
    // `source#2` of a description is the second element of that name.
    const second = seen.has(child.name) ? place.children.get(`${child.name}#2`) : undefined
    const inner = second ?? place.children.get(child.name)
    if (second && seen.has(`${child.name}#2`))
      complain(reading, owner.path, child, `has <${child.name}> thrice`)
    else if (second) {
      readChild(reading, owner, child, second, below)
      seen.add(`${child.name}#2`)
    } else if (!inner) keep(reading, owner, `${below}${child.name}`, slice(reading, child), child.start)
    else if (inner.repeated) readItem(reading, owner, inner.repeated, child)
    else if (seen.has(child.name)) complain(reading, owner.path, child, `has <${child.name}> twice`)
    else readChild(reading, owner, child, inner, below)
    seen.add(child.name)
  }
  reading.ancestors.pop()
}

function readChild(reading: Reading, owner: Owner, child: XmlElement, inner: Place, below: string): void {
  const { whole } = inner
  if (!whole) {
    readPlace(reading, owner, child, inner, `${below}${child.name}/`)
    return
  }
  const known = described(whole.schema)
  if (known.kind === 'object')
    owner.value[whole.key] = readObject(reading, child, known, join(owner.path, whole.key))
  else assign(reading, owner, whole, slice(reading, child), child.start)
}

function readItem(
  reading: Reading,
  owner: Owner,
  slot: NonNullable<Place['repeated']>,
  child: XmlElement,
): void {
  const list = (owner.value[slot.key] ?? []) as unknown[]
  owner.value[slot.key] = list
  const path = at(join(owner.path, slot.key), list.length)
  if (list.length === 0) mark(reading, join(owner.path, slot.key), child.start)
  mark(reading, path, child.start)
  const item = described((slot.schema as s.ArraySchema).item)
  if (item.kind === 'object' && slot.among)
    list.push(
      readObject(reading, { ...child, attributes: new Map(), children: [child], text: '' }, item, path),
    )
  else if (item.kind === 'object') list.push(readObject(reading, child, item, path))
  else {
    // An item that is just a text or an attribute has no room for anything else.
    const text = slot.attribute === undefined ? child.text : child.attributes.get(slot.attribute)?.value
    list.push(text === undefined ? undefined : convert(item, text))
    const others = child.attributes.size - (slot.attribute === undefined || text === undefined ? 0 : 1)
    if (others > 0 || child.children.length > 0)
      complain(reading, path, child, `has more in <${child.name}> than is known`)
  }
}

function readText(reading: Reading, owner: Owner, element: XmlElement, { text: slot }: Place): void {
  const { text } = element
  const isBlank = text.trim() === ''
  if (!slot || isFlag(slot)) {
    if (!isBlank)
      complain(reading, owner.path, element, `has a text in <${element.name}>, where none means anything`)
    if (slot) assign(reading, owner, slot, true, element.start)
  } else if (text !== '' && !(isBlank && element.children.length > 0))
    assign(
      reading,
      owner,
      slot,
      isSize(slot)
        ? convertSize(slot, text, element.attributes.get('unit')?.value)
        : convert(slot.schema, text),
      element.start,
    )
}

function assign(reading: Reading, owner: Owner, slot: Slot, value: unknown, offset: number): void {
  owner.value[slot.key] = value
  mark(reading, join(owner.path, slot.key), offset)
}

/** The text as the kind of value it shall be; as it is when it is none, and checking then says so. */
function convert(schema: s.Schema, text: string): unknown {
  const known = described(schema)
  const bare = text.trim()
  switch (known.kind) {
    case 'integer':
    case 'number':
    case 'size':
      return /^[+-]?\d{1,20}(?:\.\d{1,20})?$/u.test(bare) ? Number(bare) : text
    case 'boolean': {
      const [yes, no] = known.options.as === 'on-off' ? ['on', 'off'] : ['yes', 'no']
      return bare === yes ? true : bare === no ? false : text
    }
    case 'choice':
      return bare
    default:
      return text
  }
}

/** Source: libvirt's virDomainParseMemory: without a unit the number counts KiB. */
function convertSize(slot: Slot, text: string, written: string | undefined): unknown {
  const { unit } = described(slot.schema).options as s.SizeOptions
  const amount = convert(slot.schema, text)
  const from = written ?? unit
  if (typeof amount !== 'number') return amount
  // Not a number that can be told: checking then shows it as it was written.
  return scale(amount, from, unit) ?? `${amount} ${from}`
}

function keep(reading: Reading, owner: Owner, path: string, xml: string, start: number): void {
  if (Object.hasOwn(owner.schema.options.runtime ?? {}, path)) return
  if (owner.layout.unknown !== undefined) owner.unknown.push({ path, xml, start })
  else
    reading.faults.push({
      path: owner.path,
      message: `has '${path}', which is not known`,
      position: reading.document.locate(start),
    })
}

function complain(reading: Reading, path: string, element: XmlElement, message: string): void {
  reading.faults.push({ path, message, position: reading.document.locate(element.start) })
}

/** The element as it was written, with the namespaces that it takes from around it declared on itself. */
function slice({ document, ancestors }: Reading, element: XmlElement): string {
  const text = document.source.slice(element.start, element.end)
  let declarations = ''
  for (const prefix of freePrefixes(element, new Set(), new Set())) {
    const uri = ancestors
      .findLast((one) => one.attributes.has(`xmlns:${prefix}`))
      ?.attributes.get(`xmlns:${prefix}`)
    if (uri) declarations += ` xmlns:${prefix}=${attributeText(uri.value)}`
  }
  const head = 1 + element.name.length
  return declarations === '' ? text : text.slice(0, head) + declarations + text.slice(head)
}

function freePrefixes(element: XmlElement, bound: ReadonlySet<string>, free: Set<string>): Set<string> {
  const names = [...element.attributes.keys()]
  const here = new Set(bound)
  for (const name of names) if (name.startsWith('xmlns:')) here.add(name.slice(6))
  for (const name of [element.name, ...names]) {
    const [prefix, local] = name.split(':')
    if (local !== undefined && prefix !== 'xmlns' && prefix !== 'xml' && !here.has(prefix ?? ''))
      free.add(prefix ?? '')
  }
  for (const child of element.children) freePrefixes(child, here, free)
  return free
}
