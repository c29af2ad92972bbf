/** The kinds of words that the parts of a domain definition are made of. */
import * as s from './schema.ts'

/** What every object of the XML ends with. */
export const unknown = s.unknown()

// Narrower than libvirt's: these become parts of command lines and file names, where no quoting reaches.
export const aName = {
  pattern: /^(?!\.\.?$)[^/\p{Cc}]+$/u,
  patternName: 'a name without slashes or control characters',
} as const
export const oneWord = {
  pattern: /^[\w:][\w.+:-]*$/u,
  patternName: 'one word of letters, digits and _.+:-',
} as const
export const aNumber = {
  pattern: /^(?:0x[0-9a-fA-F]{1,8}|\d{1,10})$/u,
  patternName: "a number such as '2' or '0x02'",
} as const
/** Source: the kernel's dev_valid_name. */
export const aLink = {
  pattern: /^(?!\.\.?$)[^/\s:]{1,15}$/u,
  patternName: 'the name of a network link',
} as const

const absolutePath = /^\/[^\p{Cc}]*$/u

export const path = <const O extends s.FieldOptions>(doc: string, options: O) =>
  s.string(doc, { ...options, pattern: absolutePath, patternName: 'an absolute path', maxLength: 4095 })

/** The words of these lines, for an order of elements. */
export const words = (...lines: string[]): string[] => lines.join(' ').split(' ')
