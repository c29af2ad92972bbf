/** A text for a message: cut short, and with nothing that a terminal would obey. */
export function clean(text: string, most = 60): string {
  const short = text.length > most ? `${text.slice(0, most)}...` : text
  return short.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) => {
    return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
}

/** A wrong value for a message. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${clean(value)}'`
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'an object'
  return clean(String(value))
}
