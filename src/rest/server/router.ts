import { VisorError } from '../../model/index.ts'

/** What a path leads to. */
export type Found<T> =
  | { readonly value: T; readonly parameters: Readonly<Record<string, string>> }
  /** The path is there, but not for this method. */
  | { readonly allow: readonly string[] }

export interface Router<T> {
  add(method: string, path: string, value: T): void
  /** Undefined when there is no such path. A GET route also answers HEAD. */
  find(method: string, path: string): Found<T> | undefined
}

interface Place<T> {
  readonly literals: Map<string, Place<T>>
  parameter?: { readonly name: string; readonly place: Place<T> }
  readonly values: Map<string, T>
}

const place = <T>(): Place<T> => ({ literals: new Map(), values: new Map() })

/** Finds routes by path, segment by segment: a literal goes before a `{parameter}`. */
export function createRouter<T>(): Router<T> {
  const root = place<T>()
  return {
    add(method, path, value) {
      let at = root
      for (const segment of path.split('/').slice(1)) {
        const name = /^\{(\w+)\}$/u.exec(segment)?.[1]
        if (name) {
          at.parameter ??= { name, place: place() }
          at = at.parameter.place
        } else {
          const next = at.literals.get(segment) ?? place<T>()
          at.literals.set(segment, next)
          at = next
        }
      }
      at.values.set(method, value)
    },
    find(method, path) {
      const parameters: Record<string, string> = {}
      let at: Place<T> | undefined = root
      for (const segment of path.split('/').slice(1)) {
        const literal: Place<T> | undefined = at.literals.get(segment)
        if (!literal && at.parameter) parameters[at.parameter.name] = decode(segment)
        at = literal ?? at.parameter?.place
        if (!at) return undefined
      }
      if (at.values.size === 0) return undefined
      const value = at.values.get(method === 'HEAD' ? 'GET' : method)
      return value === undefined ? { allow: [...at.values.keys()] } : { value, parameters }
    },
  }
}

function decode(segment: string): string {
  try {
    const text = decodeURIComponent(segment)
    if (text !== '') return text
  } catch {
    // Said below, as for an empty one.
  }
  throw new VisorError('invalid-argument', `The path has a part that cannot be read: '${segment}'.`, {
    remedy: 'Percent-encode the UTF-8 bytes of a name, as encodeURIComponent does.',
  })
}
