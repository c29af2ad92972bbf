import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32, inflateSync } from 'node:zlib'
import { formatPng } from '../../host/index.ts'
import { columns, drawScreen, rows, screenLines } from './screen.ts'

test('a picture is a PNG whose pixels come back', () => {
  const pixels = Uint8Array.from({ length: 6 }, (_, index) => index * 40)
  const png = Buffer.from(formatPng({ colours: 'grey', width: 3, height: 2, pixels }))
  assert.equal(png.subarray(0, 8).toString('latin1'), '\x89PNG\r\n\x1a\n')
  const chunks: Record<string, Buffer> = {}
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    const body = png.subarray(at + 4, at + 8 + length)
    assert.equal(png.readUInt32BE(at + 8 + length), crc32(body))
    chunks[body.subarray(0, 4).toString('latin1')] = body.subarray(4)
    at += 12 + length
  }
  assert.deepEqual(Object.keys(chunks), ['IHDR', 'IDAT', 'IEND'])
  assert.deepEqual([...(chunks.IHDR ?? [])], [0, 0, 0, 3, 0, 0, 0, 2, 8, 0, 0, 0, 0])
  const unpacked = inflateSync(chunks.IDAT ?? Buffer.alloc(0))
  assert.deepEqual([...unpacked], [0, 0, 40, 80, 0, 120, 160, 200])
})

test('the screen has the last lines, wrapped', () => {
  assert.deepEqual(screenLines('a\r\nb'), ['a', 'b'])
  assert.deepEqual(screenLines('x'.repeat(columns + 1)), ['x'.repeat(columns), 'x'])
  assert.equal(screenLines('line\n'.repeat(100)).length, rows)
})

test('what is drawn depends on what is written, and stays within the picture', () => {
  const empty = drawScreen([])
  const full = drawScreen(Array.from({ length: rows + 5 }, () => 'W'.repeat(columns + 5)))
  assert.equal(full.pixels.length, empty.width * empty.height)
  assert.notDeepEqual(full.pixels, empty.pixels)
  assert.notDeepEqual(drawScreen(['a']).pixels, drawScreen(['b']).pixels)
  assert.deepEqual(drawScreen(['\u{1f600}']).pixels, empty.pixels)
})
