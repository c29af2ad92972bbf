/** Descriptions as JSON Schema 2020-12, the dialect of OpenAPI 3.1. */
import { described, sizeName } from './described.ts'
import { VisorError } from './error.ts'
import * as s from './schema.ts'

export interface JsonSchema {
  readonly [keyword: string]: unknown
}

export interface JsonSchemaOptions {
  /**
   * `input`: what may be written, with defaults left out and sizes as texts; its nouns are named
   * `DomainDefinitionInput` where that makes a difference. `output` (without it): what is given.
   */
  readonly variant?: 'input' | 'output'
  /** What stands before the names in references; `#/$defs/` without it. */
  readonly refPrefix?: string
}

/**
 * The schema of a description. Every noun stands once in `$defs` under its name and is referred to; a noun
 * itself gives a reference. Fails with `internal` when two nouns share a name.
 */
export function jsonSchema(schema: s.Schema, options: JsonSchemaOptions = {}): JsonSchema {
  const book: Book = {
    variant: options.variant ?? 'output',
    prefix: options.refPrefix ?? '#/$defs/',
    nouns: new Map(),
    definitions: {},
  }
  const root = convert(schema, book)
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    ...root,
    ...(book.nouns.size > 0 && { $defs: book.definitions }),
  }
}

interface Book {
  readonly variant: 'input' | 'output'
  readonly prefix: string
  readonly nouns: Map<string, s.Fields>
  readonly definitions: Record<string, JsonSchema>
}

function convert(schema: s.Schema, book: Book): JsonSchema {
  const { default: standard } = schema.options
  const about = { description: schema.doc, ...(standard !== undefined && { default: standard }) }
  return { ...bare(schema, book), ...about }
}

function bare(schema: s.Schema, book: Book): JsonSchema {
  const known = described(schema)
  switch (known.kind) {
    case 'string':
      return stringSchema(known.options)
    case 'integer':
    case 'number':
    case 'size':
      return numberSchema(known.kind === 'number' ? 'number' : 'integer', known.options)
    case 'boolean':
      return { type: 'boolean' }
    case 'choice':
      return { type: 'string', enum: known.values }
    case 'fragment':
      return { type: 'string', contentMediaType: 'application/xml' }
    case 'array': {
      const { maxItems } = known.options
      return { type: 'array', items: convert(known.item, book), ...(maxItems !== undefined && { maxItems }) }
    }
    case 'record':
      return { type: 'object', additionalProperties: convert(known.value, book) }
    case 'unknown':
      return { type: 'array', items: convert(unknownContent, book) }
    case 'any':
      return {}
    case 'object':
      return { $ref: book.prefix + define(known, book) }
  }
}

const unknownContent = s.object('UnknownContent', 'XML that visor does not know', {
  path: s.string('where it stands below its owner: driver/@queues, iotune'),
  xml: s.string("the element as it was written, or the attribute as name='value'"),
})

function stringSchema({ minLength, maxLength, pattern, normalize }: s.StringOptions): JsonSchema {
  return {
    type: 'string',
    ...(minLength !== undefined && { minLength }),
    ...(maxLength !== undefined && { maxLength }),
    // Other spellings are accepted and made into the one the pattern says.
    ...(pattern && normalize === undefined && { pattern: pattern.source }),
  }
}

function numberSchema(type: string, { min, max }: s.IntegerOptions): JsonSchema {
  return { type, ...(min !== undefined && { minimum: min }), ...(max !== undefined && { maximum: max }) }
}

/** Puts the noun into the definitions, once; its name there. */
function define(schema: s.ObjectSchema, book: Book): string {
  const name = book.variant === 'input' && differs(schema, new Set()) ? `${schema.name}Input` : schema.name
  const other = book.nouns.get(name)
  if (other && other !== schema.fields)
    throw new VisorError('internal', `Two descriptions are both named '${name}'.`)
  if (other) return name
  // Before its fields, so that a noun may hold itself.
  book.nouns.set(name, schema.fields)
  book.definitions[name] = objectSchema(schema, book)
  return name
}

function objectSchema(schema: s.ObjectSchema, book: Book): JsonSchema {
  const isInput = book.variant === 'input'
  const properties: Record<string, JsonSchema> = {}
  const required: string[] = []
  const either: JsonSchema[] = []
  for (const [key, field] of Object.entries(schema.fields)) {
    const { optional, default: standard } = field.options
    properties[key] = convert(field, book)
    const isRequired = !optional && (standard === undefined || !isInput)
    const short = isInput && described(field).kind === 'size' ? sizeName(key) : undefined
    if (short === undefined || Object.hasOwn(schema.fields, short)) {
      if (isRequired) required.push(key)
      continue
    }
    properties[short] = {
      type: 'string',
      description: `${field.doc}; a size such as 2GiB, instead of ${key}`,
    }
    if (isRequired) either.push({ anyOf: [{ required: [key] }, { required: [short] }] })
  }
  return {
    type: 'object',
    description: schema.doc,
    properties,
    ...(required.length > 0 && { required }),
    ...(either.length > 0 && { allOf: either }),
    additionalProperties: false,
  }
}

/** Whether what may be written differs from what is given. */
function differs(schema: s.Schema, seen: Set<s.Fields>): boolean {
  const known = described(schema)
  if (known.kind === 'size' || schema.options.default !== undefined) return true
  if (known.kind === 'array') return differs(known.item, seen)
  if (known.kind === 'record') return differs(known.value, seen)
  if (known.kind !== 'object' || seen.has(known.fields)) return false
  seen.add(known.fields)
  return Object.values(known.fields).some((field) => differs(field, seen))
}
