/** Packages of the distribution as hosts have them: with the real apt and its archive. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { run } from '../host/index.ts'
import { emptyPackageLists } from './testing/empty-package-lists.ts'

async function whyNot(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'only root can hide the package lists of the host'
  if ((await run('which', ['apt-get'])).code !== 0) return 'there is no apt-get to fetch packages with'
  return false
}

test('a host whose package lists were never fetched has packages all the same', {
  skip: await whyNot(),
}, async () => {
  const { code, stdout, stderr } = await run('unshare', ['--mount', process.execPath, emptyPackageLists], {
    timeoutMs: 300_000,
  })
  assert.equal(code, 0, stderr)
  assert.deepEqual(JSON.parse(stdout), ['busybox-static'])
})
