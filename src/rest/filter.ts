/**
 * The small language of `filter=`: comparisons joined by commas, all of which must hold.
 *
 *     state==running,name~web*          running, and the name begins with web
 *     state==running|paused             one of several values
 *     memoryKiB>=2GiB,autostart==true   sizes with their unit, or plain numbers
 *     name=="a, b"                      quotes keep commas and bars
 *
 * `==` and `!=` compare, `~` and `!~` match a pattern with `*` and `?`, `<` `<=` `>` `>=` compare numbers and
 * texts. An absent field equals nothing and matches nothing. Nested fields are named with dots.
 */
import { parseSize, VisorError } from '../model/index.ts'

const filterLimit = 2_000

const operators = ['==', '!=', '!~', '<=', '>=', '~', '<', '>'] as const
type Operator = (typeof operators)[number]

interface Comparison {
  readonly field: string
  readonly operator: Operator
  readonly values: readonly string[]
}

/** Reads a filter, once; what it gives tests one object. Fails with `invalid-argument`, naming the column. */
export function parseFilter(text: string, fields?: readonly string[]): (object: unknown) => boolean {
  if (text.length > filterLimit) throw invalid(`The filter is longer than ${filterLimit} characters.`, 1)
  const comparisons = new FilterReader(text, fields).read()
  return (object) => comparisons.every((comparison) => holds(comparison, valueAt(object, comparison.field)))
}

class FilterReader {
  private at = 0
  private readonly text: string
  private readonly fields: readonly string[] | undefined

  constructor(text: string, fields: readonly string[] | undefined) {
    this.text = text
    this.fields = fields
  }

  read(): Comparison[] {
    const comparisons = [this.comparison()]
    while (this.at < this.text.length) {
      this.at++
      comparisons.push(this.comparison())
    }
    return comparisons
  }

  private comparison(): Comparison {
    const field = this.field()
    const operator = operators.find((candidate) => this.text.startsWith(candidate, this.at))
    if (!operator)
      throw invalid(`A filter compares with one of ${operators.join(' ')}; found none.`, this.at + 1)
    this.at += operator.length
    const values = [this.value()]
    while (this.text[this.at] === '|') {
      this.at++
      values.push(this.value())
    }
    return { field, operator, values }
  }

  private field(): string {
    const start = this.at
    const field = /^[A-Za-z][\w.]*/u.exec(this.text.slice(start))?.[0]
    if (!field) throw invalid('A comparison in a filter begins with the name of a field.', start + 1)
    const [first = ''] = field.split('.')
    if (this.fields && !this.fields.includes(first))
      throw invalid(`There is no field '${first}'; there are ${this.fields.join(', ')}.`, start + 1)
    this.at += field.length
    return field
  }

  private value(): string {
    const start = this.at
    if (this.text[start] !== '"') {
      while (this.at < this.text.length && !',|'.includes(this.text.charAt(this.at))) this.at++
      return this.text.slice(start, this.at)
    }
    const end = this.text.indexOf('"', start + 1)
    if (end < 0) throw invalid('A quote in the filter is not closed.', start + 1)
    this.at = end + 1
    if (this.at < this.text.length && !',|'.includes(this.text.charAt(this.at)))
      throw invalid('After a quoted value comes a comma, a bar or the end.', this.at + 1)
    return this.text.slice(start + 1, end)
  }
}

function valueAt(object: unknown, field: string): unknown {
  let value = object
  for (const name of field.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

function holds({ field, operator, values }: Comparison, actual: unknown): boolean {
  const some = (test: (value: string) => boolean) =>
    actual !== undefined && actual !== null && values.some(test)
  switch (operator) {
    case '==':
      return some((value) => String(actual) === value)
    case '!=':
      return !some((value) => String(actual) === value)
    case '~':
      return some((value) => matches(value, String(actual)))
    case '!~':
      return !some((value) => matches(value, String(actual)))
    default:
      return some((value) => ordered(operator, compare(field, actual, value)))
  }
}

function compare(field: string, actual: unknown, value: string): number {
  if (typeof actual === 'number') return actual - numberOf(field, value)
  const text = String(actual)
  return text < value ? -1 : text > value ? 1 : 0
}

/** A plain number, or a size for a field whose name ends in a unit; NaN, which nothing compares to, else. */
function numberOf(field: string, value: string): number {
  const unit = /KiB$/u.test(field) ? 'KiB' : /Bytes$/u.test(field) ? 'bytes' : undefined
  if (unit && /[A-Za-z]$/u.test(value)) return parseSize(value, unit) ?? Number.NaN
  return Number(value || Number.NaN)
}

function ordered(operator: '<' | '<=' | '>' | '>=', difference: number): boolean {
  if (operator === '<') return difference < 0
  if (operator === '<=') return difference <= 0
  return operator === '>' ? difference > 0 : difference >= 0
}

/** Whether the whole text matches a pattern with `*` and `?`; takes at most pattern times text steps. */
export function matches(pattern: string, text: string): boolean {
  let p = 0
  let star = -1
  let mark = 0
  for (let t = 0; t < text.length; ) {
    if (pattern[p] === '*') {
      star = p++
      mark = t
    } else if (pattern[p] === '?' || pattern[p] === text[t]) {
      p++
      t++
    } else if (star >= 0) {
      // Let the last star take one character more, and go on from there.
      p = star + 1
      t = ++mark
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

function invalid(message: string, column: number): VisorError {
  return new VisorError('invalid-argument', message, {
    path: 'filter',
    column,
    remedy: 'A filter looks like state==running,name~web*',
  })
}
