import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createOverlay, runChecked } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { noQemuImg, openForTest } from '../testing/open-for-test.ts'

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
const skip = noQemuImg
const mebibyte = 2 ** 20

async function opened(t: TestContext) {
  const storage = await openForTest()
  t.after(storage.close)
  const { volumes, pools } = storage.connection
  const folder = join(storage.folder, 'state/volumes')
  await volumes.list('default')
  return { ...storage, volumes, pools, folder, names: () => readdir(folder) }
}

const isSound = (path: string, format: string) => runChecked('qemu-img', ['check', '-q', '-f', format, path])
const areEqual = (a: string, b: string) => runChecked('qemu-img', ['compare', '-q', a, b])

test('a raw volume is made, listed and removed', async (t) => {
  const { volumes, names } = await opened(t)
  const made = await volumes.create('default', { name: 'a.raw', capacityBytes: 1000 })
  assert.equal(made.capacityBytes, 1024)
  assert.equal(made.format, 'raw')
  assert.equal(made.pool, 'default')
  assert.equal((await stat(made.path)).mode & 0o777, 0o600)
  assert.deepEqual(await volumes.list('default'), [made])
  assert.deepEqual(await volumes.find({ path: made.path }), made)
  await volumes.remove('default', 'a.raw')
  await assert.rejects(volumes.get('default', 'a.raw'), code('not-found'))
  assert.deepEqual(await names(), [])
})

test('volumes are made in each format, and qemu-img finds them sound', { skip }, async (t) => {
  const { volumes } = await opened(t)
  for (const format of ['qcow2', 'vdi', 'vmdk', 'vhdx', 'vpc', 'qed', 'raw'] as const) {
    const made = await volumes.create('default', { name: `a.${format}`, capacityBytes: 64 * mebibyte })
    assert.equal(made.format, format)
    // A disk of VirtualPC has the size of its cylinders.
    assert.ok(made.capacityBytes >= 64 * mebibyte && made.capacityBytes < 65 * mebibyte, format)
    assert.ok(made.allocationBytes < mebibyte * 5)
    const { stdout } = await runChecked('qemu-img', ['info', '--output=json', '-f', format, made.path])
    assert.equal(JSON.parse(stdout)['virtual-size'], made.capacityBytes)
  }
})

test('a volume is allocated when that is asked for', { skip }, async (t) => {
  const { volumes } = await opened(t)
  const size = { capacityBytes: 4 * mebibyte }
  for (const name of ['a.raw', 'a.qcow2']) {
    const made = await volumes.create('default', { name, ...size, preallocation: 'falloc' })
    assert.ok(made.allocationBytes >= 4 * mebibyte)
  }
  const partly = await volumes.create('default', { name: 'b.raw', ...size, allocationBytes: mebibyte })
  assert.equal(partly.allocationBytes, mebibyte)
})

test('settings of qcow2 reach the image', { skip }, async (t) => {
  const { volumes } = await opened(t)
  const settings = { clusterBytes: 131_072, extendedL2: true, lazyRefcounts: true } as const
  const { path } = await volumes.create('default', { name: 'a.qcow2', capacityBytes: mebibyte, ...settings })
  const { stdout } = await runChecked('qemu-img', ['info', '--output=json', '-f', 'qcow2', path])
  const { data } = JSON.parse(stdout)['format-specific']
  assert.equal(JSON.parse(stdout)['cluster-size'], 131_072)
  assert.equal(data['extended-l2'], true)
  assert.equal(data['lazy-refcounts'], true)
})

test('a volume there is is never replaced', async (t) => {
  const { volumes, names } = await opened(t)
  const results = await Promise.allSettled(
    [1, 2, 3].map((n) => volumes.create('default', { name: 'a.raw', capacityBytes: n * 512 })),
  )
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const result of results)
    if (result.status === 'rejected') assert.ok(code('already-exists')(result.reason), String(result.reason))
  assert.deepEqual(await names(), ['a.raw'])
})

test('a name cannot lead out of the folder', async (t) => {
  const { volumes, names } = await opened(t)
  for (const name of ['../a', '/etc/a', '.hidden', '', 'a/b', 'a'.repeat(300), 'a\n']) {
    await assert.rejects(
      volumes.create('default', { name, capacityBytes: 512 }),
      code('invalid-argument'),
      JSON.stringify(name),
    )
    await assert.rejects(volumes.get('default', name), VisorError)
    await assert.rejects(volumes.remove('default', name), VisorError)
  }
  assert.deepEqual(await names(), [])
})

test('names with commas, spaces and equals signs are names', { skip }, async (t) => {
  const { volumes } = await opened(t)
  for (const name of ['a,size=1.qcow2', 'b c.qcow2', 'json:{}.qcow2', '-o.qcow2', 'nbd:x.raw']) {
    await volumes.create('default', { name, capacityBytes: mebibyte })
    const copy = await volumes.clone('default', name, { name: `copy of ${name}` })
    assert.equal(copy.capacityBytes, mebibyte)
    await isSound(copy.path, copy.format).catch((error: unknown) =>
      assert.match(String(error), /does not support checks/u),
    )
  }
})

test('a copy has the data, whatever its format', { skip }, async (t) => {
  const { volumes } = await opened(t)
  const source = await volumes.create('default', { name: 'a.raw', capacityBytes: 3 * mebibyte })
  await writeFile(source.path, randomBytes(2 * mebibyte), { flag: 'r+' })
  const phases = new Set<string | undefined>()
  for (const name of ['b.raw', 'c.qcow2', 'd.vmdk', 'e.vhdx', 'f.vdi']) {
    const copy = await volumes.clone('default', 'a.raw', { name, progress: ({ phase }) => phases.add(phase) })
    assert.equal(copy.capacityBytes, source.capacityBytes)
    await areEqual(source.path, copy.path)
  }
  const larger = await volumes.clone('default', 'c.qcow2', { name: 'g.qcow2', capacityBytes: 8 * mebibyte })
  assert.equal(larger.capacityBytes, 8 * mebibyte)
  await isSound(larger.path, 'qcow2')
  await assert.rejects(
    volumes.clone('default', 'a.raw', { name: 'h.raw', capacityBytes: mebibyte }),
    code('invalid-argument'),
  )
  await assert.rejects(volumes.clone('default', 'a.raw', { name: 'a.raw' }), code('already-exists'))
})

test('a linked copy is based on the volume, which is kept', { skip }, async (t) => {
  const { volumes, guests, reopen, names } = await opened(t)
  const base = await volumes.create('default', { name: 'base.raw', capacityBytes: 3 * mebibyte })
  await writeFile(base.path, randomBytes(mebibyte), { flag: 'r+' })
  const copy = await volumes.clone('default', 'base.raw', { name: 'copy.qcow2', linked: true })
  assert.deepEqual(copy.base, { path: base.path, format: 'raw', volume: 'base.raw' })
  await isSound(copy.path, 'qcow2')
  await areEqual(base.path, copy.path)
  for (const refused of [
    () => volumes.remove('default', 'base.raw'),
    () => volumes.wipe('default', 'base.raw'),
    () => volumes.resize('default', 'base.raw', { capacityBytes: 4 * mebibyte }),
  ])
    await assert.rejects(refused, { code: 'invalid-state', message: /'copy\.qcow2'/u })
  const second = await volumes.clone('default', 'copy.qcow2', { name: 'second.qcow2' })
  assert.equal(second.base?.path, base.path)
  await areEqual(copy.path, second.path)
  assert.deepEqual(await guests.access('default', 'copy.qcow2'), {
    ...{ type: 'file', path: copy.path, format: 'qcow2' },
  })
  await assert.rejects(
    volumes.clone('default', 'base.raw', { name: 'x.raw', linked: true }),
    code('unsupported-config'),
  )
  const later = await reopen()
  assert.equal((await later.guests.access('default', 'second.qcow2')).type, 'file')
  await later.connection.volumes.remove('default', 'base.raw', { force: true })
  assert.deepEqual(await names(), ['copy.qcow2', 'second.qcow2'])
})

test('a volume becomes larger, and smaller only when that is said', { skip }, async (t) => {
  const { volumes } = await opened(t)
  for (const name of ['a.raw', 'a.qcow2']) {
    await volumes.create('default', { name, capacityBytes: 2 * mebibyte })
    const larger = await volumes.resize('default', name, { capacityBytes: 4 * mebibyte })
    assert.equal(larger.capacityBytes, 4 * mebibyte)
    await assert.rejects(
      volumes.resize('default', name, { capacityBytes: mebibyte }),
      code('invalid-argument'),
    )
    const smaller = await volumes.resize('default', name, { capacityBytes: mebibyte, shrink: true })
    assert.equal(smaller.capacityBytes, mebibyte)
  }
})

test('nothing of what was on a volume can be read after it is wiped', { skip }, async (t) => {
  const { volumes } = await opened(t)
  const secret = Buffer.from('what nobody shall read')
  for (const algorithm of ['zero', 'random', 'trim'] as const) {
    const raw = await volumes.create('default', { name: `${algorithm}.raw`, capacityBytes: 3 * mebibyte })
    await writeFile(raw.path, secret, { flag: 'r+' })
    const image = await volumes.clone('default', raw.name, { name: `${algorithm}.qcow2` })
    for (const { name, path, capacityBytes, format } of [raw, image]) {
      assert.ok((await readFile(path)).includes(secret))
      await volumes.wipe('default', name, { algorithm })
      assert.ok(!(await readFile(path)).includes(secret))
      const after = await volumes.get('default', name)
      assert.equal(after.capacityBytes, capacityBytes)
      assert.equal(after.format, format)
    }
    await isSound(image.path, 'qcow2')
  }
})

test('a volume that is cancelled leaves nothing', { skip }, async (t) => {
  const { volumes, names } = await opened(t)
  const signal = AbortSignal.abort()
  await assert.rejects(
    volumes.create('default', { name: 'a.qcow2', capacityBytes: 512, signal }),
    code('cancelled'),
  )
  const source = await volumes.create('default', { name: 'a.raw', capacityBytes: 64 * mebibyte })
  await writeFile(source.path, randomBytes(32 * mebibyte), { flag: 'r+' })
  const late = new AbortController()
  await assert.rejects(
    volumes.clone('default', 'a.raw', {
      name: 'b.qcow2',
      signal: late.signal,
      onJob: () => void setTimeout(() => late.abort(), 5),
    }),
    code('cancelled'),
  )
  assert.deepEqual(await names(), ['a.raw'])
})

test('no image names a file outside of its pool', { skip }, async (t) => {
  const { volumes, guests, folder, names } = await opened(t)
  const overlay = (name: string, file: string) =>
    createOverlay(join(folder, name), { file, format: 'raw', sizeBytes: mebibyte })
  await overlay('evil.qcow2', '/etc/shadow')
  await overlay('ring.qcow2', join(folder, 'ring.qcow2'))
  await overlay('lost.qcow2', join(folder, 'lost.raw'))
  await symlink('/etc/passwd', join(folder, 'link.raw'))
  await overlay('linked.qcow2', join(folder, 'link.raw'))
  const list = await volumes.list('default')
  assert.equal(list.find(({ name }) => name === 'evil.qcow2')?.base?.path, '/etc/shadow')
  for (const name of ['evil.qcow2', 'ring.qcow2', 'lost.qcow2', 'linked.qcow2']) {
    await assert.rejects(guests.access('default', name), code('denied'), name)
    await assert.rejects(volumes.clone('default', name, { name: 'copy.raw' }), code('denied'), name)
  }
  assert.ok(!(await names()).includes('copy.raw'))
})

test('a raw disk whose guest made it look like qcow2 stays raw', { skip }, async (t) => {
  const { volumes, guests, folder } = await opened(t)
  const { path } = await volumes.create('default', { name: 'disk', format: 'raw', capacityBytes: mebibyte })
  const image = join(folder, '.image')
  await createOverlay(image, { file: '/etc/shadow', format: 'raw', sizeBytes: mebibyte })
  const header = await readFile(image)
  await writeFile(path, header, { flag: 'r+' })
  assert.equal((await volumes.get('default', 'disk')).format, 'raw')
  assert.deepEqual(await guests.access('default', 'disk'), { type: 'file', path, format: 'raw' })
  // Of this one nobody ever said what it is.
  await writeFile(join(folder, 'found'), header)
  assert.equal((await volumes.get('default', 'found')).format, 'qcow2')
  await assert.rejects(guests.access('default', 'found'), code('denied'))
})

test('images that are damaged are listed with what is wrong', async (t) => {
  const { volumes, folder } = await opened(t)
  await writeFile(join(folder, 'empty.qcow2'), '')
  await writeFile(join(folder, 'text.vmdk'), 'hello')
  const far = Buffer.alloc(512)
  far.write('QFI\xfb', 'latin1')
  far.writeUInt32BE(3, 4)
  far.writeBigUInt64BE(2n ** 63n, 8)
  far.writeUInt32BE(2 ** 31, 16)
  far.writeBigUInt64BE(2n ** 64n - 1n, 24)
  await writeFile(join(folder, 'far.qcow2'), far)
  for (const volume of await volumes.list('default')) {
    assert.ok(volume.message, volume.name)
    assert.ok(Number.isSafeInteger(volume.capacityBytes))
  }
})

test('any bytes at the beginning of a file are read without harm', async (t) => {
  const { volumes, folder } = await opened(t)
  const magics = ['QFI\xfb', 'QED\0', 'KDMV', 'COWD', 'conectix', 'LUKS\xba\xbe', 'vhdxfile', '# Disk Desc']
  for (const [index, magic] of magics.entries())
    for (const name of ['', '.qcow2', '.vmdk', '.qed'])
      for (let round = 0; round < 8; round++) {
        const bytes = randomBytes(round * 600)
        bytes.write(magic, 'latin1')
        await writeFile(join(folder, `fuzz-${index}-${round}${name}`), bytes)
      }
  const list = await volumes.list('default')
  assert.equal(list.length, magics.length * 4 * 8)
  for (const { capacityBytes } of list) assert.ok(Number.isSafeInteger(capacityBytes) && capacityBytes >= 0)
})

test('volumes are told of in events', async (t) => {
  const { connection, volumes } = await opened(t)
  const stop = new AbortController()
  const seen: string[] = []
  const watching = (async () => {
    for await (const { kind, type, name } of connection.events({ signal: stop.signal }))
      if (kind === 'volume') seen.push(`${type} ${name}`)
  })()
  await volumes.create('default', { name: 'a.raw', capacityBytes: 512 })
  await volumes.remove('default', 'a.raw')
  while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
  stop.abort()
  await watching.catch(() => {})
  assert.deepEqual(seen, ['created a.raw', 'removed a.raw'])
})

test('what a definition of a volume says is what libvirt would', async (t) => {
  const { volumes } = await opened(t)
  const { path } = await volumes.create('default', { name: 'a.raw', capacityBytes: 512 })
  const definition = await volumes.describe('default', 'a.raw')
  assert.equal(definition.path, path)
  assert.equal(definition.key, path)
  assert.equal(definition.capacityBytes, 512)
})
