import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { silentLog } from '../driver/index.ts'
import { run } from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import { openVolumes } from './volumes.ts'

let stateDirectory = ''
before(async () => {
  stateDirectory = await mkdtemp(join(tmpdir(), 'visor-volumes-'))
})
after(() => rm(stateDirectory, { recursive: true, force: true }))

const open = (folder: string) => openVolumes({ stateDirectory: join(stateDirectory, folder), log: silentLog })
const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
const hasQemuImg = await run('qemu-img', ['--version']).then(
  () => true,
  () => false,
)

test('a raw volume is made, listed and removed', async () => {
  const volumes = open('raw')
  assert.deepEqual(await volumes.list(), [])
  const made = await volumes.create?.('a.raw', { sizeBytes: 1000 })
  assert.equal(made?.capacityBytes, 1024)
  assert.equal(made?.format, 'raw')
  assert.equal((await stat(made?.path ?? '')).mode & 0o777, 0o600)
  assert.deepEqual(
    (await volumes.list()).map(({ name }) => name),
    ['a.raw'],
  )
  await volumes.remove?.('a.raw')
  await assert.rejects(volumes.get('a.raw'), code('not-found'))
  assert.deepEqual(await readdir(join(stateDirectory, 'raw/volumes')), [])
})

test('a qcow2 volume has the size asked for', {
  skip: hasQemuImg ? false : 'qemu-img is not installed',
}, async () => {
  const made = await open('qcow2').create?.('a.qcow2', { sizeBytes: 20 * 2 ** 30 })
  assert.equal(made?.capacityBytes, 20 * 2 ** 30)
  assert.ok((made?.allocationBytes ?? 0) < 2 ** 20)
})

test('a volume there is is never replaced', async () => {
  const volumes = open('twice')
  const results = await Promise.allSettled(
    [1, 2, 3].map((n) => volumes.create?.('a.raw', { sizeBytes: n * 512 })),
  )
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const result of results)
    if (result.status === 'rejected') assert.ok(code('already-exists')(result.reason), String(result.reason))
  assert.equal((await readdir(join(stateDirectory, 'twice/volumes'))).length, 1)
})

test('a name cannot lead out of the folder', async () => {
  const volumes = open('names')
  for (const name of [
    '../a.raw',
    '/etc/a.raw',
    '.hidden.raw',
    'a',
    'a.iso',
    '',
    'a/b.raw',
    `${'a'.repeat(300)}.raw`,
  ]) {
    await assert.rejects(
      async () => volumes.create?.(name, { sizeBytes: 512 }),
      code('invalid-argument'),
      name,
    )
    await assert.rejects(async () => volumes.get(name), code('invalid-argument'), name)
    await assert.rejects(async () => volumes.remove?.(name), code('invalid-argument'), name)
  }
})

test('what an earlier run left half made is removed', async () => {
  const folder = join(stateDirectory, 'leftover/volumes')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, '.new-1'), 'x')
  const volumes = open('leftover')
  await volumes.create?.('a.raw', { sizeBytes: 512 })
  assert.deepEqual(await readdir(folder), ['a.raw'])
})

test('a volume that is cancelled leaves nothing', {
  skip: hasQemuImg ? false : 'qemu-img is not installed',
}, async () => {
  const volumes = open('cancelled')
  const signal = AbortSignal.abort()
  await assert.rejects(async () => volumes.create?.('a.qcow2', { sizeBytes: 512, signal }), code('cancelled'))
  assert.deepEqual(await readdir(join(stateDirectory, 'cancelled/volumes')), [])
})
