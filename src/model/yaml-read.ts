/** YAML (and JSON) that people write, to checked values with their places in the text. */
import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  Parser,
} from 'yaml'
import { at, join } from './described.ts'
import { type ErrorCode, VisorError } from './error.ts'
import { readJson } from './json-read.ts'
import { parse } from './parse.ts'
import type { Position } from './position.ts'
import type * as s from './schema.ts'
import { clean } from './show.ts'

export interface YamlLimits {
  /** Most UTF-16 units of text: 512 KiB of YAML, which takes long to read, 4 MiB of JSON. */
  readonly maxBytes?: number
  readonly maxDepth?: number
  /** Most values, each use of an alias counting what it stands for. */
  readonly maxNodes?: number
  /** Code of the error; `invalid-definition` without it. */
  readonly code?: Extract<ErrorCode, 'invalid-definition' | 'invalid-argument'>
  /** Bytes (`!!binary`) are taken as well, as the text that they are written as. */
  readonly allowBytes?: true
  /** What the text is, for messages and positions. */
  readonly format?: 'yaml' | 'json'
}

const mostBytes = { yaml: 524_288, json: 4_194_304 } as const

/**
 * The one document of a YAML text (JSON is YAML too), checked against `schema`. Fails with
 * `invalid-definition` (or `limits.code`) with line and column: not YAML, keys given twice, beyond a limit,
 * not exactly one document, or whatever {@link parse} refuses.
 */
export function parseYaml<S extends s.Schema>(schema: S, text: string, limits: YamlLimits = {}): s.Output<S> {
  const [first, second] = parseYamlDocuments(schema, text, limits)
  const code = limits.code ?? 'invalid-definition'
  if (first === undefined) throw new VisorError(code, 'The text is empty.')
  if (second !== undefined) throw new VisorError(code, 'The text has several documents, where one is wanted.')
  return first
}

/** As {@link parseYaml}, of a stream of documents set apart by `---`. Empty documents are read over. */
export function parseYamlDocuments<S extends s.Schema>(
  schema: S,
  text: string,
  limits: YamlLimits = {},
): s.Output<S>[] {
  const { code = 'invalid-definition', format = 'yaml', maxDepth = 64, maxNodes = 100_000 } = limits
  const { maxBytes = mostBytes[format] } = limits
  const lines = new LineCounter()
  const locate = (offset: number): Position => {
    const { line, col: column } = lines.linePos(Math.min(offset, text.length))
    return { line: Math.max(1, line), column: Math.max(1, column) }
  }
  const refuse: Refuse = (what, offset) => {
    const position = locate(offset)
    const place = `line ${position.line}, column ${position.column}`
    throw new VisorError(code, `The ${format.toUpperCase()} is not accepted: ${what} (${place}).`, position)
  }
  if (text.length > maxBytes) refuse(`it has ${text.length} characters, more than ${maxBytes}`, 0)
  const finish = (value: unknown, places: ReadonlyMap<string, Position>) =>
    parse(schema, value, { code, positions: { format, at: places }, maxNodes, maxDepth })

  if (format === 'json') {
    addLines(lines, text)
    const { value, places } = readJson(text, { locate, refuse, maxDepth, maxNodes })
    return [finish(value, places)]
  }
  const budget = { nodes: maxNodes }
  return compose(text, lines, maxDepth, refuse).flatMap(({ contents }) => {
    if (!isNode(contents) || (isScalar(contents) && contents.value === null)) return []
    const reading: Reading = {
      ...{ places: new Map(), anchors: new Map(), locate, budget, maxDepth, refuse },
      allowBytes: limits.allowBytes === true,
    }
    return [finish(toValue(reading, contents, '', 0), reading.places)]
  })
}

function addLines(lines: LineCounter, text: string): void {
  lines.addNewLine(0)
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', end + 1)) lines.addNewLine(end + 1)
}

type Refuse = (what: string, offset: number) => never

/**
 * The documents of the text. Depth is looked at in the tokens first, since composing calls itself for each
 * level; keys given twice are found later, in linear time.
 */
function compose(text: string, lines: LineCounter, maxDepth: number, refuse: Refuse): Document.Parsed[] {
  const tokens = [...new Parser(lines.addNewLine).parse(text)]
  for (const token of tokens) checkDepth(token, maxDepth, refuse)
  const composer = new Composer({
    uniqueKeys: false,
    schema: 'core',
    version: '1.2',
    merge: false,
    stringKeys: false,
  })
  const documents = [...composer.compose(tokens, true, text.length)] as Document.Parsed[]
  for (const { errors, warnings } of documents) {
    const [first] = [...errors, ...warnings]
    if (first)
      refuse(clean(first.message.replace(/ at line [\s\S]*$/u, ''), 200).replace(/\.$/u, ''), first.pos[0])
  }
  return documents
}

/** Walks tokens without calling itself. */
function checkDepth(token: unknown, maxDepth: number, refuse: Refuse): void {
  const waiting: { token: unknown; depth: number }[] = [{ token, depth: 0 }]
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { token: here, depth } = next
    if (typeof here !== 'object' || here === null) continue
    const { offset, items, value, key } = here as Record<string, unknown>
    // Each level of a document is a token that holds items that hold the next token.
    if (depth > maxDepth + 2) refuse(`it is nested more than ${maxDepth} deep`, Number(offset ?? 0))
    if (Array.isArray(items)) for (const item of items) waiting.push({ token: item, depth: depth + 1 })
    if (typeof value === 'object') waiting.push({ token: value, depth })
    if (typeof key === 'object') waiting.push({ token: key, depth })
  }
}

interface Reading {
  readonly places: Map<string, Position>
  readonly anchors: Map<string, Node>
  readonly locate: (offset: number) => Position
  readonly budget: { nodes: number }
  readonly maxDepth: number
  readonly refuse: Refuse
  readonly allowBytes: boolean
}

function toValue(reading: Reading, node: unknown, path: string, depth: number): unknown {
  if (!isNode(node)) return null
  const offset = node.range?.[0] ?? 0
  mark(reading, path, offset)
  if (--reading.budget.nodes < 0) reading.refuse('it has too many values', offset)
  if (depth > reading.maxDepth) reading.refuse(`it is nested more than ${reading.maxDepth} deep`, offset)
  if (isAlias(node)) {
    const target = reading.anchors.get(node.source)
    if (!target) reading.refuse(`there is no anchor &${clean(node.source)} before its use`, offset)
    return toValue(reading, target, path, depth + 1)
  }
  const value = isMap(node)
    ? mapValue(reading, node.items, path, depth)
    : isSeq(node)
      ? node.items.map((item, index) => toValue(reading, item, at(path, index), depth + 1))
      : scalarValue(reading, node, offset)
  // Only now, so that an alias inside its own anchor is refused.
  if (node.anchor) reading.anchors.set(node.anchor, node)
  return value
}

function scalarValue(reading: Reading, node: Node, offset: number): unknown {
  const value: unknown = isScalar(node) ? node.value : undefined
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return value
  if (reading.allowBytes && isScalar(node) && value instanceof Uint8Array) return node.source ?? ''
  return reading.refuse('it has a value of a kind that JSON has not', offset)
}

function mapValue(
  reading: Reading,
  items: readonly unknown[],
  path: string,
  depth: number,
): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const pair of items) {
    if (!isPair(pair)) continue
    const offset = (isNode(pair.key) && pair.key.range?.[0]) || 0
    const key = isScalar(pair.key)
      ? String(pair.key.value)
      : reading.refuse('a key must be a plain text', offset)
    if (Object.hasOwn(result, key)) reading.refuse(`key '${clean(key)}' is given twice`, offset)
    if (key === '__proto__') reading.refuse("a key '__proto__' is not allowed", offset)
    const here = join(path, key)
    result[key] = toValue(reading, pair.value, here, depth + 1)
    mark(reading, here, offset)
  }
  return result
}

function mark({ places, locate }: Reading, path: string, offset: number): void {
  places.set(path, locate(offset))
}
