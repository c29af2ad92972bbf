/**
 * Where the fields of an object stand in its XML: the description turned around, made once per description.
 */
import { described } from './described.ts'
import type * as s from './schema.ts'

/** A field that stands at a place. */
export interface Slot {
  readonly key: string
  readonly schema: s.Schema
}

/** One element below (or of) an object, and what is described there. */
export interface Place {
  readonly attributes: Map<string, Slot>
  readonly children: Map<string, Place>
  /** Field that is the element's text, or its being there (a boolean as `presence`). */
  text?: Slot
  /** Field that is the element as a whole: an object of its own, or a fragment. */
  whole?: Slot
  /**
   * List whose items are elements of this name; `attribute` when an item is just that attribute, `among` when its
   * items are elements of all these names in any order.
   */
  repeated?: Slot & { readonly attribute?: string; readonly among?: readonly string[] }
  /** Names in the order of libvirt's output. */
  readonly order?: readonly string[]
}

export interface Layout {
  readonly root: Place
  /** Key of the field that keeps what is not described. */
  readonly unknown?: string
}

const layouts = new WeakMap<s.Fields, Layout>()

/** The layout of an object's XML. */
export function layoutOf(schema: s.ObjectSchema): Layout {
  let layout = layouts.get(schema.fields)
  if (!layout) {
    layout = makeLayout(schema)
    layouts.set(schema.fields, layout)
  }
  return layout
}

function makeLayout({ fields, options }: s.ObjectSchema): Layout {
  const order = options.order ?? {}
  const root = newPlace(order['.'])
  let unknown: string | undefined
  for (const [key, field] of Object.entries(fields)) {
    if (described(field).kind === 'unknown') unknown = key
    else if (field.options.xml !== undefined) put(root, { key, schema: field }, field.options.xml, order)
  }
  return unknown === undefined ? { root } : { root, unknown }
}

const newPlace = (order?: readonly string[]): Place => ({
  attributes: new Map(),
  children: new Map(),
  ...(order && { order }),
})

function put(root: Place, slot: Slot, xml: string, order: Readonly<Record<string, readonly string[]>>): void {
  const { elements, attribute } = splitXmlPath(xml)
  let place = root
  for (const [index, name] of elements.entries()) {
    let child = place.children.get(name)
    if (!child) {
      child = newPlace(order[elements.slice(0, index + 1).join('/')])
      place.children.set(name, child)
    }
    place = child
  }
  const known = described(slot.schema)
  const { kind } = known
  if (known.kind === 'array' && elements.length === 0) putAmong(root, slot, known)
  else if (kind === 'array') place.repeated = attribute === undefined ? slot : { ...slot, attribute }
  else if (attribute !== undefined) place.attributes.set(attribute, slot)
  else if (kind === 'object' || kind === 'fragment') place.whole = slot
  else place.text = slot
}

/** A list whose items are single elements of several names: the fields of an item. */
function putAmong(root: Place, slot: Slot, { item }: s.ArraySchema): void {
  const known = described(item)
  const among =
    known.kind === 'object' ? Object.values(known.fields).map(({ options }) => options.xml ?? '') : []
  for (const name of among) root.children.set(name, { ...newPlace(), repeated: { ...slot, among } })
}

/** The elements and the attribute of a field's `xml`. */
export function splitXmlPath(xml: string): { elements: string[]; attribute?: string } {
  if (xml === '.') return { elements: [] }
  const elements = xml.split('/')
  const last = elements.at(-1) ?? ''
  if (!last.startsWith('@')) return { elements }
  return { elements: elements.slice(0, -1), attribute: last.slice(1) }
}

/** The place in its libvirt order of a child (or of an attribute as `@name`); unknown names come last. */
export function rank(place: Place | undefined, given: string): number {
  // Those of one list stay as they are among each other.
  const name = place?.children.get(given)?.repeated?.among?.[0] ?? given
  const listed = place?.order?.indexOf(name) ?? -1
  if (listed >= 0) return listed
  const names = name.startsWith('@') ? place?.attributes : place?.children
  const index = names ? [...names.keys()].indexOf(name.replace('@', '')) : -1
  return index < 0 ? Number.MAX_SAFE_INTEGER : (place?.order?.length ?? 0) + index
}

/** Why no unknown content can stand at `path` below an object with this value; undefined when it can. */
export function misplaced(
  layout: Layout,
  path: string,
  value: Readonly<Record<string, unknown>>,
): string | undefined {
  const { elements, attribute } = splitXmlPath(path)
  const parents = attribute === undefined ? elements.slice(0, -1) : elements
  let place: Place | undefined = layout.root
  for (const name of parents) {
    place = place.children.get(name)
    if (!place || place.repeated || place.whole)
      return `has a path '${path}' whose parent is not described here`
    // Printing it would make the element, and so switch the flag on.
    if (isFlag(place.text) && value[place.text?.key ?? ''] !== true)
      return `has a path '${path}' below a flag that is off`
  }
  const last = elements.at(-1) ?? ''
  const isKnown =
    attribute === undefined
      ? place.children.has(last)
      : place.attributes.has(attribute) || (attribute === 'unit' && hasUnit(place))
  return isKnown ? `has a path '${path}' that is described: use its field` : undefined
}

/** Whether the field is a size, whose element has its unit as an attribute. */
export const isSize = (slot: Slot | undefined): boolean =>
  slot !== undefined && described(slot.schema).kind === 'size'

/** Whether the field is a size whose unit is an attribute beside its own. */
export function hasUnitAttribute({ schema }: Slot): boolean {
  const known = described(schema)
  return known.kind === 'size' && known.options.unitAttribute === true
}

/** Whether the element's attribute `unit` is that of a size. */
export const hasUnit = (place: Place): boolean =>
  isSize(place.text) || [...place.attributes.values()].some(hasUnitAttribute)

/** Whether the field is a boolean that an element tells by being there. */
export function isFlag(slot: Slot | undefined): boolean {
  const known = slot && described(slot.schema)
  return known?.kind === 'boolean' && (known.options.as ?? 'presence') === 'presence'
}

/** Puts unknown content in the order in which it is printed. */
export function sortUnknown<T extends { readonly path: string }>(layout: Layout, entries: readonly T[]): T[] {
  return entries
    .map((entry) => ({ entry, key: sortKey(layout.root, entry.path) }))
    .sort((a, b) => compareKeys(a.key, b.key))
    .map(({ entry }) => entry)
}

/** Ranks from the outside in; attributes come before children. */
function sortKey(root: Place, path: string): number[] {
  const key: number[] = []
  let place: Place | undefined = root
  for (const step of path.split('/')) {
    key.push(step.startsWith('@') ? 0 : 1, rank(place, step))
    place = place?.children.get(step)
  }
  return key
}

function compareKeys(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}
