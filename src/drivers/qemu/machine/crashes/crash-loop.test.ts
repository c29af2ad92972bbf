import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countCrashes, restartDelayMs } from './crash-loop.ts'

test('each crash soon after a start doubles the wait, to a minute; a long run ends that', () => {
  const waits: number[] = []
  let count = 0
  for (const ranMs of [100, 5_000, 59_999, 0, 0, 0, 0, 0, 60_000, 10]) {
    count = countCrashes(count, ranMs)
    waits.push(restartDelayMs(count) / 1000)
  }
  assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 0, 1])
  assert.equal(restartDelayMs(1e6), 60_000)
})
