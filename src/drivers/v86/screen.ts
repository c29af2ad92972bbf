/** The screen of a machine as text and as a picture. */

import { formatPng } from '../../host/index.ts'
import type { Screen, Vga } from './internals.ts'

interface Cell {
  readonly character: number
  readonly background: number
  readonly foreground: number
}

/** The lines of a text mode, in Unicode; undefined in a graphics mode. */
export function readText(vga: Vga, screen: Screen): string[] | undefined {
  if (vga.graphical_mode) return undefined
  return readCells(vga, screen).map((row) => row.map((cell) => toUnicode(cell?.character ?? 32)).join(''))
}

/** The screen as PNG. */
export function takePicture(vga: Vga, screen: Screen): Buffer {
  return vga.graphical_mode ? drawGraphics(vga) : drawText(vga, readCells(vga, screen))
}

/** Lets the card send all its characters, and catches them. */
function readCells(vga: Vga, screen: Screen): (Cell | undefined)[][] {
  const rows = Array.from({ length: vga.max_rows }, () =>
    Array<Cell | undefined>(vga.max_cols).fill(undefined),
  )
  const put = screen.put_char
  screen.put_char = (row, column, character, _flags, background, foreground) => {
    const line = rows[row]
    if (line && column < line.length) line[column] = { character, background, foreground }
  }
  try {
    vga.text_mode_redraw()
  } finally {
    screen.put_char = put
  }
  return rows
}

const fontWidth = 8
const bytesOfCharacter = 32

/** With the font that the guest has loaded; boxes and lines are closed, as characters are eight dots wide. */
function drawText(vga: Vga, rows: readonly (readonly (Cell | undefined)[])[]): Buffer {
  const fontHeight = (vga.max_scan_line & 31) + 1
  const width = Math.max(1, vga.max_cols) * fontWidth
  const height = Math.max(1, vga.max_rows) * fontHeight
  const pixels = Buffer.alloc(width * height * 3)
  rows.forEach((line, row) => {
    line.forEach((cell, column) => {
      if (!cell) return
      for (let y = 0; y < fontHeight; y++) {
        const dots = vga.plane2[cell.character * bytesOfCharacter + y] ?? 0
        for (let x = 0; x < fontWidth; x++) {
          const color = dots & (0x80 >> x) ? cell.foreground : cell.background
          pixels.writeUIntBE(
            color & 0xffffff,
            ((row * fontHeight + y) * width + column * fontWidth + x) * 3,
            3,
          )
        }
      }
    })
  })
  return formatPng({ colours: 'rgb', width, height, pixels })
}

function drawGraphics(vga: Vga): Buffer {
  vga.screen_fill_buffer()
  const [width, height] = vga.svga_enabled
    ? [vga.svga_width, vga.svga_height]
    : [vga.screen_width, vga.screen_height]
  const whole = {
    screen_x: 0,
    screen_y: 0,
    buffer_x: 0,
    buffer_y: 0,
    buffer_width: width,
    buffer_height: height,
  }
  const layers = vga.svga_enabled ? [{ image_data: vga.image_data, ...whole }] : vga.layers
  const pixels = Buffer.alloc(width * height * 3)
  for (const layer of layers)
    for (let y = 0; y < layer.buffer_height; y++)
      for (let x = 0; x < layer.buffer_width; x++) {
        const [toX, toY] = [layer.screen_x + x, layer.screen_y + y]
        if (toX < 0 || toY < 0 || toX >= width || toY >= height) continue
        const from = ((layer.buffer_y + y) * layer.image_data.width + layer.buffer_x + x) * 4
        pixels.set(layer.image_data.data.subarray(from, from + 3), (toY * width + toX) * 3)
      }
  return formatPng({ colours: 'rgb', width, height, pixels })
}

/** The upper half of code page 437, and the signs in place of its control characters. */
const upper =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ '
const lower = ' ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼'

function toUnicode(character: number): string {
  if (character < 32) return lower[character] ?? ' '
  if (character === 127) return '⌂'
  return character < 127 ? String.fromCharCode(character) : (upper[character - 128] ?? ' ')
}
