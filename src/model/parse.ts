/**
 * From JSON-like input to a complete, checked value of a description.
 */
import { at, described, isPlainObject, join, sizeName } from './described.ts'
import type { ErrorCode } from './error.ts'
import { type Fault, faultError } from './issue.ts'
import {
  fault,
  mostFaults,
  type Visit,
  visitBoolean,
  visitChoice,
  visitNumber,
  visitSize,
  visitString,
  type Walk,
  wrong,
} from './parse-scalar.ts'
import { type Positions, positionsOf, setPositions } from './position.ts'
import type * as s from './schema.ts'
import { clean } from './show.ts'
import { formatSize, parseSize } from './size.ts'
import { suggest } from './suggest.ts'
import { canonicalXml, fragmentFault, unknownFault } from './xml-fragment.ts'
import { layoutOf, misplaced, sortUnknown } from './xml-layout.ts'

export interface ParseOptions {
  /** Code of the error; `invalid-definition` without it. */
  readonly code?: Extract<ErrorCode, 'invalid-definition' | 'invalid-argument'>
  /** Most values in the input, each text and number counted. */
  readonly maxNodes?: number
  readonly maxDepth?: number
  /** Places of the parts in the text they came from; those of `value` without it. */
  readonly positions?: Positions
  /** Mistakes found before, told in the same error. */
  readonly faults?: readonly Fault[]
}

/**
 * Checks `value` against `schema` and fills in defaults. Sizes may be given as texts by their short name
 * (`memory: 2GiB` for `memoryKiB`); uuids and MAC addresses become lower case; `null`, `undefined` and the
 * empty text of an XML element mean that a field is absent.
 *
 * Fails with one `invalid-definition` (or `options.code`) that tells everything that is wrong, each with its
 * path; with `unsupported-config` where nothing is wrong but names of models that are not known. Never changes `value`; time and depth are bounded whatever it is.
 */
export function parse<S extends s.Schema>(
  schema: S,
  value: unknown,
  options: ParseOptions = {},
): s.Output<S> {
  const positions = options.positions ?? positionsOf(value)
  const walk: Walk = {
    faults: [...(options.faults ?? [])],
    nodes: options.maxNodes ?? 100_000,
    depth: options.maxDepth ?? 64,
  }
  const result = visit(schema, value, '', walk)
  if (walk.faults.length > 0) {
    const code = walk.faults.every(({ isName }) => isName) ? 'unsupported-config' : 'invalid-definition'
    throw faultError(walk.faults, { code: options.code ?? code, schema, positions })
  }
  if (positions) setPositions(result, positions)
  return result as s.Output<S>
}

function visit(schema: s.Schema, value: unknown, path: string, walk: Walk): unknown {
  if (--walk.nodes < 0)
    return walk.nodes === -1 ? fault(walk, path, 'is beyond the most values allowed') : undefined
  if (walk.depth <= 0) return fault(walk, path, 'is nested too deep')
  walk.depth--
  try {
    return visitKind(schema, value, path, walk)
  } finally {
    walk.depth++
  }
}

function visitKind(schema: s.Schema, value: unknown, path: string, walk: Walk): unknown {
  const known = described(schema)
  switch (known.kind) {
    case 'string':
      return visitString(known, value, path, walk)
    case 'integer':
    case 'number':
      return visitNumber(known, value, path, walk)
    case 'size':
      return visitSize(known, value, path, walk)
    case 'boolean':
      return visitBoolean(known, value, path, walk)
    case 'choice':
      return visitChoice(known, value, path, walk)
    case 'array':
      return visitArray(known, value, path, walk)
    case 'record':
      return visitRecord(known, value, path, walk)
    case 'object':
      return visitObject(known, value, path, walk)
    case 'fragment':
      return visitFragment(known, value, path, walk)
    case 'unknown':
      return visitUnknown(known, value, path, walk)
    case 'any':
      return copyJson(value, path, walk)
  }
}

const visitArray: Visit<s.ArraySchema> = ({ item, options }, value, path, walk) => {
  if (!Array.isArray(value)) return wrong(walk, path, 'a list', value)
  const { maxItems = 10_000 } = options
  if (value.length > maxItems)
    return fault(walk, path, `must have at most ${maxItems} items, not ${value.length}`)
  return Array.from(value, (one, index) => visit(item, one, at(path, index), walk))
}

const visitRecord: Visit<s.RecordSchema> = (schema, value, path, walk) => {
  if (!isPlainObject(value)) return wrong(walk, path, 'an object', value)
  const result: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    if (key === '__proto__') fault(walk, path, "must not have a key '__proto__'")
    else result[key] = visit(schema.value, value[key], join(path, key), walk)
  }
  return result
}

const visitObject: Visit<s.ObjectSchema> = (schema, value, path, walk) => {
  if (!isPlainObject(value)) return wrong(walk, path, 'an object', value)
  const result: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(schema.fields)) {
    const given = readField(schema, key, value, path, walk)
    if (given === alreadyWrong) continue
    const parsed =
      given === undefined ? absent(field, join(path, key), walk) : visit(field, given, join(path, key), walk)
    if (parsed !== undefined) result[key] = parsed
  }
  refuseStrangers(schema, value, path, walk)
  placeUnknown(schema, result, path, walk)
  return result
}

/** Stands for a value that was already told to be wrong. */
const alreadyWrong = Symbol('wrong')

/** The value of a field; undefined when it is absent. */
function readField(
  schema: s.ObjectSchema,
  key: string,
  value: Record<string, unknown>,
  path: string,
  walk: Walk,
) {
  const field = described(schema.fields[key] as s.Schema)
  const given = Object.hasOwn(value, key) ? (value[key] ?? undefined) : undefined
  if (field.kind === 'size') return readSize(schema, field, key, given, value, path, walk)
  const isText =
    field.kind === 'string' && field.options.optional && !/@[^/]*$/u.test(field.options.xml ?? '@')
  return isText && given === '' ? undefined : given
}

function readSize(
  { fields }: s.ObjectSchema,
  { options }: s.SizeSchema,
  key: string,
  given: unknown,
  value: Record<string, unknown>,
  path: string,
  walk: Walk,
): unknown {
  const name = sizeName(key)
  if (name === undefined || Object.hasOwn(fields, name) || !Object.hasOwn(value, name)) return given
  const text = value[name] ?? undefined
  if (text === undefined) return given
  if (given !== undefined) fault(walk, join(path, name), `is given twice, also as ${key}`)
  const amount = typeof text === 'string' ? parseSize(text, options.unit) : undefined
  if (amount !== undefined) return amount
  const example = formatSize(options.unit === 'KiB' ? 2_097_152 : 2_147_483_648, options.unit)
  wrong(walk, join(path, name), `a size with its unit, such as '${example}'`, text)
  return alreadyWrong
}

function absent(field: s.Schema, path: string, walk: Walk): unknown {
  if (field.options.optional) return undefined
  if (field.options.default !== undefined) return visit(field, field.options.default, path, walk)
  const short = described(field).kind === 'size' ? sizeName(path) : undefined
  return fault(walk, path, short === undefined ? 'must be given' : `must be given, or ${short} with a unit`)
}

function refuseStrangers(
  schema: s.ObjectSchema,
  value: Record<string, unknown>,
  path: string,
  walk: Walk,
): void {
  const sizes = Object.entries(schema.fields).flatMap(([key, field]) =>
    described(field).kind === 'size' ? (sizeName(key) ?? []) : [],
  )
  const known = [...Object.keys(schema.fields), ...sizes]
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue
    if (walk.faults.length >= mostFaults) return
    const meant = suggest(key, known)
    const hint = meant === undefined ? '' : `; did you mean '${meant}'?`
    fault(walk, join(path, clean(key)), `is not known here${hint}`)
  }
}

const visitFragment: Visit<s.FragmentSchema> = ({ options }, value, path, walk) => {
  if (typeof value !== 'string') return wrong(walk, path, 'a text of XML', value)
  const problem = fragmentFault(value, options.xml)
  return problem === undefined ? value : fault(walk, path, problem)
}

const visitUnknown: Visit<s.UnknownSchema> = (_schema, value, path, walk) => {
  if (!Array.isArray(value)) return wrong(walk, path, 'a list', value)
  const entries: s.UnknownContent[] = []
  for (const [index, entry] of value.entries()) {
    const here = at(path, index)
    if (--walk.nodes < 0) return fault(walk, here, 'is beyond the most values allowed')
    if (!isPlainObject(entry) || typeof entry.path !== 'string' || typeof entry.xml !== 'string')
      fault(walk, here, "must be an object with the texts 'path' and 'xml'")
    else {
      const problem = unknownFault(entry.path, entry.xml)
      if (problem === undefined) entries.push({ path: entry.path, xml: canonicalXml(entry.path, entry.xml) })
      else fault(walk, here, problem)
    }
  }
  return entries.length > 0 ? entries : undefined
}

/** Puts unknown content in its order, and refuses what stands where a field does. */
function placeUnknown(
  schema: s.ObjectSchema,
  result: Record<string, unknown>,
  path: string,
  walk: Walk,
): void {
  const layout = layoutOf(schema)
  const entries =
    layout.unknown === undefined ? undefined : (result[layout.unknown] as s.UnknownContent[] | undefined)
  if (layout.unknown === undefined || entries === undefined) return
  for (const [index, entry] of entries.entries()) {
    const problem = misplaced(layout, entry.path, result)
    if (problem) fault(walk, at(join(path, layout.unknown), index), problem)
  }
  result[layout.unknown] = sortUnknown(layout, entries)
}

/** A deep copy of what JSON can carry. */
function copyJson(value: unknown, path: string, walk: Walk): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number')
    return Number.isFinite(value) ? value : wrong(walk, path, 'a finite number', value)
  const inner = { kind: 'any', doc: '', options: {} } as const
  if (Array.isArray(value)) return Array.from(value, (one, index) => visit(inner, one, at(path, index), walk))
  const record = { kind: 'record', doc: '', options: {}, value: inner } as const
  return visitRecord(record, value, path, walk)
}
