/** Values as YAML for people: what goes without saying left out, sizes as `2GiB`, the order of the description. */
import { described, isPlainObject, sizeName } from './described.ts'
import type * as s from './schema.ts'
import { formatSize } from './size.ts'

/**
 * Prints a value so that {@link parseYaml} gives an equal one: fields that have their default are left out,
 * sizes go by their short names. Ends with a newline.
 */
export function formatYaml<S extends s.Schema>(schema: S, value: s.Output<S>): string {
  const lines: string[] = []
  writeValue(lines, '', minimal(schema, value), '')
  return `${lines.join('\n')}\n`
}

/** The value as a person would write it: JSON-like, defaults left out. */
export function minimal(schema: s.Schema, value: unknown): unknown {
  const known = described(schema)
  if (known.kind === 'object' && isPlainObject(value)) return minimalObject(known, value)
  if (known.kind === 'array' && Array.isArray(value)) return value.map((item) => minimal(known.item, item))
  if (known.kind === 'record' && isPlainObject(value))
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, minimal(known.value, one)]))
  return value
}

function minimalObject({ fields }: s.ObjectSchema, value: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(fields)) {
    const one = value[key]
    if (one === undefined || one === field.options.default) continue
    const known = described(field)
    const short = minimal(field, one)
    // An empty list or object says no more than its default does.
    if (field.options.default !== undefined && isEmpty(short) && isEmpty(field.options.default)) continue
    const name = known.kind === 'size' ? sizeName(key) : undefined
    if (known.kind === 'size' && name !== undefined && !Object.hasOwn(fields, name))
      result[name] = formatSize(one as number, known.options.unit)
    else result[key] = short
  }
  return result
}

const isEmpty = (value: unknown): boolean =>
  Array.isArray(value) ? value.length === 0 : isPlainObject(value) && Object.keys(value).length === 0

/** Writes `head` and the value after it; what lies inside goes on lines of its own, deeper by two spaces. */
function writeValue(lines: string[], head: string, value: unknown, indent: string): void {
  if (Array.isArray(value) && value.length > 0) {
    if (head !== '') lines.push(head)
    for (const item of value) writeItem(lines, item, indent)
  } else if (isPlainObject(value) && Object.keys(value).length > 0) {
    if (head !== '') lines.push(head)
    for (const [key, one] of Object.entries(value))
      writeField(lines, `${indent}${scalarText(key)}:`, one, indent)
  } else lines.push(`${head}${head === '' ? '' : ' '}${leafText(value, indent)}`)
}

function writeField(lines: string[], head: string, value: unknown, indent: string): void {
  writeValue(lines, head, value, `${indent}  `)
}

/** An item of a list: its first line stands right after the dash. */
function writeItem(lines: string[], item: unknown, indent: string): void {
  const inner: string[] = []
  writeValue(inner, '', item, `${indent}  `)
  const [first = '', ...rest] = inner
  lines.push(
    `${indent}- ${first.startsWith(`${indent}  `) ? first.slice(indent.length + 2) : first}`,
    ...rest,
  )
}

function leafText(value: unknown, indent: string): string {
  if (Array.isArray(value)) return '[]'
  if (isPlainObject(value)) return '{}'
  return typeof value === 'string' ? scalarText(value, indent) : JSON.stringify(value ?? null)
}

/** Plain where nothing could take it for something else. */
const plain =
  /^(?:[a-zA-Z/_][\w/.+@-]*(?: [\w/.+@=-]+)*|\d+[KMGTPE]iB|[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})$/u
const reserved = /^(?:true|false|null|yes|no|on|off|y|n|\.inf|\.nan)$/iu
/** Lines of printable characters that neither begin with a space nor end in one. */
const blockSafe =
  /^(?! )[\n\u0020-\u007e\u00a1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\u{10000}-\u{10ffff}]+$/u

const isBlockSafe = (text: string): boolean =>
  blockSafe.test(text) && /^[^\n]/u.test(text) && !/[ \n]\n?$/u.test(text)

function scalarText(text: string, indent?: string): string {
  if (plain.test(text) && !reserved.test(text)) return text
  if (indent !== undefined && text.includes('\n') && isBlockSafe(text)) return blockText(text, indent)
  // A double-quoted YAML text takes all of JSON's escapes.
  return JSON.stringify(text).replace(/[\u007f-\u00a0\u2028\u2029\ufeff]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

function blockText(text: string, indent: string): string {
  const ends = text.endsWith('\n')
  const lines = (ends ? text.slice(0, -1) : text).split('\n')
  const inner = indent === '' ? '  ' : indent
  return [ends ? '|' : '|-', ...lines.map((line) => (line === '' ? '' : `${inner}${line}`))].join('\n')
}
