/** A definition to XML, led by its description alone. */
import { described } from './described.ts'
import type * as s from './schema.ts'
import { formatNode, newNode, type XmlNode } from './xml-format.ts'
import { attributeOf, lastStep } from './xml-fragment.ts'
import { layoutOf, type Place, rank, splitXmlPath } from './xml-layout.ts'

/**
 * Prints a value of a noun as libvirt would: order, quotes, indentation, defaults written out. Content that
 * the description does not have is put back at its place. Ends with a newline.
 */
export function formatXml<S extends s.Schema>(schema: S, value: s.Output<S>): string {
  const node = newNode(schema.options.xml ?? '')
  writeObject(node, described(schema) as s.ObjectSchema, value as Record<string, unknown>)
  return formatNode(node)
}

function writeObject(node: XmlNode, schema: s.ObjectSchema, value: Readonly<Record<string, unknown>>): void {
  const layout = layoutOf(schema)
  const quiet: (() => void)[] = []
  for (const [key, field] of Object.entries(schema.fields)) {
    const { xml, quiet: isQuiet, default: standard } = field.options
    const known = described(field)
    const one = value[key]
    if (one === undefined) continue
    if (known.kind === 'unknown') writeUnknown(node, one as s.UnknownContent[])
    else if (xml === undefined) continue
    else if (isQuiet && one === standard) quiet.push(() => writeQuiet(node, known, one, xml))
    else writeField(node, known, one, xml)
  }
  for (const write of quiet) write()
  sortNode(node, layout.root)
  declareNamespaces(node, schema.options.namespaces)
}

function declareNamespaces(node: XmlNode, namespaces: s.ObjectOptions['namespaces'] = {}): void {
  for (const { name, raw, attributes } of node.children) {
    const prefix = name.split(':')[0] ?? ''
    const uri = namespaces[prefix]
    if (uri !== undefined && raw === undefined) attributes.set(`xmlns:${prefix}`, uri)
  }
}

function writeQuiet(node: XmlNode, known: ReturnType<typeof described>, value: unknown, xml: string): void {
  const { elements } = splitXmlPath(xml)
  if (findChild(node, elements)) writeField(node, known, value, xml)
}

function writeField(node: XmlNode, known: ReturnType<typeof described>, value: unknown, xml: string): void {
  const { elements, attribute } = splitXmlPath(xml)
  switch (known.kind) {
    case 'array':
      for (const item of value as unknown[])
        if (elements.length === 0) writeAmong(node, described(known.item), item)
        else writeItem(node, described(known.item), item, elements, attribute)
      return
    case 'object': {
      const child = newNode(elements.at(-1) ?? '')
      writeObject(child, known, value as Record<string, unknown>)
      const isEmpty = child.attributes.size === 0 && child.children.length === 0 && child.text === undefined
      if (!isEmpty || known.options.optional) ensure(node, elements.slice(0, -1)).children.push(child)
      return
    }
    case 'fragment':
      ensure(node, elements.slice(0, -1)).children.push({
        ...newNode(elements.at(-1) ?? ''),
        raw: String(value),
      })
      return
    case 'boolean':
      if ((known.options.as ?? 'presence') !== 'presence') break
      if (value === true) ensure(node, elements)
      return
  }
  const place = ensure(node, elements)
  if (known.kind === 'size' && known.options.largestUnit) {
    writeLargest(place, Number(value))
    return
  }
  const text = scalar(known, value)
  if (attribute !== undefined) place.attributes.set(attribute, text)
  else if (text !== '') place.text = text
  if (known.kind === 'size' && (attribute === undefined || known.options.unitAttribute))
    place.attributes.set('unit', unitName(known.options, attribute !== undefined))
}

/** As libvirt spells it: bytes of an attribute are B. */
const unitName = ({ unit, shortUnit }: s.SizeOptions, isAttribute: boolean): string =>
  unit === 'bytes' && (isAttribute || shortUnit) ? 'B' : unit

/** A number of KiB in the largest unit in which it is whole. Source: libvirt's virFormatIntPretty. */
function writeLargest(place: XmlNode, valueKiB: number): void {
  let [value, unit] = [valueKiB, 0]
  while (value > 0 && value % 1024 === 0 && unit < 4) [value, unit] = [value / 1024, unit + 1]
  place.text = String(value)
  place.attributes.set('unit', ['KiB', 'MiB', 'GiB', 'TiB', 'PiB'][unit] ?? 'KiB')
}

function writeItem(
  node: XmlNode,
  item: ReturnType<typeof described>,
  value: unknown,
  elements: string[],
  attribute: string | undefined,
): void {
  const child = newNode(elements.at(-1) ?? '')
  ensure(node, elements.slice(0, -1)).children.push(child)
  if (item.kind === 'object') writeObject(child, item, value as Record<string, unknown>)
  else if (attribute === undefined) child.text = scalar(item, value)
  else child.attributes.set(attribute, scalar(item, value))
}

/** An item that is one element of several names. */
function writeAmong(node: XmlNode, item: ReturnType<typeof described>, value: unknown): void {
  if (item.kind !== 'object') return
  const holder = newNode('')
  writeObject(holder, item, value as Record<string, unknown>)
  node.children.push(...holder.children)
}

function scalar(known: ReturnType<typeof described>, value: unknown): string {
  if (known.kind !== 'boolean') return String(value)
  const [yes, no] = known.options.as === 'on-off' ? ['on', 'off'] : ['yes', 'no']
  return value === true ? yes : no
}

function writeUnknown(node: XmlNode, entries: readonly s.UnknownContent[]): void {
  for (const { path, xml } of entries) {
    const last = lastStep(path)
    const parents = path.split('/').slice(0, -1)
    const place = ensure(node, parents)
    const attribute = last.startsWith('@') ? attributeOf(xml) : undefined
    if (attribute) place.attributes.set(attribute.name, attribute.value)
    else place.children.push({ ...newNode(last), raw: xml })
  }
}

function findChild(node: XmlNode, elements: readonly string[]): XmlNode | undefined {
  let here: XmlNode | undefined = node
  for (const name of elements)
    here = here?.children.find((child) => child.name === name && child.raw === undefined)
  return here
}

/** The element at the path below `node`, made where it is missing. */
function ensure(node: XmlNode, elements: readonly string[]): XmlNode {
  let here = node
  for (const name of elements) {
    let next = here.children.find((child) => child.name === name && child.raw === undefined)
    if (!next) {
      next = newNode(name)
      here.children.push(next)
    }
    here = next
  }
  return here
}

/** Puts attributes and children in libvirt's order, down to where another object begins. */
function sortNode(node: XmlNode, place: Place): void {
  const attributes = [...node.attributes].sort(([a], [b]) => rank(place, `@${a}`) - rank(place, `@${b}`))
  node.attributes.clear()
  for (const [name, value] of attributes) node.attributes.set(name, value)
  node.children.sort((a, b) => rank(place, a.name) - rank(place, b.name))
  for (const child of node.children) {
    const inner = place.children.get(child.name)
    if (inner && !inner.whole && !inner.repeated && child.raw === undefined) sortNode(child, inner)
  }
}
