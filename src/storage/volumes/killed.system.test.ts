/** Who keeps storage dies by kill -9 in the middle of long work: the next finds all as it was, and nothing half made. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, open, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { hashFile } from '../../host/index.ts'
import { killedStorage, openKeptStorage } from '../testing/killed-storage.ts'
import { noQemuImg } from '../testing/open-for-test.ts'

const mebibyte = 2 ** 20

/** So much that it takes a while, and no two blocks alike. */
async function fill(path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const block = randomBytes(mebibyte)
    for (let at = 0; at < 512; at++) {
      block.writeUInt32LE(at)
      await file.write(block, 0, mebibyte, at * mebibyte)
    }
  } finally {
    await file.close()
  }
}

/** What is being made in a folder, when it has at least so many bytes. */
async function isUnderWay(folder: string, bytes: number): Promise<boolean> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith('.new-')) continue
    const { blocks } = await stat(join(folder, name)).catch(() => ({ blocks: 0 }))
    if (blocks * 512 >= bytes) return true
  }
  return false
}

for (const what of ['convert', 'encrypt', 'allocate', 'download'])
  test(`${what}: nothing is left, and it can be done again`, { skip: noQemuImg }, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'visor-test-killed-'))
    t.after(() => rm(folder, { recursive: true, force: true }))
    const pool = join(folder, 'state/volumes')
    const before = await openKeptStorage(folder)
    const source = await before.connection.volumes.create('default', {
      name: 'source.raw',
      capacityBytes: 512 * mebibyte,
    })
    await fill(source.path)
    const content = await hashFile(source.path)
    await before.close()

    const child = spawn(process.execPath, [killedStorage, folder, what], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(child, 'exit')
    await Promise.race([once(child.stdout, 'data'), ended])
    while (child.exitCode === null && !(await isUnderWay(pool, 4 * mebibyte)))
      await new Promise((resolve) => setTimeout(resolve, 5))
    child.kill('SIGKILL')
    const [, signal] = await ended
    assert.equal(signal, 'SIGKILL', 'It was done before it could be killed.')

    const after = await openKeptStorage(folder)
    t.after(after.close)
    const { volumes, secrets } = after.connection
    assert.deepEqual(
      (await volumes.list('default')).map(({ name }) => name),
      ['source.raw'],
    )
    // The program that did the work ended with who started it: nothing comes back.
    for (let rounds = 0; rounds < 10; rounds++) {
      assert.deepEqual(await readdir(pool), ['source.raw'])
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.deepEqual(await readdir(join(folder, 'run')).then((names) => names.includes('keys')), false)
    assert.equal(await hashFile(source.path), content)
    const copy = await volumes.clone('default', 'source.raw', { name: 'copy.raw' })
    assert.equal(await hashFile(copy.path), content)
    assert.deepEqual(await secrets.list(), [])
  })
