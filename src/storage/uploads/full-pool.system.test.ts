import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runChecked } from '../../host/index.ts'
import { fullPool } from '../testing/test-full-pool.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root, to mount a small file system'

test('a pool that becomes full in the middle of an upload has nothing left of it', { skip }, async () => {
  const { stdout } = await runChecked('unshare', ['--mount', process.execPath, fullPool], {
    timeoutMs: 120_000,
  })
  assert.deepEqual(JSON.parse(stdout), { tooLarge: 'failed', full: 'failed', left: [] })
})
