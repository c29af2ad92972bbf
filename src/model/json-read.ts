/** JSON text with the place of each value: what `JSON.parse` gives, and where it stood. */
import { at, join } from './described.ts'
import type { Position } from './position.ts'
import { clean } from './show.ts'

export interface JsonDocument {
  readonly value: unknown
  readonly places: ReadonlyMap<string, Position>
}

export interface JsonReading {
  locate(offset: number): Position
  /** Called for what is not accepted; never returns. */
  refuse(what: string, offset: number): never
  readonly maxDepth: number
  readonly maxNodes: number
}

/** Reads one JSON value. Refuses what is no JSON, keys given twice, `__proto__`, and what is beyond the limits. */
export function readJson(text: string, reading: JsonReading): JsonDocument {
  checkSyntax(text, reading)
  const places = new Map<string, Position>()
  let offset = 0
  let nodes = 0

  // The text is known to be JSON from here on, so that only the shape has to be followed.
  const token = (pattern: RegExp): string => {
    pattern.lastIndex = offset
    const found = pattern.exec(text)?.[0] ?? ''
    offset += found.length
    return found
  }
  const read = (path: string, depth: number): unknown => {
    token(space)
    if (!places.has(path)) places.set(path, reading.locate(offset))
    if (++nodes > reading.maxNodes) reading.refuse('it has too many values', offset)
    if (depth > reading.maxDepth) reading.refuse(`it is nested more than ${reading.maxDepth} deep`, offset)
    const first = text.charAt(offset)
    if (first === '{') return readMembers(path, depth)
    if (first === '[') return readItems(path, depth)
    return JSON.parse(token(first === '"' ? quoted : bare)) as unknown
  }
  const readMembers = (path: string, depth: number): Record<string, unknown> => {
    const result: Record<string, unknown> = {}
    while (text.charAt(offset) !== '}') {
      offset++
      token(space)
      const start = offset
      if (text.charAt(offset) === '}') break
      const key = JSON.parse(token(quoted)) as string
      if (Object.hasOwn(result, key)) reading.refuse(`key '${clean(key)}' is given twice`, start)
      if (key === '__proto__') reading.refuse("a key '__proto__' is not allowed", start)
      const here = join(path, key)
      places.set(here, reading.locate(start))
      token(colon)
      result[key] = read(here, depth + 1)
      token(space)
    }
    offset++
    return result
  }
  const readItems = (path: string, depth: number): unknown[] => {
    const result: unknown[] = []
    while (text.charAt(offset) !== ']') {
      offset++
      token(space)
      if (text.charAt(offset) === ']') break
      result.push(read(at(path, result.length), depth + 1))
      token(space)
    }
    offset++
    return result
  }
  return { value: read('', 0), places }
}

const space = /\s*/uy
const colon = /\s*:/uy
const quoted = /"[^"\\]*(?:\\.[^"\\]*)*"/uy
const bare = /[^\s,\]}]+/uy

function checkSyntax(text: string, { refuse }: JsonReading): void {
  try {
    JSON.parse(text)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    // V8 tells where in its message; other engines do not, and then it is the start.
    const position = Number(
      /at position (\d+)/u.exec(message)?.[1] ?? (/end of/u.test(message) ? text.length : 0),
    )
    refuse(
      message.replace(/ in JSON at position [\s\S]*$| \(line [\s\S]*$/u, '').replace(/, "[\s\S]*$/u, ''),
      position,
    )
  }
}
