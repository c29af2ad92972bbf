/** What differs between two definitions. */
import { at, described, isPlainObject, join } from './described.ts'
import { DomainDefinition } from './domain-definition.ts'
import type * as s from './schema.ts'

/** A part that differs; an absent side is undefined. Paths of what was removed count in the list before. */
export interface Difference {
  readonly path: string
  readonly before: unknown
  readonly after: unknown
}

/**
 * The differences from `before` to `after`, in the order of the description. Items of lists are compared with
 * the one of the same key (disks by target, ...) or else at the same index. What visor fills in itself (uuid,
 * MAC address, addresses on the bus) is no difference when `after` leaves it open.
 */
export const diffDefinitions = (before: DomainDefinition, after: DomainDefinition): Difference[] =>
  diffValues(DomainDefinition, before, after)

/** As {@link diffDefinitions}, of any noun. */
export function diffValues<S extends s.Schema>(
  schema: S,
  before: s.Output<S>,
  after: s.Output<S>,
): Difference[] {
  const found: Difference[] = []
  compare(found, schema, before, after, '')
  return found
}

function compare(found: Difference[], schema: s.Schema, before: unknown, after: unknown, path: string): void {
  const known = described(schema)
  if (after === undefined && schema.options.generated) return
  if (known.kind === 'object' && isPlainObject(before) && isPlainObject(after)) {
    for (const [key, field] of Object.entries(known.fields))
      compare(found, field, before[key], after[key], join(path, key))
  } else if (known.kind === 'array' && Array.isArray(before) && Array.isArray(after))
    compareLists(found, known, before, after, path)
  else if (!isSame(before, after)) found.push({ path, before, after })
}

function compareLists(
  found: Difference[],
  { item, options: { key } }: s.ArraySchema,
  before: readonly unknown[],
  after: readonly unknown[],
  path: string,
): void {
  const partners = pair(before, after, key)
  for (const [index, one] of after.entries()) {
    const partner = partners.get(index)
    if (partner === undefined) found.push({ path: at(path, index), before: undefined, after: one })
    else compare(found, item, before[partner], one, at(path, index))
  }
  const kept = new Set(partners.values())
  for (const [index, one] of before.entries())
    if (!kept.has(index)) found.push({ path: at(path, index), before: one, after: undefined })
}

/** For each index after, the index before of the item it is compared with. */
function pair(
  before: readonly unknown[],
  after: readonly unknown[],
  key: readonly string[] | undefined,
): Map<number, number> {
  const keyOf = (item: unknown) =>
    key && isPlainObject(item) ? joinKey(key.map((field) => item[field])) : undefined
  // In order where several have the same key, as USB 2 controllers and their companions do.
  const places = Map.groupBy(before.keys(), (index) => keyOf(before[index]))
  places.delete(undefined)
  const partners = new Map<number, number>()
  for (const [index, item] of after.entries()) {
    const place = places.get(keyOf(item))?.shift()
    if (place !== undefined) partners.set(index, place)
  }
  // The rest, in order: an interface whose address is left open is the next one that is not taken.
  const free = before.map((_, index) => index).filter((index) => ![...partners.values()].includes(index))
  for (const [index, item] of after.entries()) {
    if (
      partners.has(index) ||
      (key !== undefined && keyOf(item) !== undefined && !isOpen(before, free[0], keyOf))
    )
      continue
    const next = free.shift()
    if (next !== undefined) partners.set(index, next)
  }
  return partners
}

const joinKey = (parts: readonly unknown[]): string | undefined =>
  parts.includes(undefined) ? undefined : JSON.stringify(parts)

const isOpen = (
  items: readonly unknown[],
  index: number | undefined,
  keyOf: (item: unknown) => unknown,
): boolean => index !== undefined && keyOf(items[index]) === undefined

/** Whether two JSON values are equal, whatever the order of their keys. */
function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((one, index) => isSame(one, b[index]))
  if (!isPlainObject(a) || !isPlainObject(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]))
  )
}
