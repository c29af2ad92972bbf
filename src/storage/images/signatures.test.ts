import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { findProgram, runChecked } from '../../host/index.ts'
import { type Answer, body, opened, serve } from '../testing/image-server.ts'
import { verifyList, withoutSignature } from './signatures.ts'

const lacking = (
  await Promise.all(['gpg', 'gpgv', 'gpgconf'].map(async (name) => ((await findProgram(name)) ? [] : [name])))
).flat()
const skip = lacking.length > 0 && `not installed: ${lacking.join(', ')}`
const sha256 = createHash('sha256').update(body).digest('hex')

/** Somebody with a key of their own. */
async function signer(t: TestContext) {
  // A socket of the agent is in it, whose path must not be long.
  const home = await mkdtemp(join(tmpdir(), 'vsr-gpg-'))
  t.after(async () => {
    await runChecked('gpgconf', ['--homedir', home, '--kill', 'all'])
    await rm(home, { recursive: true, force: true })
  })
  const gpg = (...args: string[]) =>
    runChecked(
      'gpg',
      ['--homedir', home, '--batch', '--yes', '--passphrase', '', '--pinentry-mode', 'loopback', ...args],
      {
        timeoutMs: 120_000,
      },
    )
  await gpg('--quick-gen-key', 'Test <test@example.org>', 'ed25519', 'sign', 'never')
  const listed = (await gpg('--list-keys', '--with-colons')).stdout
  const fingerprint = /^fpr:+([0-9A-F]+):/mu.exec(listed)?.[1] ?? ''
  const file = join(home, 'text')
  const sign = async (how: string, text: string) => {
    await writeFile(file, text)
    await gpg('--output', `${file}.out`, how, file)
    return readFile(`${file}.out`)
  }
  const armored = (await gpg('--armor', '--export')).stdout
  await gpg('--output', `${home}/key.gpg`, '--export')
  return { home, fingerprint, sign, armored, key: await readFile(`${home}/key.gpg`) }
}

/** A distribution whose list of digests is signed. */
async function distribution(t: TestContext, signature: object) {
  const answers: Record<string, Answer> = { '/a.raw': serve() }
  const there = await opened(t, answers)
  const { folder, url } = there
  await mkdir(join(folder, 'remotes'))
  const image = {
    ...{ name: 'signed', title: 'Signed', base: `${url}/`, format: 'raw', files: { x86_64: 'a.raw' } },
    checksums: { file: 'SUMS', algorithm: 'sha256', signature },
  }
  await writeFile(join(folder, 'remotes/a.json'), JSON.stringify({ images: [image] }))
  const put = (path: string, bytes: Uint8Array | string) => {
    answers[path] = (_, response) => void response.end(bytes)
  }
  const putKey = (bytes: Uint8Array | string) => writeFile(join(folder, 'remotes/key.gpg'), bytes)
  return { ...there, put, putKey }
}

const sums = `${sha256}  a.raw\n`

test('a list is taken with a good signature beside it', { skip }, async (t) => {
  const { sign, key, armored, fingerprint } = await signer(t)
  const { pull, put, putKey, images, partials } = await distribution(t, {
    file: 'SUMS.gpg',
    keys: ['key.gpg'],
  })
  put('/SUMS', sums)
  put('/SUMS.gpg', await sign('--detach-sign', sums))
  await assert.rejects(pull('signed'), { code: 'unavailable', message: /No key is on this host/u })
  for (const keys of [key, armored]) {
    await putKey(keys)
    assert.equal((await pull('signed', { refresh: true })).signedBy, fingerprint)
  }
  assert.equal((await images.get('signed:x86_64')).signedBy, fingerprint)
  await images.remove('signed:x86_64')
  put('/SUMS', `${sums}\n`)
  await assert.rejects(pull('signed'), { code: 'failed', message: /was changed since it was signed/u })
  put('/SUMS', sums)
  put('/SUMS.gpg', await (await signer(t)).sign('--detach-sign', sums))
  await assert.rejects(pull('signed'), { code: 'failed', message: /with a key that is not in/u })
  for (const nothing of ['', 'x'.repeat(500), '-----BEGIN PGP SIGNATURE-----\n']) {
    put('/SUMS.gpg', nothing)
    await assert.rejects(pull('signed'), { code: 'failed', message: /is not good/u })
  }
  await putKey('none')
  await assert.rejects(pull('signed'), { code: 'failed' })
  assert.deepEqual(await images.list(), [])
  assert.deepEqual(await partials(), [])
})

test('of a list that is signed in itself only that counts which is signed', { skip }, async (t) => {
  const { sign, key, fingerprint } = await signer(t)
  const { pull, put, putKey, images } = await distribution(t, { keys: ['key.gpg'] })
  await putKey(key)
  const signed = (await sign('--clearsign', sums)).toString()
  put('/SUMS', signed)
  assert.equal((await pull('signed')).signedBy, fingerprint)
  await images.remove('signed:x86_64')
  const other = (await sign('--clearsign', `${'b'.repeat(64)}  b.raw\n`)).toString()
  // What stands around it is not signed.
  for (const around of [`${sums}\n${other}`, `${other}\n${sums}`]) {
    put('/SUMS', around)
    await assert.rejects(pull('signed'), { code: 'failed' })
  }
  put('/SUMS', signed.replace(sha256, 'b'.repeat(64)))
  await assert.rejects(pull('signed'), { code: 'failed', message: /was changed since it was signed/u })
  put('/SUMS', sums)
  await assert.rejects(pull('signed'), { code: 'failed', message: /is not good/u })
})

test('a key that need not be there is used when it is', { skip }, async (t) => {
  const { sign, key, fingerprint } = await signer(t)
  const { pull, put, putKey } = await distribution(t, { keys: ['none', 'key.gpg'], required: false })
  const signed = (await sign('--clearsign', sums)).toString()
  put('/SUMS', signed)
  assert.equal((await pull('signed')).signedBy, undefined)
  await putKey(key)
  assert.equal((await pull('signed', { refresh: true })).signedBy, fingerprint)
  put('/SUMS', sums)
  await assert.rejects(pull('signed', { refresh: true }), { code: 'failed' })
})

test('lists of a server are signed in themselves', { skip }, async (t) => {
  const { sign, key, fingerprint } = await signer(t)
  const { pull, put, putKey, folder, url } = await distribution(t, { keys: ['key.gpg'] })
  await putKey(key)
  const bytes = Buffer.from('fd377a585a0000', 'hex')
  const item = {
    ftype: 'root.tar.xz',
    path: 'root.tar.xz',
    sha256: createHash('sha256').update(bytes).digest('hex'),
  }
  const products = { p: { aliases: 'os', arch: 'amd64', versions: { 1: { items: { item } } } } }
  const index = { i: { datatype: 'image-downloads', path: 'streams/v1/list.sjson' } }
  const server = {
    name: 'lab',
    type: 'simplestreams',
    title: 'Lab',
    url: `${url}/`,
    signature: { keys: ['key.gpg'] },
  }
  await writeFile(join(folder, 'remotes/b.json'), JSON.stringify({ servers: [server] }))
  put('/streams/v1/index.sjson', await sign('--clearsign', JSON.stringify({ index })))
  put('/streams/v1/list.sjson', await sign('--clearsign', JSON.stringify({ products })))
  put('/root.tar.xz', bytes)
  assert.equal((await pull('lab:os', { kind: 'container' })).signedBy, fingerprint)
  put('/streams/v1/list.sjson', JSON.stringify({ products }))
  await assert.rejects(pull('lab:os', { kind: 'container' }), { code: 'failed', message: /is not good/u })
})

test('what verifies is named when it is missing', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'visor-test-gpgv-'))
  const path = process.env.PATH
  t.after(async () => {
    process.env.PATH = path
    await rm(folder, { recursive: true, force: true })
  })
  const list = join(folder, 'list')
  await writeFile(list, sums)
  process.env.PATH = folder
  await assert.rejects(verifyList({ url: 'x', path: list, keys: [list], required: false }), {
    code: 'unavailable',
    remedy: 'Install gpgv.',
  })
})

test('a text without its signature is what was signed', () => {
  const head = '-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n'
  assert.equal(withoutSignature(`${head}a\n- -b\nc\n-----BEGIN PGP SIGNATURE-----\nx`), 'a\n-b\nc')
  assert.equal(withoutSignature('a\nb'), 'a\nb')
  fc.assert(
    fc.property(fc.string(), (text) => withoutSignature(text) === text || text.startsWith('-----BEGIN')),
  )
})
