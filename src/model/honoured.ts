/** Whether a driver honours all that a definition sets: nothing is ignored in silence. */
import { at, described, generalPath, isPlainObject, join } from './described.ts'
import { type Fault, faultError } from './issue.ts'
import { positionsOf } from './position.ts'
import type * as s from './schema.ts'
import { show } from './show.ts'

/**
 * Fails with `unsupported-config` when `value` sets something that is not in `honoured`, which `who` ('driver qemu')
 * cannot do: each path, its place
 * in the XML and its line where it came from a text. What has its default, and what changes nothing about
 * the machine (`inert` in the description), needs no entry.
 *
 * An entry is a path without indexes, as `devices.disks[].cache`; with `.*` at its end it takes everything
 * below but unknown content; with `=virtio|ide` at its end only these values, also of defaults. A device with nothing but defaults is honoured
 * when its own path (`devices.rngs[]`) or one below it has an entry.
 */
export function checkHonoured<S extends s.Schema>(
  schema: S,
  value: s.Output<S>,
  honoured: Iterable<string>,
  who: string,
): void {
  const list = makeList(honoured)
  const faults = walk(schema, value).flatMap((setting) => judge(list, setting, who))
  if (faults.length > 0)
    throw faultError(faults, {
      code: 'unsupported-config',
      schema,
      positions: positionsOf(value),
      remedy: `Remove it${who.startsWith('driver ') ? ', or run the domain with a driver that can do it' : ''}.`,
    })
}

/** A part that a definition sets. */
export interface Setting {
  readonly path: string
  readonly value: unknown
  /** For content that no description has: its place below its owner, which `path` names. */
  readonly unknown?: string
  /** It is what goes without saying. */
  readonly isDefault?: true
}

/** All that a value sets: what differs from its default, devices that are there, unknown content. */
export const settings = (schema: s.Schema, value: unknown): Setting[] =>
  walk(schema, value).filter(({ isDefault }) => !isDefault)

function walk(schema: s.Schema, value: unknown): Setting[] {
  const found: Setting[] = []
  collect(found, schema, value, '')
  return found
}

/** The paths of all that a value sets. */
export const pathsOf = (schema: s.Schema, value: unknown): string[] =>
  settings(schema, value).map(({ path }) => path)

function collect(found: Setting[], schema: s.Schema, value: unknown, path: string): void {
  const known = described(schema)
  const { options } = schema
  if (value === undefined || options.inert) return
  if (value === options.default) found.push({ path, value, isDefault: true })
  else if (known.kind === 'array' && Array.isArray(value)) {
    for (const [index, item] of value.entries()) collect(found, known.item, item, at(path, index))
  } else if (known.kind === 'object' && isPlainObject(value)) {
    // An object that may be absent or repeated says something by being there.
    if (path !== '' && options.default === undefined && !known.options.silent) found.push({ path, value })
    for (const [key, field] of Object.entries(known.fields)) {
      if (described(field).kind === 'unknown') collectUnknown(found, known, value[key], join(path, key))
      else collect(found, field, value[key], join(path, key))
    }
  } else found.push({ path, value })
}

function collectUnknown(found: Setting[], owner: s.ObjectSchema, entries: unknown, path: string): void {
  for (const [index, entry] of ((entries ?? []) as s.UnknownContent[]).entries())
    if (!isInert(owner, entry)) found.push({ path: at(path, index), value: entry.xml, unknown: entry.path })
}

/** Whether unknown content of an object is known to change nothing. */
export function isInert({ options }: s.ObjectSchema, { path, xml }: s.UnknownContent): boolean {
  // A declared prefix is only a name; what uses it is judged where it stands.
  if (/^@xmlns(?::|$)/u.test(path)) return true
  const inert = Object.hasOwn(options.inertXml ?? {}, path) ? options.inertXml?.[path] : undefined
  return inert !== undefined && (inert.when === undefined || inert.when.test(xml))
}

interface List {
  readonly exact: ReadonlyMap<string, readonly string[] | undefined>
  readonly below: readonly string[]
  /** Every path above an entry. */
  readonly around: ReadonlySet<string>
}

function makeList(honoured: Iterable<string>): List {
  const exact = new Map<string, readonly string[] | undefined>()
  const below: string[] = []
  const around = new Set<string>()
  for (const entry of honoured) {
    const [path = '', values] = entry.split('=')
    if (path.endsWith('.*')) below.push(path.slice(0, -2))
    else exact.set(path, values?.split('|'))
    for (let outer = path; outer !== ''; outer = outer.replace(/(?:^|\.)[^.]*$/u, '')) around.add(outer)
  }
  return { exact, below, around }
}

function judge(list: List, { path, value, unknown, isDefault }: Setting, who: string): Fault[] {
  // A list is honoured by the entry of its items as by its own.
  const general = generalPath(path)
  const entry = [general, general.replace(/\[\]$/u, '')].find((one) => list.exact.has(one))
  if (entry !== undefined) {
    const values = list.exact.get(entry)
    if (!values || values.includes(String(value))) return []
    const words = values.map((word) => `'${word}'`).join(' or ')
    return [{ path, message: `can only be ${words} with ${who}, not ${show(value)}` }]
  }
  if (isDefault) return []
  if (unknown !== undefined) return [{ path, below: unknown, message: `is not known to ${who}` }]
  if (list.below.some((outer) => isBelow(general, outer))) return []
  if (!isPlainObject(value)) return [{ path, message: `cannot be set with ${who}` }]
  return list.around.has(general) ? [] : [{ path, message: `cannot be had with ${who}` }]
}

const isBelow = (path: string, outer: string): boolean =>
  path === outer || path.startsWith(`${outer}.`) || path.startsWith(`${outer}[`)
