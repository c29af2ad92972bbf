import { toVisorError, VisorError } from '../error.ts'
import * as s from '../schema.ts'
import { suggest } from '../suggest.ts'
import { parseYamlDocuments } from '../yaml-read.ts'
import { mostFirstBootText } from './settings.ts'

const anyMap = s.record('settings', s.any('value'))

/** A mapping of YAML (or JSON); empty for an empty text. Fails with `invalid-argument` that names the setting. */
export function readMap(
  path: string,
  name: string,
  text: string,
  format: 'yaml' | 'json' = 'yaml',
): Record<string, unknown> {
  const limits = { code: 'invalid-argument', maxBytes: mostFirstBootText, format, allowBytes: true } as const
  try {
    const [map = {}, second] = parseYamlDocuments(anyMap, text, limits)
    if (second === undefined) return map
  } catch (error) {
    const { message } = toVisorError(error)
    throw new VisorError('invalid-argument', `The ${name} cannot be read: ${message}`, { path, cause: error })
  }
  throw new VisorError('invalid-argument', `The ${name} has several documents, where one is wanted.`, {
    path,
  })
}

/** Fails with `invalid-argument` for a key that is none, but nearly one; others may be of a later version. */
export function refuseNearKeys(
  path: string,
  name: string,
  keys: readonly string[],
  known: readonly string[],
): void {
  for (const key of keys) {
    const meant = known.includes(key) ? undefined : suggest(key, known)
    if (meant !== undefined)
      throw new VisorError('invalid-argument', `The ${name} has '${key}', which nobody reads.`, {
        path,
        remedy: `Did you mean '${meant}'?`,
      })
  }
}
