import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { eventHub, type SecretReference } from '../../driver/index.ts'
import { openStore } from '../../host/index.ts'
import { formatSecretDefinition, parseSecretDefinition, VisorError } from '../../model/index.ts'
import { openSecrets } from './open-secrets.ts'
import { keyFileOf, seal, unseal } from './sealed.ts'

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
const base64 = (text: string) => Buffer.from(text).toString('base64')

async function opened(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'visor-test-secrets-'))
  const places = { stateDirectory: join(folder, 'state'), runtimeDirectory: join(folder, 'run') }
  let store = await openStore(join(places.stateDirectory, 'store.db'))
  const users = new Map<string, string[]>()
  const usersOf = ({ uuid }: { readonly uuid: string }) => users.get(uuid) ?? []
  const open = () => openSecrets({ ...places, store, hub: eventHub(), usersOf })
  t.after(async () => {
    await store.close()
    await rm(folder, { recursive: true })
  })
  return {
    ...places,
    users,
    secrets: await open(),
    async reopen() {
      await store.close()
      store = await openStore(join(places.stateDirectory, 'store.db'))
      return open()
    },
  }
}

/** Whether the words stand anywhere in the files of a folder. */
async function isFound(folder: string, words: string): Promise<boolean> {
  for (const name of await readdir(folder))
    if ((await readFile(join(folder, name))).includes(words)) return true
  return false
}

test('a value is kept, is in no file, and is there again after a restart', async (t) => {
  const { secrets, stateDirectory, reopen } = await opened(t)
  const { uuid } =
    (await secrets.operations.define?.({ usage: { type: 'ceph', name: 'client' } })) ?? assert.fail()
  await assert.rejects(async () => secrets.operations.getValue?.(uuid), code('invalid-state'))
  await secrets.operations.setValue?.('client', { base64: base64('open sesame') })
  assert.equal((await secrets.operations.get('client')).hasValue, true)
  assert.deepEqual(await secrets.operations.getValue?.(uuid), { base64: base64('open sesame') })
  const after = await reopen()
  assert.equal((await after.value({ usage: 'client' }, 'ceph')).toString(), 'open sesame')
  for (const words of ['open sesame', base64('open sesame')])
    assert.equal(await isFound(stateDirectory, words), false)
  assert.equal(JSON.stringify(await after.operations.list()).includes(base64('open sesame')), false)
  assert.equal((await stat(keyFileOf(stateDirectory, {}))).mode & 0o777, 0o600)
})

test('one that is not written down is gone after a restart, though what is said of it stays', async (t) => {
  const { secrets, reopen } = await opened(t)
  const { uuid } = (await secrets.operations.define?.({ ephemeral: true })) ?? assert.fail()
  await secrets.operations.setValue?.(uuid, { base64: base64('short') })
  assert.equal((await secrets.value({ uuid }, 'volume')).toString(), 'short')
  const after = await reopen()
  await assert.rejects(after.value({ uuid }, 'volume'), code('invalid-state'))
  assert.equal((await after.operations.get(uuid)).hasValue, false)
})

test('one that becomes ephemeral is not to be found any more, and the other way about', async (t) => {
  const { secrets, reopen } = await opened(t)
  const { uuid } = (await secrets.operations.define?.({})) ?? assert.fail()
  await secrets.operations.setValue?.(uuid, { base64: base64('there') })
  await secrets.operations.define?.({ uuid, ephemeral: true })
  assert.equal((await secrets.value({ uuid }, 'volume')).toString(), 'there')
  let after = await reopen()
  await assert.rejects(after.value({ uuid }, 'volume'), code('invalid-state'))
  await after.operations.setValue?.(uuid, { base64: base64('again') })
  await after.operations.define?.({ uuid, ephemeral: false })
  after = await reopen()
  assert.equal((await after.value({ uuid }, 'volume')).toString(), 'again')
})

test('a private one is used, never told, and does not become readable', async (t) => {
  const { secrets } = await opened(t)
  const { uuid } = (await secrets.operations.define?.({ private: true })) ?? assert.fail()
  await secrets.operations.setValue?.(uuid, { base64: base64('mine') })
  await assert.rejects(async () => secrets.operations.getValue?.(uuid), code('denied'))
  await assert.rejects(
    async () => secrets.operations.define?.({ uuid, private: false }),
    code('invalid-state'),
  )
  assert.equal((await secrets.value({ uuid }, 'iscsi')).toString(), 'mine')
})

test('what it is for is one of a kind, and is held to', async (t) => {
  const { secrets } = await opened(t)
  const usage = { type: 'iscsi', target: 'host' } as const
  const { uuid } = (await secrets.operations.define?.({ usage })) ?? assert.fail()
  await secrets.operations.setValue?.(uuid, { base64: base64('x') })
  await assert.rejects(async () => secrets.operations.define?.({ usage }), code('already-exists'))
  await assert.rejects(secrets.value({ usage: 'host' }, 'ceph'), code('invalid-state'))
  const wrong = { usage: { type: 'iscsi', name: 'host' } } as const
  await assert.rejects(async () => secrets.operations.define?.(wrong), code('invalid-definition'))
  const nobody: SecretReference = { usage: 'nobody' }
  await assert.rejects(secrets.value(nobody, 'iscsi'), code('not-found'))
})

test('one that is needed is not forgotten, unless forced', async (t) => {
  const { secrets, users } = await opened(t)
  const { uuid } = await secrets.make('default/db.qcow2')
  users.set(uuid, ['default/db.qcow2'])
  await assert.rejects(async () => secrets.operations.undefine?.(uuid), /needed by default\/db\.qcow2/u)
  await secrets.operations.undefine?.(uuid, { force: true })
  assert.deepEqual(await secrets.operations.list(), [])
})

test('without its key a value cannot be read, and the error says what to do', async (t) => {
  const { secrets, stateDirectory, reopen } = await opened(t)
  const { uuid } = await secrets.make('default/db.qcow2')
  await secrets.keepMade(uuid)
  const file = keyFileOf(stateDirectory, {})
  const key = await readFile(file)
  await chmod(file, 0o644)
  await assert.rejects((await reopen()).value({ uuid }, 'volume'), /can be read by others/u)
  await rm(file)
  const keyless = await reopen()
  await assert.rejects(keyless.value({ uuid }, 'volume'), code('unavailable'))
  // A new key would make the others unreadable for good.
  await assert.rejects(
    async () => keyless.operations.setValue?.(uuid, { base64: base64('new') }),
    code('unavailable'),
  )
  await writeFile(file, randomBytes(32), { mode: 0o600 })
  await assert.rejects((await reopen()).value({ uuid }, 'volume'), code('failed'))
  await writeFile(file, key)
  assert.equal((await (await reopen()).value({ uuid }, 'volume')).length, 44)
})

test('one that was made for a volume that never came is gone after a restart', async (t) => {
  const { secrets, users, reopen } = await opened(t)
  await secrets.make('default/never.qcow2')
  const kept = await secrets.make('default/there.qcow2')
  users.set(kept.uuid, ['default/there.qcow2'])
  const after = await reopen()
  assert.deepEqual(
    (await after.operations.list()).map(({ name }) => name),
    ['default/there.qcow2'],
  )
})

test('the file of a value is there while it is needed, for its owner alone', async (t) => {
  const { secrets, runtimeDirectory } = await opened(t)
  const { uuid } = await secrets.make('default/db.qcow2')
  const seen = await secrets.inFile(uuid, async (file) => {
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    return file
  })
  await assert.rejects(
    secrets.inFile(uuid, () => Promise.reject(new Error('no'))),
    /no/u,
  )
  assert.ok(seen.startsWith(runtimeDirectory))
  assert.deepEqual(await readdir(join(runtimeDirectory, 'keys')), [])
})

test('what is sealed opens with its key for its owner only, unchanged', () => {
  const key = randomBytes(32)
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(), (value, at) => {
      const sealed = seal(key, 'a', value)
      assert.deepEqual(unseal(key, 'a', sealed), Buffer.from(value))
      assert.throws(() => unseal(key, 'b', sealed))
      assert.throws(() => unseal(randomBytes(32), 'a', sealed))
      const bytes = Buffer.from(sealed, 'base64')
      const place = at % bytes.length
      bytes[place] = (bytes[place] ?? 0) ^ 1
      assert.throws(() => unseal(key, 'a', bytes.toString('base64')))
    }),
    { numRuns: 50 },
  )
  for (const sealed of ['', 'AAAA', base64('much too short')]) assert.throws(() => unseal(key, 'a', sealed))
})

test("definitions are read and written as libvirt's", () => {
  const text = [
    "<secret ephemeral='no' private='yes'>",
    '  <uuid>0a81f5b2-8403-7b23-c8d6-21ccc2f80d6f</uuid>',
    '  <description>Super secret name of my first puppy</description>',
    "  <usage type='volume'>",
    '    <volume>/var/lib/libvirt/images/puppyname.img</volume>',
    '  </usage>',
    '</secret>',
    '',
  ].join('\n')
  assert.equal(formatSecretDefinition(parseSecretDefinition(text), 'xml'), text)
  const yaml = formatSecretDefinition(parseSecretDefinition(text), 'yaml')
  assert.deepEqual(parseSecretDefinition(yaml), parseSecretDefinition(text))
  assert.throws(
    () => parseSecretDefinition("<secret><usage type='tls'/></secret>"),
    code('invalid-definition'),
  )
})
