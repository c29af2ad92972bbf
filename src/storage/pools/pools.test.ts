import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { VisorError } from '../../model/index.ts'
import { openForTest } from '../testing/open-for-test.ts'

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted

async function opened(t: TestContext) {
  const storage = await openForTest()
  t.after(storage.close)
  const { pools, volumes } = storage.connection
  const path = join(storage.folder, 'pool')
  return { ...storage, pools, volumes, path, define: () => pools.define({ type: 'dir', name: 'fast', path }) }
}

test('the pool `default` is there by itself, until it is removed for good', async (t) => {
  const { pools, volumes, reopen } = await opened(t)
  assert.deepEqual(await volumes.list('default'), [])
  const [pool] = await pools.list()
  assert.equal(pool?.name, 'default')
  assert.equal(pool?.active, true)
  assert.ok((pool?.availableBytes ?? 0) > 0)
  assert.equal((await stat(pool?.path ?? '')).mode & 0o777, 0o700)
  await pools.destroy('default')
  await pools.undefine('default')
  const { connection } = await reopen()
  assert.deepEqual(await connection.pools.list(), [])
})

test('a pool is defined, built, started, stopped, and forgotten', async (t) => {
  const { pools, volumes, define, path } = await opened(t)
  const { uuid, active } = await define()
  assert.equal(active, false)
  await assert.rejects(volumes.list('fast'), code('invalid-state'))
  await assert.rejects(pools.start('fast'), (error) => {
    assert.ok(code('not-found')(error))
    assert.match(String((error as VisorError).remedy), /visor pool build fast/u)
    return true
  })
  await pools.build('fast')
  await pools.start(uuid)
  await assert.rejects(pools.start('fast'), code('invalid-state'))
  await volumes.create('fast', { name: 'a.raw', capacityBytes: 4096 })
  assert.equal((await pools.get('fast')).volumes, 1)
  for (const refused of [pools.undefine('fast'), pools.delete('fast'), define()])
    await assert.rejects(refused, code('invalid-state'))
  await pools.destroy('fast')
  await assert.rejects(volumes.list('fast'), code('invalid-state'))
  await assert.rejects(pools.delete('fast'), code('invalid-state'))
  await pools.start('fast')
  await volumes.remove('fast', 'a.raw')
  await pools.destroy('fast')
  await pools.delete('fast')
  await assert.rejects(stat(path), { code: 'ENOENT' })
  await pools.undefine('fast')
  await assert.rejects(pools.get('fast'), code('not-found'))
})

test('a daemon that comes later finds a pool started, or gone', async (t) => {
  const { pools, define, reopen, path } = await opened(t)
  await define()
  await pools.start('fast', { build: true })
  const second = await reopen()
  assert.equal((await second.connection.pools.get('fast')).active, true)
  await rm(path, { recursive: true })
  await assert.rejects(second.connection.pools.refresh('fast'), code('unavailable'))
  assert.equal((await second.connection.pools.get('fast')).active, false)
  const third = await second.reopen()
  assert.equal((await third.connection.pools.get('fast')).active, false)
})

test('a pool that starts with the host starts by being used, unless somebody stopped it', async (t) => {
  const { pools, volumes, define } = await opened(t)
  await define()
  await pools.build('fast')
  await pools.setAutostart('fast', { enabled: true })
  assert.deepEqual(await volumes.list('fast'), [])
  await pools.destroy('fast')
  await assert.rejects(volumes.list('fast'), code('invalid-state'))
})

test('two pools have neither one name nor one folder', async (t) => {
  const { pools, define, path, folder } = await opened(t)
  await define()
  await assert.rejects(pools.define({ type: 'dir', name: 'other', path }), code('already-exists'))
  await pools.define({ type: 'dir', name: 'other', path: join(folder, 'other') })
  const twin = { type: 'dir', name: 'other', path, uuid: crypto.randomUUID() } as const
  await assert.rejects(pools.define(twin), code('already-exists'))
})

test('what cannot be had is refused when it is defined', async (t) => {
  const { pools, path } = await opened(t)
  const source = { name: 'tank' }
  await assert.rejects(pools.define({ type: 'zfs', name: 'z', source }), code('unsupported-config'))
  await assert.rejects(
    pools.define({ type: 'dir', name: 'd', path, permissions: { label: 'x' } }),
    code('unsupported-config'),
  )
  assert.deepEqual(
    (await pools.list()).map(({ name }) => name),
    ['default'],
  )
})

test('what an earlier run left half made is removed when the pool starts', async (t) => {
  const { pools, define, path } = await opened(t)
  await define()
  await mkdir(path)
  await writeFile(join(path, '.new-1'), 'x')
  await writeFile(join(path, '.hidden'), 'x')
  await pools.start('fast')
  assert.deepEqual(await readdir(path), ['.hidden'])
})

test('a folder that is a file, or is closed, is named', async (t) => {
  const { pools, define, path, folder } = await opened(t)
  await define()
  await writeFile(path, '')
  await assert.rejects(pools.start('fast'), new RegExp(path, 'u'))
  if (process.getuid?.() === 0) return
  const closed = join(folder, 'closed')
  await mkdir(join(closed, 'pool'), { recursive: true })
  await chmod(closed, 0)
  await pools.define({ type: 'dir', name: 'closed', path: join(closed, 'pool') })
  await assert.rejects(pools.start('closed'), code('denied'))
  await chmod(closed, 0o700)
})
