import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { combine, guard, memoryStore, silentLog } from '../../driver/index.ts'
import { createOverlay, runChecked } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { openImages } from '../images.ts'
import { openStorage } from '../open.ts'
import { type Answer, body, opened, serve } from '../testing/image-server.ts'
import { noQemuImg } from '../testing/open-for-test.ts'
import { findDigest, parseDigest } from './checksums.ts'
import { findPublished, knownDistributions } from './distributions.ts'

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
const mebibyte = 2 ** 20

const sha256 = createHash('sha256').update(body).digest('hex')
const checksum = `sha256:${sha256}`

test('an image is pulled, told of, found again, and removed', async (t) => {
  const { pull, images, asked, partials } = await opened(t, { '/some.raw': serve() })
  const seen: number[] = []
  const image = await pull('/some.raw', {
    checksum,
    progress: ({ done }: { done: number }) => seen.push(done),
  })
  assert.deepEqual(await readFile(image.disk ?? ''), body)
  assert.deepEqual([image.name, image.arch, image.kind, image.format], ['some', 'x86_64', 'disk', 'raw'])
  assert.equal(seen.at(-1), body.length)
  assert.deepEqual(await pull('/some.raw', { checksum }), image)
  assert.equal(asked.length, 1)
  assert.deepEqual(await partials(), [])
  assert.equal((await images.get('some:x86_64')).url, image.url)
  await images.remove?.('some:x86_64')
  assert.deepEqual(await images.list(), [])
})

test('a download that breaks off goes on where it was', async (t) => {
  let breaks = 2
  const { pull, asked } = await opened(t, {
    '/a.raw': serve({ breakAfter: () => (breaks-- > 0 ? mebibyte : Number.POSITIVE_INFINITY) }),
  })
  const image = await pull('/a.raw', { checksum })
  assert.deepEqual(await readFile(image.disk ?? ''), body)
  const starts = asked.map((line) => Number(/bytes=(\d+)-$/u.exec(line)?.[1] ?? 0))
  assert.equal(starts.length, 3)
  // How much of what was sent has come is the network's business.
  assert.ok(starts[0] === 0 && (starts[1] ?? 0) > 0 && (starts[2] ?? 0) > (starts[1] ?? 0), String(starts))
})

test('a download that breaks off again and again is kept for the next call', async (t) => {
  let isBroken = true
  const { pull, asked, images } = await opened(t, {
    '/a.raw': serve({ breakAfter: () => (isBroken ? mebibyte / 4 : Number.POSITIVE_INFINITY) }),
  })
  await assert.rejects(pull('/a.raw', { checksum }), code('unavailable'))
  assert.deepEqual(await images.list(), [])
  isBroken = false
  const image = await pull('/a.raw', { checksum })
  assert.deepEqual(await readFile(image.disk ?? ''), body)
  assert.match(asked.at(-1) ?? '', /bytes=\d+-$/u)
})

test('a file that changed meanwhile is fetched anew', async (t) => {
  let count = 0
  const { pull } = await opened(t, {
    '/a.raw': (request, response) => {
      count++
      const options = { breakAfter: () => (count === 1 ? mebibyte : Number.POSITIVE_INFINITY) }
      serve({ ...options, etag: `"${count}"` })(request, response)
    },
  })
  const image = await pull('/a.raw', { checksum })
  assert.deepEqual(await readFile(image.disk ?? ''), body)
})

test('a server that stops sending is given up', async (t) => {
  const { pull } = await opened(t, {
    '/a.raw': (_, response) => void response.writeHead(200, { 'content-length': 100 }).write('x'),
  })
  await assert.rejects(pull('/a.raw', { checksum }), {
    code: 'unavailable',
    message: /nothing came for 0\.5 s/u,
  })
})

test('what is not what it should be is not taken, and not kept', async (t) => {
  const { pull, images, partials } = await opened(t, { '/a.raw': serve({ bytes: body.subarray(1) }) })
  await assert.rejects(pull('/a.raw', { checksum }), { code: 'failed', message: /is not what it should be/u })
  assert.deepEqual(await images.list(), [])
  assert.deepEqual(await partials(), [])
})

test('redirections are followed, not without end, and to servers only', async (t) => {
  const to =
    (location: string): Answer =>
    (_, response) =>
      void response.writeHead(302, { location }).end()
  const { pull } = await opened(t, {
    '/a.raw': to('/b.raw'),
    '/b.raw': serve(),
    '/ring.raw': to('/ring.raw'),
    '/file.raw': to('file:///etc/passwd'),
  })
  assert.equal((await pull('/a.raw', { checksum })).name, 'a')
  await assert.rejects(pull('/ring.raw'), { code: 'failed', message: /without end/u })
  await assert.rejects(pull('/file.raw'), code('invalid-argument'))
  await assert.rejects(pull('/missing.raw'), code('not-found'))
  await assert.rejects(pull('/no-format'), { code: 'invalid-argument', message: /does not say the format/u })
})

test('a server that lies about the length is not believed', async (t) => {
  const { pull, partials } = await opened(t, {
    '/huge.raw': (_, response) => void response.writeHead(200, { 'content-length': 2 ** 45 }).write('x'),
  })
  await assert.rejects(pull('/huge.raw'), code('failed'))
  assert.deepEqual(await partials(), [])
})

test('a pull that is cancelled leaves no image', async (t) => {
  const { pull, images } = await opened(t, {
    '/a.raw': (_, response) => void response.writeHead(200, { 'content-length': 100 }).write('x'),
  })
  const stop = new AbortController()
  const pulled = pull('/a.raw', { signal: stop.signal })
  setTimeout(() => stop.abort(), 50)
  await assert.rejects(pulled, code('cancelled'))
  assert.deepEqual(await images.list(), [])
})

test('an image that names another file is not taken', { skip: noQemuImg }, async (t) => {
  const { pull, folder, images } = await opened(t, {})
  await createOverlay(join(folder, 'evil.qcow2'), { file: '/etc/shadow', format: 'raw', sizeBytes: mebibyte })
  await assert.rejects(pull('x', { source: join(folder, 'evil.qcow2') }), {
    code: 'failed',
    message: /is based on another file, '\/etc\/shadow'/u,
  })
  await writeFile(join(folder, 'text.qcow2'), 'hello')
  await assert.rejects(pull('x', { source: join(folder, 'text.qcow2') }), code('failed'))
  await assert.rejects(pull('x', { source: join(folder, 'none.qcow2') }), code('not-found'))
  assert.deepEqual(await images.list(), [])
})

test('an image of a distribution is pulled by its name, with the digest that it publishes', async (t) => {
  const answers: Record<string, Answer> = {}
  const { pull, folder, url, images } = await opened(t, answers)
  await mkdir(join(folder, 'remotes'))
  const entry = {
    ...{ name: 'test-1', title: 'Test 1', aliases: ['test'], base: `${url}/{arch}/`, format: 'raw' },
    ...{ files: { x86_64: 'test.raw' }, checksums: { file: '{file}.SHA256', algorithm: 'sha256' } },
  }
  await writeFile(join(folder, 'remotes/test.json'), JSON.stringify({ images: [entry] }))
  answers['/x86_64/test.raw'] = serve()
  answers['/x86_64/test.raw.SHA256'] = (_, response) => void response.end(`${sha256}  test.raw\n`)
  const image = await pull('test')
  assert.deepEqual([image.name, image.title], ['test-1', 'Test 1'])
  assert.equal((await images.published?.())?.[0]?.name, 'test-1')
  answers['/x86_64/test.raw.SHA256'] = (_, response) => void response.end(`${sha256}  other.raw\n`)
  await assert.rejects(pull('test', { refresh: true }), {
    code: 'failed',
    message: /has no digest of 'test\.raw'/u,
  })
  await assert.rejects(pull('tset'), (error) =>
    /Did you mean 'test'\?/u.test((error as VisorError).remedy ?? ''),
  )
  await assert.rejects(pull('test', { arch: 'riscv64' }), code('not-found'))
  await writeFile(join(folder, 'remotes/bad.json'), '{"images":[{"name":"../x"}]}')
  await assert.rejects(pull('test'), { code: 'invalid-definition', message: /bad\.json/u })
})

test('volumes are copies of an image that share it, and outlive its next version', {
  skip: noQemuImg,
}, async (t) => {
  let bytes = body
  const { pull, folder, images } = await opened(t, {
    '/os.raw': (request, response) => serve({ bytes })(request, response),
  })
  const storage = await openStorage({
    ...{ stateDirectory: folder, runtimeDirectory: join(folder, 'run'), store: memoryStore() },
    ...{ log: silentLog, images: openImages({ stateDirectory: folder, log: silentLog }) },
  })
  t.after(() => storage.close())
  const info = () => Promise.reject(new Error('nobody asks'))
  const { volumes } = guard(combine([], { uri: 'test:///storage', info, storage, images }))
  await pull('/os.raw')
  const made = await Promise.all(
    ['a', 'b'].map((name) =>
      volumes.create('default', { name: `${name}.qcow2`, image: 'os:x86_64', capacityBytes: 8 * mebibyte }),
    ),
  )
  for (const { path, capacityBytes, base } of made) {
    assert.equal(capacityBytes, 8 * mebibyte)
    assert.match(base?.volume ?? '', /^image-os-x86_64-[0-9a-f]{12}\.raw$/u)
    await runChecked('qemu-img', ['check', '-q', path])
  }
  const first = made[0]?.base?.path ?? ''
  assert.equal((await stat(first)).nlink, 2)
  await assert.rejects(volumes.remove('default', made[0]?.base?.volume ?? ''), code('invalid-state'))
  bytes = randomBytes(mebibyte)
  await pull('/os.raw', { refresh: true })
  assert.deepEqual(await readFile(first), body)
  const later = await volumes.create('default', { name: 'c.qcow2', image: 'os:x86_64' })
  assert.equal(later.capacityBytes, mebibyte)
  assert.notEqual(later.base?.path, first)
  await images.remove?.('os:x86_64')
  assert.deepEqual(await readFile(first), body)
  await assert.rejects(volumes.create('default', { name: 'd.qcow2', image: 'os' }), code('not-found'))
})

test('lists of digests are read as their programs write them', () => {
  const hex = 'a'.repeat(64)
  const other = 'b'.repeat(64)
  for (const list of [
    `${other}  y\n${hex}  x\n`,
    `${hex} *x`,
    `# a remark\nSHA256 (y) = ${other}\nSHA256 (x) = ${hex.toUpperCase()}\n`,
    `${hex}\n`,
    `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${hex}  ./x\n`,
  ])
    assert.deepEqual(findDigest(list, 'x', 'sha256'), { algorithm: 'sha256', hex })
  for (const list of [
    '',
    `${hex}  y`,
    `${hex}  x\n${other}  x`,
    `${hex}0  x`,
    `${hex.slice(1)}  x`,
    `${hex}\n${other}`,
  ])
    assert.equal(findDigest(list, 'x', 'sha256'), undefined)
  assert.deepEqual(parseDigest(`SHA256:${hex}`), { algorithm: 'sha256', hex })
  for (const text of [hex, `md5:${hex}`, `sha256:${hex}0`, 'sha256:'])
    assert.throws(() => parseDigest(text), code('invalid-argument'))
})

test('each published image has an address for each of its architectures', async () => {
  const all = await knownDistributions('/nonexistent')
  assert.ok(all.length >= 10)
  for (const { name, files } of all)
    for (const arch of Object.keys(files)) {
      const { url, checksums } = findPublished(all, name, arch)
      assert.match(url, /^https:\/\/[^{}\s]+\.(?:qcow2|img)$/u)
      assert.match(checksums.url, /^https:\/\/[^{}\s]+$/u)
    }
})
