import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { expiredOf, judgeRetention, type Retention } from './retention.ts'

const hour = 3_600_000
const now = new Date('2026-11-24T12:00:00Z')
const point = (at: Date | string) => ({ id: new Date(at).toISOString(), at: new Date(at).toISOString() })
const kept = (points: readonly { id: string; at: string }[], rules: Retention, timezone?: string) =>
  judgeRetention(points, rules, { now, timezone })
    .filter(({ reasons }) => reasons.length > 0)
    .map(({ point: { id } }) => id)

/** Every six hours, for so many days back. */
const often = (days: number) =>
  Array.from({ length: days * 4 }, (_, index) => point(new Date(now.getTime() - index * 6 * hour)))

test('without rules nothing expires', () => {
  assert.deepEqual(expiredOf(often(30), {}, { now }), [])
})

test('the newest of each day, week and month are kept, as many as was said', () => {
  const points = often(90)
  assert.deepEqual(
    kept(points, { last: 3 }),
    points.slice(0, 3).map(({ id }) => id),
  )
  assert.deepEqual(kept(points, { daily: 3 }), [
    '2026-11-24T12:00:00.000Z',
    '2026-11-23T18:00:00.000Z',
    '2026-11-22T18:00:00.000Z',
  ])
  // Weeks end on Sunday.
  assert.deepEqual(kept(points, { weekly: 3 }), [
    '2026-11-24T12:00:00.000Z',
    '2026-11-22T18:00:00.000Z',
    '2026-11-15T18:00:00.000Z',
  ])
  assert.deepEqual(kept(points, { monthly: 2, yearly: 1 }), [
    '2026-11-24T12:00:00.000Z',
    '2026-10-31T18:00:00.000Z',
  ])
  assert.equal(kept(points, { withinHours: 24 }).length, 5)
})

test('days are those of the time zone', () => {
  const points = [point('2026-11-23T23:30:00Z'), point('2026-11-23T22:30:00Z')]
  assert.equal(kept(points, { daily: 2 }).length, 1)
  // Half past midnight, and half past eleven of the day before.
  assert.equal(kept(points, { daily: 2 }, 'Europe/Berlin').length, 2)
  assert.throws(() => kept(points, { daily: 2 }, 'Nowhere/Town'), RangeError)
})

test('an hour that comes twice is two', () => {
  // 02:30 in summer time, and an hour later again.
  const points = [point('2026-10-25T01:30:00Z'), point('2026-10-25T00:30:00Z')]
  assert.equal(kept(points, { hourly: 5 }, 'Europe/Berlin').length, 2)
})

const anyRules: fc.Arbitrary<Retention> = fc.record(
  {
    last: fc.integer({ min: 1, max: 5 }),
    hourly: fc.integer({ min: 1, max: 5 }),
    daily: fc.integer({ min: 1, max: 5 }),
    weekly: fc.integer({ min: 1, max: 5 }),
    monthly: fc.integer({ min: 1, max: 5 }),
    yearly: fc.integer({ min: 1, max: 5 }),
    withinHours: fc.integer({ min: 1, max: 1000 }),
  },
  { requiredKeys: [] },
)
const anyPoints = fc
  .uniqueArray(fc.integer({ min: 0, max: 20_000 }), { maxLength: 40 })
  .map((ages) => ages.map((age) => point(new Date(now.getTime() - age * hour))))

test('the newest is kept always, no rule keeps more than it says, and what is kept stays kept', () => {
  fc.assert(
    fc.property(anyPoints, anyRules, (points, rules) => {
      const verdicts = judgeRetention(points, rules, { now })
      assert.equal(verdicts.length, points.length)
      if (points.length > 0) assert.ok(verdicts[0]?.reasons.includes('newest'))
      for (const [rule, most] of Object.entries(rules))
        if (rule !== 'withinHours')
          assert.ok(verdicts.filter(({ reasons }) => reasons.includes(rule)).length <= (most ?? 0))
      const left = verdicts.flatMap(({ point: one, reasons }) => (reasons.length > 0 ? [one] : []))
      assert.deepEqual(expiredOf(left, rules, { now }), [])
    }),
    { numRuns: 200 },
  )
})
