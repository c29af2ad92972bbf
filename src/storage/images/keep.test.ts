import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { combine, guard, memoryStore, receiveVolume, silentLog } from '../../driver/index.ts'
import { runChecked } from '../../host/index.ts'
import type { VisorError } from '../../model/index.ts'
import { openStorage } from '../open.ts'
import { type Answer, body, opened, serve } from '../testing/image-server.ts'
import { noQemuImg } from '../testing/open-for-test.ts'

const mebibyte = 2 ** 20
const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const checksum = `sha256:${digest(body)}`

/** Images and volumes as users have them. */
async function host(t: TestContext, answers: Record<string, Answer> = {}) {
  const there = await opened(t, answers)
  const { folder, images } = there
  const storage = await openStorage({
    ...{ stateDirectory: folder, runtimeDirectory: join(folder, 'run'), store: memoryStore() },
    ...{ log: silentLog, images },
  })
  t.after(() => storage.close())
  const info = () => Promise.reject(new Error('nobody asks'))
  const connection = guard(combine([], { uri: 'test:///images', info, storage, images }))
  return { ...there, connection }
}

/** The image was last used so long ago. */
async function age(disk: string | undefined, days: number): Promise<void> {
  const then = new Date(Date.now() - days * 86_400_000)
  await utimes(join(dirname(disk ?? ''), 'image.json'), then, then)
}

test('one file of a digest is fetched and kept once, whatever its names', async (t) => {
  const { pull, asked } = await opened(t, { '/a.raw': serve(), '/b.raw': serve() })
  const a = await pull('/a.raw', { checksum })
  const b = await pull('/b.raw', { checksum })
  assert.equal(asked.length, 1)
  // Without a digest it has to be fetched to be known.
  const c = await pull('/b.raw', { name: 'c' })
  assert.equal(asked.length, 2)
  const inodes = await Promise.all([a, b, c].map(async ({ disk }) => (await stat(disk ?? '')).ino))
  assert.equal(new Set(inodes).size, 1)
  const sha512 = `sha512:${createHash('sha512').update(body).digest('hex')}`
  await pull('/a.raw', { name: 'd', checksum: sha512 })
  await pull('/b.raw', { name: 'e', checksum: sha512 })
  assert.equal(asked.length, 3)
})

test('a file that is there and damaged is not shared', async (t) => {
  const { pull, asked } = await opened(t, { '/a.raw': serve(), '/b.raw': serve() })
  const a = await pull('/a.raw', { checksum })
  await truncate(a.disk ?? '', 100)
  const b = await pull('/b.raw', { checksum })
  assert.deepEqual(await readFile(b.disk ?? ''), body)
  assert.equal(asked.length, 2)
})

test('what is fetched twice at once is fetched once', async (t) => {
  const { pull, asked } = await opened(t, { '/a.raw': serve() })
  const both = await Promise.all(['x', 'y'].map((name) => pull('/a.raw', { checksum, name })))
  for (const { disk } of both) assert.deepEqual(await readFile(disk ?? ''), body)
  assert.equal(asked.length, 1)
})

test('an image is exported as it lies and converted', { skip: noQemuImg }, async (t) => {
  const { pull, folder, connection, partials } = await host(t, { '/a.raw': serve() })
  await pull('/a.raw', { checksum })
  const { volumes, images } = connection
  const source = {
    volumes: { ...volumes, download: (_: string, key: string, o = {}) => images.export(key, o) },
  }
  const save = async (file: string, options: object) =>
    receiveVolume(source, '', 'a', {
      ...options,
      async write(content) {
        const chunks: Uint8Array[] = []
        for await (const part of content)
          chunks.push(part instanceof Uint8Array ? Uint8Array.from(part) : new Uint8Array(part.holeBytes))
        await writeFile(file, Buffer.concat(chunks))
      },
    })
  const whole = join(folder, 'whole')
  const { sha256 } = await save(whole, { checksum: true })
  assert.equal(sha256, digest(body))
  assert.deepEqual(await readFile(whole), body)
  for (const format of ['qcow2', 'vmdk', 'vdi', 'vhdx'] as const) {
    const file = join(folder, `out.${format}`)
    await save(file, { format })
    await runChecked('qemu-img', ['compare', '-f', 'raw', '-F', format, whole, file])
  }
  assert.deepEqual(await partials(), [])
  await assert.rejects(images.export('none'), { code: 'not-found' })
})

test('a volume becomes an image that is based on nothing', { skip: noQemuImg }, async (t) => {
  const { pull, connection, folder } = await host(t, { '/os.raw': serve() })
  const { images, volumes } = connection
  await pull('/os.raw', { checksum })
  const { path } = await volumes.create('default', {
    ...{ name: 'web.qcow2', image: 'os:x86_64', capacityBytes: 8 * mebibyte },
  })
  await runChecked('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 5M 64k', path])
  const image = await images.publish({ name: 'golden', volume: 'web.qcow2', arch: 'x86_64', compress: true })
  assert.deepEqual([image.name, image.format, image.title], ['golden', 'qcow2', 'made of web.qcow2'])
  await runChecked('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', path, image.disk ?? ''])
  const { stdout } = await runChecked('qemu-img', ['info', '--output=json', image.disk ?? ''])
  assert.equal(JSON.parse(stdout)['backing-filename'], undefined)
  assert.equal((await images.get('golden:x86_64')).virtualSizeBytes, 8 * mebibyte)
  const again = { name: 'golden', volume: 'web.qcow2', arch: 'x86_64' }
  await assert.rejects(images.publish(again), { code: 'already-exists' })
  assert.ok((await images.publish({ ...again, replace: true })).sha256 !== image.sha256)
  await assert.rejects(images.publish({ name: 'x' }), { code: 'invalid-argument' })
  await assert.rejects(images.publish({ name: 'x', volume: 'none' }), { code: 'not-found' })
  await volumes.create('default', {
    name: 'locked.qcow2',
    capacityBytes: mebibyte,
    encryption: { format: 'luks' },
  })
  await assert.rejects(
    images.publish({ name: 'x', volume: 'locked.qcow2' }),
    (error: VisorError) => /not be/u.test(error.message) && /--decrypt/u.test(error.remedy ?? ''),
  )
  assert.deepEqual(
    (await images.list()).map(({ name }) => name),
    ['golden', 'os'],
  )
  assert.deepEqual(
    (await readdir(join(folder, 'images'))).length,
    5,
    'two images, their builds, and the folder of downloads',
  )
})

test('an image tells who is based on it', { skip: noQemuImg }, async (t) => {
  const { pull, connection } = await host(t, { '/os.raw': serve() })
  await pull('/os.raw', { checksum })
  assert.deepEqual((await connection.images.get('os:x86_64')).usedBy, [])
  await connection.volumes.create('default', { name: 'web.qcow2', image: 'os:x86_64' })
  const { usedBy, virtualSizeBytes } = await connection.images.get('os:x86_64')
  assert.deepEqual(usedBy, [{ kind: 'volume', name: 'web.qcow2' }])
  assert.equal(virtualSizeBytes, body.length)
})

test('what nobody uses is removed, and nothing else', { skip: noQemuImg }, async (t) => {
  let bytes = body
  const { pull, connection, folder, partials } = await host(t, {
    '/used.raw': (request, response) => serve({ bytes })(request, response),
    '/old.raw': serve({ bytes: randomBytes(mebibyte) }),
    '/new.raw': serve({ bytes: randomBytes(mebibyte) }),
    '/broken.raw': serve({ breakAfter: () => 1000 }),
  })
  const { images, volumes } = connection
  const used = await pull('/used.raw')
  const old = await pull('/old.raw')
  await pull('/new.raw')
  await volumes.create('default', { name: 'web.qcow2', image: 'used:x86_64' })
  await age(used.disk, 60)
  await age(old.disk, 60)
  await assert.rejects(pull('/broken.raw', { checksum: `sha256:${'a'.repeat(64)}` }), { code: 'unavailable' })
  await mkdir(join(folder, 'images/.build-1-1-left'))
  await writeFile(join(folder, 'images/.build-1-1-left/disk.raw'), 'x')
  const wanted = { olderThanSeconds: 30 * 86_400 }
  const told = await images.prune({ ...wanted, dryRun: true })
  assert.deepEqual(
    told.items.map(({ kind }) => kind),
    ['download', 'build', 'image'],
  )
  assert.match(told.items[0]?.name ?? '', /broken\.raw$/u)
  assert.equal(told.items[2]?.name, 'old:x86_64')
  assert.ok(told.freedBytes >= mebibyte)
  assert.equal((await images.list()).length, 3)
  const done = await images.prune(wanted)
  assert.deepEqual(done, { ...told, dryRun: false })
  assert.deepEqual(
    (await images.list()).map(({ name }) => name),
    ['new', 'used'],
  )
  assert.deepEqual(await partials(), [])
  assert.deepEqual((await images.prune(wanted)).items, [])
  // The next version of an image leaves what volumes are based on, until they are gone.
  bytes = randomBytes(mebibyte)
  await pull('/used.raw', { refresh: true })
  assert.deepEqual((await images.prune()).items, [])
  await volumes.remove('default', 'web.qcow2')
  const last = await images.prune()
  assert.deepEqual(
    last.items.map(({ kind }) => kind),
    ['volume'],
  )
  assert.ok(last.freedBytes >= body.length)
  assert.deepEqual(await volumes.list('default'), [])
})

test('a download that is under way is not pruned', async (t) => {
  const begun = Promise.withResolvers<void>()
  const release = Promise.withResolvers<void>()
  const { pull, connection } = await host(t, {
    '/slow.raw': (_, response) => {
      response.writeHead(200, { 'content-length': body.length })
      response.write(body.subarray(0, mebibyte), () => begun.resolve())
      void release.promise.then(() => response.end(body.subarray(mebibyte)))
    },
  })
  const pulled = pull('/slow.raw', { checksum })
  await begun.promise
  assert.deepEqual((await connection.images.prune()).items, [])
  release.resolve()
  assert.deepEqual(await readFile((await pulled).disk ?? ''), body)
})
