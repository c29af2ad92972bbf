import { formatQuery } from './http.ts'

/** Half of what visord takes as request line and headers together; the rest is for the headers. */
const queryLimit = 8192

/**
 * The options of a query, split where one of its lists would make it longer than a server takes: in each part
 * that list has some of its items, in their order, and all else is the same.
 */
export function splitQuery(
  options: Readonly<Record<string, unknown>>,
  list: string,
): Readonly<Record<string, unknown>>[] {
  const items = options[list]
  if (!Array.isArray(items) || items.length < 2 || formatQuery(options).length <= queryLimit) return [options]
  const room = queryLimit - formatQuery({ ...options, [list]: undefined }).length
  const parts: unknown[][] = []
  let left = 0
  for (const item of items) {
    const length = formatQuery({ [list]: item }).length
    if (parts.length === 0 || length > left) {
      parts.push([])
      left = room
    }
    parts.at(-1)?.push(item)
    left -= length
  }
  return parts.map((part) => ({ ...options, [list]: part }))
}
