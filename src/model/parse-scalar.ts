/** Checks of single values: texts, numbers, sizes, booleans, choices. */
import { sizeName } from './described.ts'
import type { Fault } from './issue.ts'
import type * as s from './schema.ts'
import { show } from './show.ts'
import { parseSize } from './size.ts'
import { suggest } from './suggest.ts'
import { isXmlText } from './xml-format.ts'

/** What is left to spend on a document, and what was found wrong in it. */
export interface Walk {
  readonly faults: Fault[]
  /** How many values may still come. */
  nodes: number
  /** How many levels may still come. */
  depth: number
}

/** A hostile document may be wrong in each of its parts; beyond this nobody reads on. */
export const mostFaults = 1000

/** Checks a value of one kind: what it becomes, or undefined when it was found wrong. */
export type Visit<K extends s.Schema> = (schema: K, value: unknown, path: string, walk: Walk) => unknown

export const fault = (walk: Walk, path: string, message: string): undefined => {
  if (walk.faults.length < mostFaults) walk.faults.push({ path, message })
  return undefined
}

export const wrong = (walk: Walk, path: string, wanted: string, value: unknown): undefined =>
  fault(walk, path, `must be ${wanted}, not ${show(value)}`)

export const visitString: Visit<s.StringSchema> = ({ options }, value, path, walk) => {
  if (typeof value !== 'string') return wrong(walk, path, 'a text', value)
  const { minLength = 0, maxLength = 1_048_576, pattern, patternName } = options
  if (value.length > maxLength)
    return fault(walk, path, `must have at most ${maxLength} characters, not ${value.length}`)
  if (value.length < minLength)
    return fault(
      walk,
      path,
      minLength === 1 ? 'must not be empty' : `must have at least ${minLength} characters`,
    )
  const text = normalize(value, options.normalize)
  if (pattern && !pattern.test(text)) return wrong(walk, path, patternName ?? `like ${pattern.source}`, value)
  if (options.xml !== undefined && !isXmlText(text))
    return fault(walk, path, 'has a control character or half a character, which XML cannot carry')
  return text
}

function normalize(text: string, how: s.StringOptions['normalize']): string {
  if (how === undefined) return text
  const lower = text.toLowerCase()
  if (how === 'mac') return lower
  const bare = lower.replaceAll('-', '')
  if (!/^[0-9a-f]{32}$/u.test(bare)) return lower
  return bare.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/u, '$1-$2-$3-$4-$5')
}

export const visitNumber: Visit<s.IntegerSchema> = ({ kind, options }, value, path, walk) => {
  const fits =
    typeof value === 'number' && (kind === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value))
  if (!fits) return wrong(walk, path, kind === 'integer' ? 'a whole number' : 'a number', value)
  return bounded(value, options, path, walk, String)
}

export const visitSize: Visit<s.SizeSchema> = ({ options }, value, path, walk) => {
  if (!Number.isSafeInteger(value)) {
    const isSize = typeof value === 'string' && parseSize(value, options.unit) !== undefined
    const short = isSize ? sizeName(path) : undefined
    const hint = short === undefined ? '' : ` (sizes with a unit go by ${short})`
    return wrong(walk, path, `a whole number of ${options.unit}${hint}`, value)
  }
  return bounded(value as number, options, path, walk, (n) => `${n} ${options.unit}`)
}

function bounded(
  n: number,
  { min, max }: s.IntegerOptions,
  path: string,
  walk: Walk,
  name: (n: number) => string,
) {
  if (min !== undefined && n < min) return wrong(walk, path, `at least ${name(min)}`, n)
  if (max !== undefined && n > max) return wrong(walk, path, `at most ${name(max)}`, n)
  return Object.is(n, -0) ? 0 : n
}

export const visitBoolean: Visit<s.BooleanSchema> = (schema, value, path, walk) =>
  typeof value === 'boolean' ? value : wrong(walk, path, booleanWords(schema), value)

function booleanWords({ options }: s.BooleanSchema): string {
  const words = { 'yes-no': " ('yes' or 'no' in XML)", 'on-off': " ('on' or 'off' in XML)", presence: '' }
  return `true or false${words[options.as ?? 'presence']}`
}

export const visitChoice: Visit<s.ChoiceSchema> = ({ values, options }, value, path, walk) => {
  if (typeof value === 'string' && values.includes(value)) return value
  const list = values.map((word) => `'${word}'`)
  const last = list.pop() ?? ''
  const words = list.length > 0 ? `${list.join(', ')} or ${last}` : last
  const meant = typeof value === 'string' ? suggest(value, values) : undefined
  const hint = meant === undefined ? '' : ` (did you mean '${meant}'?)`
  if (walk.faults.length < mostFaults)
    walk.faults.push({
      path,
      message: `must be ${words}, not ${show(value)}${hint}`,
      ...(options.names && typeof value === 'string' ? { isName: true } : {}),
    })
  return undefined
}
