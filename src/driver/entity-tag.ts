/**
 * The entity tag of a document: equal documents have equal tags, whatever the order of their keys. Two
 * independent 32-bit FNV-1a hashes; tells versions of one object apart, is no proof against forgery.
 */
export function entityTag(document: unknown): string {
  const text = canonical(document)
  return hash(text, 0x811c9dc5) + hash(text, 0x2c1b3c6d)
}

function hash(text: string, seed: number): string {
  let value = seed
  for (let index = 0; index < text.length; index++) {
    value ^= text.charCodeAt(index)
    value = Math.imul(value, 0x01000193)
  }
  return (value >>> 0).toString(16).padStart(8, '0')
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined)
    fields.sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(',')}}`
  }
  return JSON.stringify(value) ?? 'null'
}
