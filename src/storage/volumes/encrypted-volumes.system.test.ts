import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runChecked } from '../../host/index.ts'
import { VisorError, type Volume } from '../../model/index.ts'
import { noQemuImg, openForTest } from '../testing/open-for-test.ts'
import { encryptedImage } from './encryption.ts'

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
const skip = noQemuImg
const mebibyte = 2 ** 20
const encryption = { format: 'luks' } as const

async function opened(t: TestContext) {
  const storage = await openForTest()
  t.after(storage.close)
  const { volumes, secrets } = storage.connection
  const folder = join(storage.folder, 'state/volumes')
  const keyFile = join(storage.folder, 'key')
  const content = join(storage.folder, 'content')
  await volumes.list('default')
  await writeFile(content, Buffer.concat([randomBytes(mebibyte), Buffer.alloc(mebibyte)]))

  /** With its key in the file that `qemu-img` is told of. */
  async function unlocked({ secret = '' }: Volume): Promise<void> {
    await writeFile(keyFile, Buffer.from((await secrets.getValue(secret)).base64, 'base64'), { mode: 0o600 })
  }
  const key = ['--object', `secret,id=key,file=${keyFile}`]
  const qemuImg = (...args: string[]) => runChecked('qemu-img', args)

  return {
    ...{ storage, volumes, secrets, folder, content },
    async fill(volume: Volume) {
      await unlocked(volume)
      const target = encryptedImage(volume.path, volume.format)
      await qemuImg('convert', '-n', ...key, '-f', 'raw', '--target-image-opts', content, target)
    },
    /** Fails unless what is in it is `content`, and is not to be read without its key. */
    async holds(volume: Volume, wanted = content) {
      await unlocked(volume)
      const raw = join(storage.folder, 'plain')
      await qemuImg(
        'convert',
        ...key,
        '--image-opts',
        '-O',
        'raw',
        encryptedImage(volume.path, volume.format),
        raw,
      )
      const [found, expected] = await Promise.all([readFile(raw), readFile(wanted)])
      assert.ok(found.subarray(0, expected.length).equals(expected))
      assert.equal(found.length, volume.capacityBytes)
      assert.equal((await readFile(volume.path)).includes(expected.subarray(0, 4096)), false)
      if (volume.format === 'qcow2')
        await qemuImg('check', '-q', ...key, '--image-opts', encryptedImage(volume.path, volume.format))
    },
  }
}

for (const [name, format] of [
  ['db.qcow2', 'qcow2'],
  ['db.raw', 'luks'],
] as const)
  test(`an encrypted volume ${name} is made, copied, enlarged, wiped and removed`, { skip }, async (t) => {
    const { volumes, secrets, storage, fill, holds, folder } = await opened(t)
    const made = await volumes.create('default', { name, capacityBytes: 2 * mebibyte, encryption })
    assert.equal(made.format, format)
    assert.equal(made.encrypted, true)
    assert.equal(made.capacityBytes, 2 * mebibyte)
    assert.equal(made.message, undefined)
    const [secret, ...others] = await secrets.list()
    assert.deepEqual(others, [])
    assert.equal(secret?.uuid, made.secret)
    assert.equal(secret?.name, `default/${name}`)
    assert.deepEqual(secret?.usedBy, [`default/${name}`])
    assert.deepEqual((await volumes.describe('default', name)).encryption?.secrets[0]?.uuid, made.secret)
    await fill(made)
    await holds(made)
    await assert.rejects(secrets.undefine(made.secret ?? ''), code('invalid-state'))

    // It is what it was to a daemon that starts after this one.
    const after = await storage.reopen()
    t.after(after.close)
    const again = after.connection.volumes
    assert.equal((await again.get('default', name)).secret, made.secret)
    const access = await after.guests.access('default', name)
    assert.deepEqual(access.encryption, { secret: made.secret })

    const copy = await again.clone('default', name, { name: `copy-${name}` })
    assert.equal(copy.secret, made.secret)
    assert.ok((await readFile(copy.path)).length > 0)
    const plain = await again.clone('default', name, { name: 'plain.raw', decrypt: true })
    assert.equal(plain.encrypted, false)
    const contents = await readFile(plain.path)
    assert.equal(contents.length, 2 * mebibyte)
    const downloaded: Buffer[] = []
    for await (const part of await again.download('default', name, { format: 'raw' }))
      downloaded.push('holeBytes' in part ? Buffer.alloc(part.holeBytes) : Buffer.from(part))
    assert.ok(Buffer.concat(downloaded).equals(contents))
    await assert.rejects(
      again.clone('default', name, { name: 'l.qcow2', linked: true }),
      code('unsupported-config'),
    )
    await assert.rejects(again.clone('default', name, { name: 'a.vmdk' }), code('unsupported-config'))

    const larger = await again.resize('default', name, { capacityBytes: 3 * mebibyte })
    assert.equal(larger.capacityBytes, 3 * mebibyte)
    await again.wipe('default', name, {})
    const wiped = await again.get('default', name)
    assert.equal(wiped.capacityBytes, 3 * mebibyte)
    assert.equal(wiped.encrypted, true)

    await again.remove('default', name)
    assert.equal((await after.connection.secrets.list()).length, 1)
    await again.remove('default', `copy-${name}`)
    // Made for them, it goes with the last of them.
    assert.deepEqual(await after.connection.secrets.list(), [])
    assert.deepEqual(await readdir(folder), ['plain.raw'])
  })

test('a copy in another format stays encrypted, and can have a key of its own', { skip }, async (t) => {
  const { volumes, secrets, content, holds } = await opened(t)
  await volumes.create('default', { name: 'plain.raw', capacityBytes: 2 * mebibyte })
  const { path } = await volumes.get('default', 'plain.raw')
  await writeFile(path, await readFile(content))
  const locked = await volumes.clone('default', 'plain.raw', { name: 'locked.qcow2', encryption })
  await holds(locked)
  const { uuid } = await secrets.define({ usage: { type: 'volume', volume: 'mine' } })
  await secrets.setValue(uuid, { base64: Buffer.from('my own words').toString('base64') })
  const mine = { format: 'luks', secrets: [{ type: 'passphrase', usage: 'mine' }] } as const
  const own = await volumes.clone('default', 'locked.qcow2', {
    name: 'own.raw',
    encryption: { ...mine, secrets: [...mine.secrets] },
  })
  assert.equal(own.secret, uuid)
  assert.equal(own.format, 'luks')
  await holds(own)
  const same = await volumes.clone('default', 'locked.qcow2', { name: 'same.raw', format: 'raw' })
  assert.equal(same.secret, locked.secret)
  await holds(same)
  await volumes.remove('default', 'own.raw')
  // Made by a person, it stays.
  assert.equal((await secrets.get('mine')).hasValue, true)
})

test('nothing is left of an encrypted volume that cannot be made', { skip }, async (t) => {
  const { volumes, secrets, folder } = await opened(t)
  const given = { name: 'a.qcow2', capacityBytes: mebibyte }
  await assert.rejects(
    volumes.create('default', { ...given, encryption: { format: 'qcow' } }),
    code('unsupported-config'),
  )
  await assert.rejects(
    volumes.create('default', { ...given, name: 'a.vmdk', encryption }),
    code('unsupported-config'),
  )
  const unknown = { format: 'luks', secrets: [{ type: 'passphrase', usage: 'nobody' }] } as const
  await assert.rejects(
    volumes.create('default', { ...given, encryption: { ...unknown, secrets: [...unknown.secrets] } }),
    code('not-found'),
  )
  const { uuid } = await secrets.define({})
  const empty = { format: 'luks' as const, secrets: [{ type: 'passphrase' as const, uuid }] }
  await assert.rejects(volumes.create('default', { ...given, encryption: empty }), code('invalid-state'))
  assert.deepEqual(await readdir(folder), [])
  assert.equal((await secrets.list()).length, 1)
})

test('an encrypted volume from elsewhere is unlocked with its secret, and with no other', {
  skip,
}, async (t) => {
  const { volumes, secrets, storage } = await opened(t)
  const { path, secret: old = '' } = await volumes.create('default', {
    ...{ name: 'a.qcow2', capacityBytes: mebibyte, encryption },
  })
  const bytes = await readFile(path)
  await writeFile(join(storage.folder, 'state/volumes/b.qcow2'), bytes, { mode: 0o600 })
  const found = await volumes.get('default', 'b.qcow2')
  assert.equal(found.encrypted, true)
  assert.equal(found.secret, undefined)
  await assert.rejects(
    volumes.resize('default', 'b.qcow2', { capacityBytes: 2 * mebibyte }),
    /not known here/u,
  )
  const { uuid } = await secrets.define({})
  await secrets.setValue(uuid, { base64: 'AAAA' })
  await assert.rejects(volumes.unlock('default', 'b.qcow2', { secret: uuid }), /is no text/u)
  await secrets.setValue(uuid, { base64: Buffer.from('wrong').toString('base64') })
  await assert.rejects(volumes.unlock('default', 'b.qcow2', { secret: uuid }), code('invalid-argument'))
  assert.equal((await volumes.unlock('default', 'b.qcow2', { secret: old })).secret, old)
  assert.equal((await volumes.resize('default', 'b.qcow2', { capacityBytes: 2 * mebibyte })).encrypted, true)
})
