import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VisorError } from '../model/index.ts'
import {
  formatAgo,
  formatBytes,
  formatDuration,
  isSize,
  parseCount,
  parseDuration,
  parseSize,
} from './units.ts'

const invalid = (error: unknown) => error instanceof VisorError && error.code === 'invalid-argument'

test('sizes are read as people write them', () => {
  const cases: [string, number][] = [
    ['20GiB', 20 * 2 ** 30],
    ['2G', 2 * 2 ** 30],
    ['1.5 g', 1.5 * 2 ** 30],
    ['512MiB', 512 * 2 ** 20],
    ['1GB', 1e9],
    ['4096', 4096],
    ['10b', 10],
  ]
  for (const [text, bytes] of cases) assert.equal(parseSize(text, 'The size'), bytes, text)
  assert.equal(parseSize('512', 'The memory', 'MiB'), 512 * 2 ** 20)
  for (const text of ['', 'x', '-1G', '0', '1Q', '1e9', '9999999999999PiB', '1 2'])
    assert.throws(() => parseSize(text, 'The size'), invalid, text)
  assert.equal(isSize('20GiB'), true)
  assert.equal(isSize('disk.qcow2'), false)
})

test('sizes are written in the unit that fits', () => {
  assert.equal(formatBytes(0), '0 B')
  assert.equal(formatBytes(1023), '1023 B')
  assert.equal(formatBytes(1024), '1 KiB')
  assert.equal(formatBytes(1.5 * 2 ** 30), '1.5 GiB')
  assert.equal(formatBytes(20 * 2 ** 40), '20 TiB')
})

test('spans and ages are short', () => {
  assert.equal(formatDuration(400), '0.4 s')
  assert.equal(formatDuration(59_000), '59 s')
  assert.equal(formatDuration(125_000), '2 min 5 s')
  assert.equal(formatDuration(86_400_000 + 3_600_000 * 4), '1 d 4 h')
  const now = Date.parse('2026-01-01T00:00:00Z')
  assert.equal(formatAgo('2026-01-01T00:00:00Z', now), 'just now')
  assert.equal(formatAgo('2025-12-31T23:55:20Z', now), '4 min ago')
  assert.equal(formatAgo('never', now), 'never')
})

test('times and counts are bounded', () => {
  assert.equal(parseDuration('90', 'The timeout'), 90_000)
  assert.equal(parseDuration('5m', 'The timeout'), 300_000)
  assert.equal(parseDuration('0.5', 'The timeout'), 500)
  for (const text of ['', '-1', '1x', '25h', '1 week'])
    assert.throws(() => parseDuration(text, 'T'), invalid, text)
  assert.equal(parseCount('4', 'The count', 1, 8), 4)
  for (const text of ['0', '9', '1.5', '-1', 'four', ''])
    assert.throws(() => parseCount(text, 'The count', 1, 8), invalid, text)
})
