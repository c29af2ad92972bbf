import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Column, formatTable } from './table.ts'
import { cutText, padText, safeText, textWidth } from './text-width.ts'

test('width is counted as terminals do', () => {
  assert.equal(textWidth('abc'), 3)
  assert.equal(textWidth('日本語'), 6)
  assert.equal(textWidth('e\u0301'), 1)
  assert.equal(textWidth('👩‍💻'), 2)
  assert.equal(textWidth('\u001b[31mred\u001b[0m'), 3)
  assert.equal(textWidth('한글'), 4)
})

test('text is cut at whole characters', () => {
  assert.equal(cutText('abcdef', 6), 'abcdef')
  assert.equal(cutText('abcdef', 4), 'abc…')
  assert.equal(cutText('日本語', 4), '日…')
  assert.equal(cutText('日本語', 5), '日本…')
  assert.equal(cutText('abc', 0), '')
  assert.equal(padText('日本', 6), '日本  ')
  assert.equal(padText('7', 3, 'right'), '  7')
})

test('control characters of others cannot drive the terminal', () => {
  assert.equal(safeText('a\u001b[2Jb\nc'), 'a\\x1b[2Jb c')
})

interface Row {
  readonly name: string
  readonly size: string
}
const columns: Column<Row>[] = [
  { title: 'name', value: ({ name }) => name, shrinkTo: 4 },
  { title: 'size', value: ({ size }) => size, align: 'right' },
]
const rows = [
  { name: 'a-rather-long-name', size: '1' },
  { name: '日本', size: '1000' },
]

test('a table is as wide as it must be', () => {
  assert.equal(
    formatTable(columns, rows),
    'NAME                SIZE\na-rather-long-name     1\n日本                1000\n',
  )
})

test('a table fits the terminal', () => {
  const text = formatTable(columns, rows, { width: 14 })
  for (const line of text.trimEnd().split('\n')) assert.ok(textWidth(line) <= 14, line)
  assert.match(text, /^a-rathe…\s+1$/mu)
})

test('colours take no room', () => {
  const red: Column<Row>[] = columns.map((column) => ({
    ...column,
    style: (text) => `\u001b[31m${text}\u001b[0m`,
  }))
  const bare = formatTable(red, rows).replaceAll('\u001b[31m', '').replaceAll('\u001b[0m', '')
  assert.equal(bare, formatTable(columns, rows))
})
