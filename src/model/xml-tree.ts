/**
 * XML text to a tree, for input that nobody vouches for: no document type (so no entities beyond the five
 * and character references), bounded size, depth and number of parts, and every error with line and column.
 * Comments and processing instructions are read over, as libvirt does.
 */
import { SaxesParser } from 'saxes'
import { type ErrorCode, VisorError } from './error.ts'
import type { Position } from './position.ts'
import { clean } from './show.ts'

export interface XmlAttribute {
  readonly name: string
  readonly value: string
  readonly start: number
}

export interface XmlElement {
  readonly name: string
  readonly attributes: Map<string, XmlAttribute>
  readonly children: XmlElement[]
  /** All text directly in the element, entities resolved. */
  text: string
  /** Where it stands in the document's text: from `<` to just after the last `>`. */
  readonly start: number
  end: number
}

export interface XmlDocument {
  readonly root: XmlElement
  /** The text it was read from. */
  readonly source: string
  /** Line and column of an offset in the text. */
  locate(offset: number): Position
}

export interface XmlLimits {
  /** Most UTF-16 units of text; libvirt's wire carries at most 4 MiB. */
  readonly maxBytes?: number
  readonly maxDepth?: number
  /** Most elements and attributes together. */
  readonly maxNodes?: number
  /** Code of the error; `invalid-definition` without it. */
  readonly code?: ErrorCode
}

const defaults = {
  maxBytes: 4_194_304,
  maxDepth: 100,
  maxNodes: 100_000,
  code: 'invalid-definition',
} as const

/**
 * Parses one document in linear time. Fails with `invalid-definition` (or `limits.code`), naming line and
 * column, when it is not well-formed XML 1.0, has a document type, or is beyond a limit.
 */
export function parseXml(text: string, limits: XmlLimits = {}): XmlDocument {
  const { maxBytes, maxDepth, maxNodes, code } = { ...defaults, ...limits }
  const locate = locator(text)
  const refuse = (what: string, offset: number): never => {
    const position = locate(Math.max(0, Math.min(offset, text.length)))
    const message = `The XML is not accepted: ${what} (line ${position.line}, column ${position.column}).`
    throw new VisorError(code, message, position)
  }
  if (text.length > maxBytes) refuse(`it has ${text.length} characters, more than ${maxBytes}`, maxBytes)

  const parser = new SaxesParser({
    xmlns: false,
    position: false,
    forceXMLVersion: true,
    defaultXMLVersion: '1.0',
  })
  const open: XmlElement[] = []
  let root: XmlElement | undefined
  let nodes = 0
  let next = 0
  const count = (offset: number) => {
    if (++nodes > maxNodes) refuse(`it has more than ${maxNodes} elements and attributes`, offset)
  }

  parser.on('error', (error) => refuse(sentence(error.message), parser.position))
  parser.on('doctype', () => refuse('a document type (<!DOCTYPE>) is not allowed', parser.position))
  parser.on('opentagstart', ({ name }) => {
    const start = text.lastIndexOf('<', parser.position - 1)
    count(start)
    if (open.length >= maxDepth) refuse(`its elements are more than ${maxDepth} deep`, start)
    const element = { name, attributes: new Map(), children: [], text: '', start, end: start }
    open.at(-1)?.children.push(element)
    root ??= element
    open.push(element)
    next = start + 1 + name.length
  })
  parser.on('attribute', ({ name, value }) => {
    const start = skipSpace(text, next)
    count(start)
    const { attributes } = open.at(-1) as XmlElement
    if (attributes.has(name)) refuse(`attribute '${clean(name)}' is given twice`, start)
    attributes.set(name, { name, value, start })
    next = parser.position
  })
  const addText = (part: string) => {
    const element = open.at(-1)
    if (element) element.text += part
  }
  parser.on('text', addText)
  parser.on('cdata', addText)
  parser.on('closetag', () => {
    const element = open.pop()
    if (element) element.end = parser.position
  })
  parser.write(text).close()
  if (!root) throw new VisorError(code, 'The XML has no element.')
  return { root, source: text, locate }
}

/** saxes' words as the middle of a sentence. */
const sentence = (message: string): string => clean(message, 200).replace(/\.$/u, '')

function skipSpace(text: string, from: number): number {
  let offset = from
  while (/[ \t\r\n]/u.test(text.charAt(offset))) offset++
  return offset
}

/** Finds lines by halving; the list of line starts is made when first needed. */
function locator(text: string): (offset: number) => Position {
  let starts: number[] | undefined
  return (offset) => {
    starts ??= lineStarts(text)
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 }
  }
}

function lineStarts(text: string): number[] {
  const starts = [0]
  for (let offset = text.indexOf('\n'); offset >= 0; offset = text.indexOf('\n', offset + 1))
    starts.push(offset + 1)
  return starts
}
