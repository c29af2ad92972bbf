import { type schema as s, VisorError } from '../../model/index.ts'
import { parseFilter } from '../filter.ts'
import { fieldsOf } from './query.ts'

/** Query parameters of every list. */
export const shapeParameters = ['fields', 'filter'] as const

/** Which members of a list, and how much of each. */
export interface ListShape {
  readonly fields: readonly string[] | undefined
  readonly accepts: ((object: unknown) => boolean) | undefined
}

/** Reads `fields=a,b` and `filter=...`; fails with `invalid-argument` for a field that is not there. */
export function readShape(query: Readonly<Record<string, string>>, item: s.Schema): ListShape {
  const known = Object.keys(fieldsOf(item))
  const fields = query.fields?.split(',').filter((name) => name !== '')
  const unknown = fields?.find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new VisorError('invalid-argument', `There is no field '${unknown}'.`, {
      path: 'fields',
      remedy: `There are: ${known.join(', ')}.`,
    })
  return {
    fields,
    accepts: query.filter ? parseFilter(query.filter, known) : undefined,
  }
}

/** The members that are asked for, with the fields that are asked for. */
export function shapeList(list: readonly unknown[], shape: ListShape | undefined): unknown[] {
  const { accepts, fields } = shape ?? {}
  const members = accepts ? list.filter(accepts) : [...list]
  return fields ? members.map((member) => pick(member as Record<string, unknown>, fields)) : members
}

function pick(object: Record<string, unknown>, fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(fields.map((name) => [name, object[name]]))
}
