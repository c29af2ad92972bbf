/**
 * Where the parts of a parsed document stood in its text. Kept beside the value, not in it, so that equal
 * definitions are equal wherever they came from.
 */

import { sizeName } from './described.ts'

/** Line and column count from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** The positions of one document, by path: `devices.disks[1].target`. */
export interface Positions {
  readonly format: 'xml' | 'yaml' | 'json'
  readonly at: ReadonlyMap<string, Position>
}

const tables = new WeakMap<object, Positions>()

export const positionsOf = (value: unknown): Positions | undefined =>
  typeof value === 'object' && value !== null ? tables.get(value) : undefined

export function setPositions(value: unknown, positions: Positions): void {
  if (typeof value === 'object' && value !== null) tables.set(value, positions)
}

/** Where `path` (or the nearest part around it) was written; undefined when it did not come from a text. */
export function positionOf(value: unknown, path: string): Position | undefined {
  const positions = positionsOf(value)
  return positions && nearest(positions, path)
}

/** The position of the path, or of the innermost part around it that has one. */
export function nearest(positions: Positions, path: string): Position | undefined {
  for (let here = path; ; here = here.replace(/(?:^|\.)[^.[\]]*$|\[\d+\]$/u, '')) {
    // A size may have been written under its short name.
    const position = positions.at.get(here) ?? positions.at.get(sizeName(here) ?? here)
    if (position || here === '') return position
  }
}
