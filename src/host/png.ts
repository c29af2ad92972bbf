import { crc32, deflateSync } from 'node:zlib'

/** A picture, row by row: one byte a pixel in shades of grey, or three of red, green and blue. */
export interface Pixels {
  readonly colours: 'grey' | 'rgb'
  readonly width: number
  readonly height: number
  readonly pixels: Uint8Array
}

/** The picture as PNG. Source: W3C PNG (Third Edition), 5.2 to 5.6 and 9.2. */
export function formatPng({ colours, width, height, pixels }: Pixels): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  // Eight bits a channel; deflate, filters, no interlace.
  header.set([8, colours === 'rgb' ? 2 : 0, 0, 0, 0], 8)
  const rowBytes = width * (colours === 'rgb' ? 3 : 1)
  // Each row begins with its filter: none.
  const rows = Buffer.alloc((rowBytes + 1) * height)
  for (let y = 0; y < height; y++)
    rows.set(pixels.subarray(y * rowBytes, (y + 1) * rowBytes), y * (rowBytes + 1) + 1)
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), content])
  const out = Buffer.alloc(body.length + 8)
  out.writeUInt32BE(content.length, 0)
  out.set(body, 4)
  out.writeUInt32BE(crc32(body), body.length + 4)
  return out
}
