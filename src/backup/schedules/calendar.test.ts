import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VisorError } from '../../model/index.ts'
import { readCalendar } from './calendar.ts'

const now = new Date('2026-11-24T12:00:00Z')
const nexts = (cron: string, timezone: string, after: Date, many: number) => {
  const calendar = readCalendar({ cron, timezone }, now)
  const found: string[] = []
  for (let at: Date | undefined = after; found.length < many && at; ) {
    at = calendar.next(at)
    if (at) found.push(at.toISOString())
  }
  return found
}

test('times come as crontab(5) says, in their time zone', () => {
  assert.deepEqual(nexts('30 3 * * *', 'UTC', now, 2), [
    '2026-11-25T03:30:00.000Z',
    '2026-11-26T03:30:00.000Z',
  ])
  assert.deepEqual(nexts('30 3 * * *', 'Europe/Berlin', now, 1), ['2026-11-25T02:30:00.000Z'])
  assert.deepEqual(nexts('@weekly', 'UTC', now, 1), ['2026-11-29T00:00:00.000Z'])
  assert.deepEqual(nexts('*/20 8-9 * * 1-5', 'UTC', new Date('2026-11-27T09:30:00Z'), 2), [
    '2026-11-27T09:40:00.000Z',
    '2026-11-30T08:00:00.000Z',
  ])
})

test('an hour that summer time leaves out is not missed, and one that it repeats comes once', () => {
  const spring = nexts('30 2 * * *', 'Europe/Berlin', new Date('2026-03-28T12:00:00Z'), 2)
  assert.equal(spring.length, 2)
  assert.ok(spring[0]?.startsWith('2026-03-29T'))
  assert.deepEqual(
    nexts('30 2 * * *', 'Europe/Berlin', new Date('2026-10-24T12:00:00Z'), 2).map((one) => one.slice(0, 10)),
    ['2026-10-25', '2026-10-26'],
  )
})

test('what is no time is refused, with what to write', () => {
  const refused = (cron: string, timezone?: string) =>
    assert.throws(
      () => readCalendar({ cron, timezone }, now),
      (error) =>
        error instanceof VisorError && error.code === 'invalid-definition' && error.remedy !== undefined,
      cron,
    )
  refused('')
  refused('every day')
  refused('61 * * * *')
  refused('0 0 30 2 *')
  refused('* * * * * *')
  refused('@sometimes')
  refused('0 0 * * *', 'Nowhere/Town')
})
