import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HttpRefusal } from './body.ts'
import { matches, parseRange } from './range.ts'

test('ranges as RFC 9110 has them', () => {
  assert.deepEqual(parseRange('bytes=0-499', 1000), { offset: 0, lengthBytes: 500 })
  assert.deepEqual(parseRange('bytes=500-', 1000), { offset: 500, lengthBytes: 500 })
  assert.deepEqual(parseRange('bytes=-1', 1000), { offset: 999, lengthBytes: 1 })
  assert.deepEqual(parseRange('bytes=-5000', 1000), { offset: 0, lengthBytes: 1000 })
  assert.deepEqual(parseRange('bytes=999-5000', 1000), { offset: 999, lengthBytes: 1 })
  for (const ignored of ['bytes=5-4', 'bytes=0-1,3-4', 'lines=0-1', 'bytes=a-', 'bytes=-', ''])
    assert.equal(parseRange(ignored, 1000), undefined)
  for (const [refused, size] of [
    ['bytes=1000-', 1000],
    ['bytes=-0', 1000],
    ['bytes=0-', 0],
    ['bytes=-1', 0],
  ] as const)
    assert.throws(
      () => parseRange(refused, size),
      (error) => error instanceof HttpRefusal && error.status === 416,
    )
})

test('a range is always within what there is', () => {
  const header = fc.oneof(
    fc.string(),
    fc.tuple(fc.bigInt(), fc.bigInt()).map(([first, last]) => `bytes=${first}-${last}`),
  )
  fc.assert(
    fc.property(header, fc.nat(), (text, size) => {
      try {
        const range = parseRange(text, size)
        if (range)
          assert.ok(range.offset >= 0 && range.lengthBytes > 0 && range.offset + range.lengthBytes <= size)
      } catch (error) {
        assert.ok(error instanceof HttpRefusal)
      }
    }),
  )
})

test('entity tags', () => {
  assert.equal(matches(null, '"a"', true), true)
  assert.equal(matches('*', '"a"', false), true)
  assert.equal(matches('"b", "a"', '"a"', false), true)
  assert.equal(matches('W/"a"', '"a"', true), false)
})
