/** Settings that would change nothing: how they are told. */
import { unsupported } from '../definition/unsupported.ts'

/** A field that is set in vain, and why. */
export type Vain = readonly [field: string, why: string]

/** Fails with `unsupported-config` at the first one in a list of devices. */
export function each<T>(list: readonly T[], name: string, look: (one: T) => readonly Vain[]): void {
  for (const [index, one] of list.entries())
    for (const [field, why] of look(one)) throw unsupported(`devices.${name}[${index}].${field}`, why)
}

/** The fields of these that are set, which this kind has not. */
export function only<T extends object>(
  one: T,
  has: boolean,
  whose: string,
  fields: readonly (keyof T & string)[],
): Vain[] {
  if (has) return []
  const isSet = (value: unknown) =>
    Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false
  return fields.filter((field) => isSet(one[field])).map((field) => [field, `means nothing but for ${whose}`])
}
