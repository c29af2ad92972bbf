import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTidier } from './tidy.ts'

describe('tidy', () => {
  it('gives memory back when all is quiet', async () => {
    const tidier = createTidier({ quietMs: 20, growthBytes: 2 ** 20 })
    const gone = new WeakRef({ burst: Array.from({ length: 200_000 }, (_, index) => ({ index })) })
    const before = process.memoryUsage().heapUsed
    tidier.touch()
    while (gone.deref()) await sleep(20)
    assert.ok(process.memoryUsage().heapUsed < before)
    tidier.stop()
  })
})
