import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createColors } from 'picocolors'
import { diffLines, formatDiff } from './line-diff.ts'

const plain = createColors(false)

test('a difference leads from one text to the other', () => {
  const lines = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 30 })
  fc.assert(
    fc.property(lines, lines, (before, after) => {
      const diff = diffLines(before, after)
      const texts = (skip: string) => diff.filter(({ kind }) => kind !== skip).map(({ text }) => text)
      assert.deepEqual(texts('added'), before)
      assert.deepEqual(texts('removed'), after)
    }),
  )
})

test('only what differs is shown, with what is around it', () => {
  const before = ['1', '2', '3', '4', '5', '6', '7']
  const after = ['1', '2', '3', '4', 'five', '6', '7']
  assert.equal(formatDiff(diffLines(before, after), plain, 1), '  ⋮\n  4\n- 5\n+ five\n  6\n  ⋮\n')
  assert.deepEqual(
    diffLines(before, before).map(({ kind }) => kind),
    before.map(() => 'same'),
  )
})
