import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { chmod, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Content, ContentPart } from '../../driver/index.ts'
import { createOverlay, runChecked } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { noQemuImg, openForTest } from '../testing/open-for-test.ts'

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const mebibyte = 2 ** 20

async function opened(t: TestContext) {
  const storage = await openForTest()
  t.after(() => storage.close())
  const { volumes, uploads } = storage.connection
  const folder = join(storage.folder, 'state/volumes')
  await volumes.list('default')
  return { ...storage, volumes, uploads, folder, names: () => readdir(folder) }
}

async function* from(...parts: readonly ContentPart[]): Content & AsyncGenerator<ContentPart> {
  yield* parts
}

/** A source that fails behind these. */
async function* broken(...parts: readonly ContentPart[]): Content & AsyncGenerator<ContentPart> {
  yield* parts
  throw new VisorError('unavailable', 'the cable was pulled')
}

async function collect(content: Content): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const part of content)
    chunks.push(part instanceof Uint8Array ? Buffer.from(part) : Buffer.alloc(part.holeBytes))
  return Buffer.concat(chunks)
}

test('an upload is a volume when it is whole, and not before', async (t) => {
  const { volumes, uploads, names } = await opened(t)
  const bytes = randomBytes(3 * mebibyte + 17)
  const { id } = await uploads.create('default', {
    volume: 'a.raw',
    sizeBytes: bytes.length,
    sha256: sha256(bytes),
  })
  const half = await uploads.append('default', id, from(bytes.subarray(0, mebibyte)), { offset: 0 })
  assert.equal(half.offset, mebibyte)
  assert.deepEqual(await volumes.list('default'), [])
  await assert.rejects(uploads.finish('default', id), code('invalid-state'))
  const rest = from(bytes.subarray(mebibyte, mebibyte + 5), bytes.subarray(mebibyte + 5))
  assert.equal((await uploads.append('default', id, rest, { offset: mebibyte })).offset, bytes.length)
  assert.deepEqual(await volumes.list('default'), [])
  const made = await uploads.finish('default', id)
  assert.equal(made.name, 'a.raw')
  assert.ok(bytes.equals(await readFile(made.path)))
  assert.equal((await stat(made.path)).mode & 0o777, 0o600)
  assert.deepEqual(await names(), ['a.raw'])
  await assert.rejects(uploads.get('default', id), code('not-found'))
})

test('a wrong checksum is refused, and nothing is left', async (t) => {
  const { uploads, names } = await opened(t)
  const { id } = await uploads.create('default', { volume: 'a.raw', sha256: '0'.repeat(64) })
  await uploads.append('default', id, from(Buffer.from('something')), { offset: 0 })
  await assert.rejects(uploads.finish('default', id), code('invalid-argument'))
  assert.deepEqual(await names(), [])
})

test('what broke off goes on, also after the daemon', async (t) => {
  const first = await opened(t)
  const bytes = randomBytes(2 * mebibyte)
  const wanted = { volume: 'a.raw', sizeBytes: bytes.length, source: 'of the test' }
  const { id } = await first.uploads.create('default', wanted)
  const came = bytes.subarray(0, mebibyte + 1)
  await assert.rejects(first.uploads.append('default', id, broken(came), { offset: 0 }), code('unavailable'))
  const { connection } = await first.reopen()
  assert.deepEqual(
    (await connection.uploads.list('default')).map(({ offset }) => offset),
    [came.length],
  )
  assert.equal((await connection.uploads.create('default', wanted)).id, id)
  assert.notEqual((await connection.uploads.create('default', { ...wanted, source: 'of another' })).id, id)
  await assert.rejects(connection.uploads.append('default', id, from(bytes), { offset: 0 }), code('conflict'))
  await connection.uploads.append('default', id, from(bytes.subarray(came.length)), { offset: came.length })
  const { path } = await connection.uploads.finish('default', id)
  assert.ok(bytes.equals(await readFile(path)))
})

test('more of an upload breaks off what is under way', async (t) => {
  const { uploads } = await opened(t)
  const { id } = await uploads.create('default', { volume: 'a.raw', sizeBytes: 8 })
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  async function* stuck(): Content & AsyncGenerator<ContentPart> {
    yield Buffer.from('1234')
    ask()
    await new Promise(() => {})
  }
  const before = uploads.append('default', id, stuck(), { offset: 0 })
  const ended = assert.rejects(before, code('cancelled'))
  await asked
  await assert.rejects(uploads.append('default', id, from(), { offset: 0 }), code('conflict'))
  await ended
  assert.equal((await uploads.get('default', id)).offset, 4)
  await uploads.append('default', id, from(Buffer.from('5678')), { offset: 4 })
  assert.equal(await readFile((await uploads.finish('default', id)).path, 'utf8'), '12345678')
})

test('no more comes than was said, nor than there is room for', async (t) => {
  const { uploads, connection, names } = await opened(t)
  const { id } = await uploads.create('default', { volume: 'a.raw', sizeBytes: 4 })
  await assert.rejects(
    uploads.append('default', id, from(Buffer.from('12345')), { offset: 0 }),
    code('invalid-argument'),
  )
  await assert.rejects(
    uploads.append('default', id, from({ holeBytes: 5 }), { offset: 0 }),
    code('invalid-argument'),
  )
  const { availableBytes = 0 } = await connection.pools.get('default')
  const wanted = { volume: 'b.raw', sizeBytes: availableBytes * 2 }
  await assert.rejects(uploads.create('default', wanted), code('failed'))
  const holes = await uploads.create('default', { ...wanted, allocationBytes: 0 })
  await uploads.remove('default', holes.id)
  await uploads.remove('default', id)
  assert.deepEqual(await names(), [])
})

test('those that nobody goes on with are removed, also when the host was off meanwhile', async (t) => {
  const { uploads, folder, names } = await opened(t)
  const old = await uploads.create('default', { volume: 'a.raw' })
  const other = await uploads.create('default', { volume: 'b.raw' })
  const kept = await uploads.create('default', { volume: 'c.raw' })
  const ago = Date.now() / 1000 - 2 * 86_400
  await utimes(join(folder, `.upload-${old.id}`), ago, ago)
  const record = join(folder, `.upload-${other.id}.json`)
  await writeFile(record, (await readFile(record, 'utf8')).replace(/"bootId":"./u, '"bootId":"-'))
  await writeFile(join(folder, `.upload-${crypto.randomUUID()}.json`), 'no record')
  assert.deepEqual(
    (await uploads.list('default')).map(({ id }) => id),
    [kept.id],
  )
  assert.deepEqual((await names()).sort(), [`.upload-${kept.id}`, `.upload-${kept.id}.json`])
  await assert.rejects(uploads.get('default', '../../etc/passwd'), code('not-found'))
})

test('a volume there is is replaced only when that is said, and stays what it is', async (t) => {
  const { volumes, uploads, folder } = await opened(t)
  const there = await volumes.create('default', { name: 'a.raw', capacityBytes: mebibyte })
  await chmod(there.path, 0o640)
  await assert.rejects(uploads.create('default', { volume: 'a.raw' }), code('already-exists'))
  await assert.rejects(
    uploads.create('default', { volume: 'a.raw', replace: true, format: 'qcow2' }),
    code('invalid-argument'),
  )
  const { id } = await uploads.create('default', { volume: 'a.raw', replace: true })
  await uploads.append('default', id, from(Buffer.from('new')), { offset: 0 })
  const { path, capacityBytes } = await uploads.finish('default', id)
  assert.equal(capacityBytes, 3)
  assert.equal((await stat(path)).mode & 0o777, 0o640)

  await createOverlay(join(folder, 'child.qcow2'), { file: path, format: 'raw', sizeBytes: 3 })
  const again = await uploads.create('default', { volume: 'a.raw', replace: true })
  await assert.rejects(uploads.finish('default', again.id), code('invalid-state'))
  assert.equal(await readFile(path, 'utf8'), 'new')
  // What is in its way may go: it stays.
  await uploads.get('default', again.id)
})

test('what comes is what was said, and leads nowhere', { skip: noQemuImg }, async (t) => {
  const { uploads, folder, names, volumes } = await opened(t)
  const make = async (name: string, ...args: string[]) => {
    const path = join(folder, '..', name)
    await runChecked('qemu-img', ['create', '-q', ...args, '-f', name.split('.')[1] ?? '', path, '1M'])
    return readFile(path)
  }
  const send = async (volume: string, bytes: Buffer, format?: 'raw' | 'qcow2') => {
    const { id } = await uploads.create('default', { volume, ...(format && { format }) })
    await uploads.append('default', id, from(bytes), { offset: 0 })
    return uploads.finish('default', id)
  }
  const plain = await make('plain.qcow2')
  assert.equal((await send('a.qcow2', plain)).capacityBytes, mebibyte)
  assert.equal((await send('named', plain, 'qcow2')).format, 'qcow2')
  assert.equal((await send('b.raw', plain)).format, 'raw')
  await assert.rejects(send('c.qcow2', Buffer.from('nothing')), code('invalid-argument'))
  await assert.rejects(send('c', plain), code('invalid-argument'))
  await assert.rejects(send('c.vmdk', plain), code('invalid-argument'))

  const outside = await make('outside.qcow2', '-u', '-b', '/etc/shadow', '-F', 'raw')
  await assert.rejects(send('c.qcow2', outside), code('denied'))
  const relative = await make('up.qcow2', '-u', '-b', '../../secret', '-F', 'raw')
  await assert.rejects(send('c.qcow2', relative), code('denied'))
  const here = await make('here.qcow2', '-u', '-b', 'a.qcow2', '-F', 'qcow2')
  assert.equal((await send('c.qcow2', here)).base?.volume, 'a.qcow2')
  const flat = Buffer.from(
    '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "b.raw" 0\n',
  )
  await assert.rejects(send('d.vmdk', flat), (error) => error instanceof VisorError)
  assert.deepEqual((await names()).sort(), ['a.qcow2', 'b.raw', 'c.qcow2', 'named'])
  assert.equal((await volumes.list('default')).length, 4)
})

test('holes stay holes, both ways', async (t) => {
  const { volumes, uploads } = await opened(t)
  const bytes = randomBytes(mebibyte)
  const sizeBytes = 8 * 2 ** 30
  const { id } = await uploads.create('default', {
    volume: 'a.raw',
    sizeBytes,
    allocationBytes: 2 * mebibyte,
  })
  const parts = [{ holeBytes: 2 ** 30 }, bytes, { holeBytes: sizeBytes - 2 ** 30 - mebibyte }]
  await uploads.append('default', id, from(...parts), { offset: 0 })
  const { allocationBytes, capacityBytes } = await uploads.finish('default', id)
  assert.equal(capacityBytes, sizeBytes)
  assert.ok(allocationBytes <= 2 * mebibyte)
  let data = 0
  let all = 0
  for await (const part of await volumes.download('default', 'a.raw')) {
    if (part instanceof Uint8Array) data += part.length
    all += part instanceof Uint8Array ? part.length : part.holeBytes
  }
  assert.equal(all, sizeBytes)
  assert.ok(data <= 2 * mebibyte)
  // Zeros that were sent as such.
  const sent = await uploads.create('default', { volume: 'b.raw' })
  await uploads.append('default', sent.id, from(Buffer.alloc(mebibyte), bytes, Buffer.alloc(mebibyte)), {
    offset: 0,
  })
  const { path, allocationBytes: taken } = await uploads.finish('default', sent.id)
  assert.ok(taken <= mebibyte + 65_536)
  assert.deepEqual(
    await readFile(path),
    Buffer.concat([Buffer.alloc(mebibyte), bytes, Buffer.alloc(mebibyte)]),
  )
})

test('a part of a volume is read, and written in place', async (t) => {
  const { volumes } = await opened(t)
  const { path } = await volumes.create('default', { name: 'a.raw', capacityBytes: mebibyte })
  const bytes = randomBytes(mebibyte)
  await volumes.write('default', 'a.raw', from(bytes))
  await volumes.write('default', 'a.raw', from(Buffer.from('abc'), { holeBytes: 8192 }), { offset: 5 })
  const expected = Buffer.concat([
    bytes.subarray(0, 5),
    Buffer.from('abc'),
    Buffer.alloc(8192),
    bytes.subarray(8200),
  ])
  assert.deepEqual(await readFile(path), expected)
  const part = await volumes.download('default', 'a.raw', { offset: 3, lengthBytes: 7 })
  assert.deepEqual([part.sizeBytes, part.offset, part.lengthBytes], [mebibyte, 3, 7])
  assert.deepEqual(await collect(part), expected.subarray(3, 10))
  assert.equal((await collect(await volumes.download('default', 'a.raw', { offset: mebibyte }))).length, 0)
  await assert.rejects(
    volumes.download('default', 'a.raw', { offset: mebibyte + 1 }),
    code('invalid-argument'),
  )
  const beyond = volumes.write('default', 'a.raw', from(bytes), { offset: 1 })
  await assert.rejects(beyond, code('invalid-argument'))
  const long = volumes.write('default', 'a.raw', from(bytes), { lengthBytes: 4 })
  await assert.rejects(long, code('invalid-argument'))
  assert.equal((await stat(path)).size, mebibyte)
})

test('only raw volumes are written in place', { skip: noQemuImg }, async (t) => {
  const { volumes } = await opened(t)
  await volumes.create('default', { name: 'a.qcow2', capacityBytes: mebibyte })
  await assert.rejects(volumes.write('default', 'a.qcow2', from()), code('unsupported-config'))
})

test('a download is of one state of the volume', async (t) => {
  const { volumes } = await opened(t)
  const { path } = await volumes.create('default', { name: 'a.raw', capacityBytes: 4 * mebibyte })
  const bytes = randomBytes(4 * mebibyte)
  await volumes.write('default', 'a.raw', from(bytes))
  const content = await volumes.download('default', 'a.raw', { checksum: true })
  assert.equal(content.sha256, sha256(bytes))
  const parts = content[Symbol.asyncIterator]()
  await parts.next()
  await utimes(path, 1, 1)
  const rest = async () => {
    while (!(await parts.next()).done);
  }
  await assert.rejects(rest(), code('conflict'))
  const { entityTag } = content
  await assert.rejects(volumes.download('default', 'a.raw', { ifMatch: entityTag }), code('conflict'))
})

test('a volume is converted for its download', { skip: noQemuImg }, async (t) => {
  const { volumes, uploads, folder, names } = await opened(t)
  await volumes.create('default', { name: 'base.raw', capacityBytes: mebibyte })
  const bytes = randomBytes(mebibyte)
  await volumes.write('default', 'base.raw', from(bytes))
  await volumes.clone('default', 'base.raw', { name: 'a.qcow2', linked: true })
  const whole = await volumes.download('default', 'a.qcow2', { format: 'raw', checksum: true })
  assert.equal(whole.sizeBytes, mebibyte)
  assert.equal(whole.sha256, sha256(bytes))
  assert.ok(bytes.equals(await collect(whole)))
  await assert.rejects(
    volumes.download('default', 'a.qcow2', { format: 'raw', offset: 1 }),
    code('unsupported-config'),
  )
  const packed = await collect(await volumes.download('default', 'base.raw', { format: 'qcow2' }))
  const { id } = await uploads.create('default', { volume: 'again.qcow2' })
  await uploads.append('default', id, from(packed), { offset: 0 })
  const { path } = await uploads.finish('default', id)
  await runChecked('qemu-img', ['compare', '-q', path, join(folder, 'base.raw')])
  assert.deepEqual((await names()).sort(), ['a.qcow2', 'again.qcow2', 'base.raw'])
})
