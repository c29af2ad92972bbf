/** What the suite asserts about documents. */
import assert from 'node:assert/strict'
import {
  type DomainDefinition,
  formatDefinition,
  parse,
  parseDefinition,
  type schema,
} from '../../src/model/index.ts'

/** Asserts that a value is what a description says, with nothing left to fill in. */
export function assertIs<S extends schema.Schema>(description: S, value: unknown): void {
  assert.deepEqual(parse(description, value), value)
}

/** Asserts that `whole` says all that `part` says; more in objects, and items behind those of lists, may be there. */
export function assertHolds(whole: unknown, part: unknown, path = ''): void {
  if (typeof part !== 'object' || part === null) {
    assert.deepEqual(whole, part, path)
    return
  }
  assert.ok(typeof whole === 'object' && whole !== null, `${path} is there`)
  for (const [key, value] of Object.entries(part)) {
    if (value === undefined) continue
    assertHolds((whole as Record<string, unknown>)[key], value, `${path}.${key}`)
  }
}

/** Asserts that a definition goes through each notation unchanged. */
export function assertNotationsKeep(definition: DomainDefinition): void {
  for (const format of ['xml', 'yaml', 'json'] as const)
    assert.deepEqual(parseDefinition(formatDefinition(definition, format), format), definition, format)
}
