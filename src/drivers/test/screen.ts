/** The text screen of a test guest, and its picture. */
import type { Pixels } from '../../host/index.ts'

export const columns = 80
export const rows = 25
/** Pixels of a character's cell, before scaling: three by five of it are the glyph. */
const cellWidth = 4
const cellHeight = 6
const scale = 2

/** Five rows of three pixels, each row an octal digit, of the characters from ' ' to '_'. */
const glyphs =
  '00000 22202 55000 57575 36732 51245 25253 22000 12221 42224 52725 02720 00024 00700 00002 11244 ' +
  '75557 26227 71747 71717 55711 74717 74757 71111 75757 75717 02020 02024 12421 07070 42124 71202 ' +
  '75743 25755 65656 34443 65556 74647 74644 34553 55755 72227 11152 55655 44447 57755 65555 25552 ' +
  '65644 25563 65655 34216 72222 55557 55552 55775 55255 55222 71247 64446 44211 31113 25000 00007'
const font = glyphs.split(' ').map((digits) => [...digits].map(Number))

/** The last lines of what a terminal printed, as its screen shows them: `rows` lines of `columns` at most. */
export function screenLines(printed: string): string[] {
  const lines: string[] = []
  for (const line of printed.replaceAll('\r', '').split('\n')) {
    if (line.length <= columns) lines.push(line)
    else for (let at = 0; at < line.length; at += columns) lines.push(line.slice(at, at + columns))
  }
  return lines.slice(-rows)
}

/** Draws the lines, light on dark; lower case letters as capitals. */
export function drawScreen(lines: readonly string[]): Pixels {
  const width = columns * cellWidth * scale
  const height = rows * cellHeight * scale
  const pixels = new Uint8Array(width * height).fill(16)
  lines.slice(0, rows).forEach((line, row) => {
    for (let column = 0; column < Math.min(line.length, columns); column++) {
      const glyph = font[line.toUpperCase().charCodeAt(column) - 32]
      if (glyph) drawGlyph(pixels, width, column * cellWidth * scale, row * cellHeight * scale, glyph)
    }
  })
  return { colours: 'grey', width, height, pixels }
}

function drawGlyph(pixels: Uint8Array, width: number, left: number, top: number, glyph: number[]): void {
  for (let y = 0; y < glyph.length * scale; y++) {
    const bits = glyph[Math.floor(y / scale)] ?? 0
    for (let x = 0; x < 3 * scale; x++)
      if (bits & (4 >> Math.floor(x / scale))) pixels[(top + y) * width + left + x] = 220
  }
}
