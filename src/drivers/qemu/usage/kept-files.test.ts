import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { keptFiles } from './kept-files.ts'

test('kept files are read as they are now, long ones too, and are closed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'visor-kept-'))
  const openBefore = (await readdir('/proc/self/fd')).length
  try {
    const path = join(folder, 'one')
    const files = keptFiles()
    assert.equal(files.read(path), '')
    for (const text of ['1 2 3\n', '4\n', '', 'x'.repeat(10_000)]) {
      await writeFile(path, text)
      assert.equal(files.read(path), text)
    }
    assert.equal((await readdir('/proc/self/fd')).length, openBefore + 1)
    files.close()
    assert.equal(files.read(path).length, 10_000)
    assert.equal((await readdir('/proc/self/fd')).length, openBefore)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a process that has ended has nothing to tell', async () => {
  const child = spawn('sleep', ['100'])
  const files = keptFiles()
  const path = `/proc/${child.pid}/stat`
  assert.match(files.read(path), /\(sleep\)/u)
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
  assert.equal(files.read(path), '')
  files.close()
})
