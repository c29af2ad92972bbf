/** How wide text is on a terminal, and how to make it fit. Colour codes take no room. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes begin with the escape character
const colourCodes = /\u001b\[[0-9;]*m/gu
// East Asian Width W and F (Unicode TR 11), as ranges of whole blocks.
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{17000}-\u{18aff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]/u
const emoji = /\p{Emoji_Presentation}|\ufe0f/u
const invisible = /^[\p{Mark}\p{Cf}\p{Cc}]+$/u
const plain = /^[\u0020-\u007e]*$/u

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

/** Columns the text takes. */
export function textWidth(text: string): number {
  const bare = stripColours(text)
  if (plain.test(bare)) return bare.length
  let width = 0
  for (const { segment } of graphemes.segment(bare)) width += graphemeWidth(segment)
  return width
}

function graphemeWidth(segment: string): number {
  if (invisible.test(segment)) return 0
  return wide.test(segment) || emoji.test(segment) ? 2 : 1
}

/** The text without its colour codes. */
export function stripColours(text: string): string {
  return text.replace(colourCodes, '')
}

/** The text in at most `width` columns: cut with an ellipsis when it is wider. Takes uncoloured text. */
export function cutText(text: string, width: number): string {
  if (textWidth(text) <= width) return text
  if (width < 1) return ''
  let cut = ''
  let used = 1
  for (const { segment } of graphemes.segment(text)) {
    used += graphemeWidth(segment)
    if (used > width) break
    cut += segment
  }
  return `${cut}…`
}

/** The text filled up with spaces to `width` columns. */
export function padText(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const space = ' '.repeat(Math.max(0, width - textWidth(text)))
  return align === 'left' ? text + space : space + text
}

/**
 * Control characters made visible, so that a name or message from elsewhere cannot drive the terminal.
 * Newlines and tabs become spaces.
 */
export function safeText(text: string): string {
  return text.replace(/[\n\r\t]/gu, ' ').replace(/\p{Cc}/gu, (character) => {
    return `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`
  })
}
