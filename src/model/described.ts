/** What all walks over descriptions share: the closed set of kinds, and paths. */
import type * as s from './schema.ts'

/** Every kind of description; `described(schema)` narrows a {@link s.Schema} to it. */
export type Described =
  | s.StringSchema
  | s.IntegerSchema
  | s.SizeSchema
  | s.BooleanSchema
  | s.ChoiceSchema
  | s.ArraySchema
  | s.RecordSchema
  | s.FragmentSchema
  | s.UnknownSchema
  | s.AnySchema
  | s.ObjectSchema

export const described = (schema: s.Schema): Described => schema as Described

/** `devices` and `disks` give `devices.disks`. */
export const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`)

/** `devices.disks` and 1 give `devices.disks[1]`. */
export const at = (path: string, index: number): string => `${path}[${index}]`

/** The names and indexes of a path: `devices.disks[1].target` gives `['devices', 'disks', 1, 'target']`. */
export function splitPath(path: string): (string | number)[] {
  const steps: (string | number)[] = []
  for (const [, name, index] of path.matchAll(/([^.[\]]+)|\[(\d+)\]/gu))
    steps.push(index === undefined ? (name ?? '') : Number(index))
  return steps
}

/** The path without its indexes: `devices.disks[].target`. */
export const generalPath = (path: string): string => path.replace(/\[\d+\]/gu, '[]')

/** The name by which JSON and YAML also accept a size, as a text with a unit: `memory` for `memoryKiB`. */
export function sizeName(key: string): string | undefined {
  const name = key.replace(/(KiB|Bytes)$/u, '')
  return name === key || name === '' ? undefined : name
}

/** Whether it is an object of JSON: neither a list nor of a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/**
 * Where the XML keeps what `path` names: `/domain/devices/disk[2]/target/@dev`, with XPath's indexes from 1.
 * Undefined for what exists only in JSON and YAML.
 */
export function xmlPathOf(schema: s.Schema, path: string): string | undefined {
  let here = described(schema)
  let xml = `/${schema.options.xml ?? ''}`
  for (const step of splitPath(path)) {
    if (typeof step === 'number') {
      if (here.kind !== 'array') return undefined
      // 'boot/@dev' repeats the element, not the attribute.
      const item = described(here.item)
      // One of several names, which the next step says.
      if (here.options.xml === '.') {
        here = item
        continue
      }
      const [element, attribute] = xml.split('/@')
      xml = `${element}[${step + 1}]${attribute === undefined ? '' : `/@${attribute}`}`
      here = item
    } else {
      if (here.kind !== 'object' || !Object.hasOwn(here.fields, step)) return undefined
      const field = here.fields[step] as s.Schema
      here = described(field)
      if (here.kind === 'unknown') return xml
      const place = field.options.xml
      if (place === undefined) return undefined
      if (place !== '.') xml = `${xml}/${place}`
    }
  }
  return xml
}
