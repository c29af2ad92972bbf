import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VisorError } from '../../model/index.ts'
import { mountCommand, parseShare, shareDevice, withBestShares } from './share-spec.ts'

test('a share is a folder and the name by which the guest mounts it', () => {
  assert.deepEqual(parseShare('/srv/data:data'), { source: '/srv/data', target: 'data', readonly: false })
  assert.deepEqual(parseShare('site:web:ro', '/home/me'), {
    source: '/home/me/site',
    target: 'web',
    readonly: true,
  })
  assert.deepEqual(parseShare('/a:b, c/d e:x y:rw'), {
    source: '/a:b, c/d e',
    target: 'x y',
    readonly: false,
  })
})

test('what is no share says how one is written', () => {
  for (const text of ['', '/srv', ':tag', '/srv:', '/srv:ro', '/srv:a\nb', `/srv:${'x'.repeat(32)}`])
    assert.throws(() => parseShare(text), { code: 'invalid-argument' }, text)
  assert.throws(() => parseShare(`/srv:${'x'.repeat(10_000)}`), /10000 bytes/u)
})

test('virtiofs comes first, and 9p where it cannot be had', async () => {
  const spec = parseShare('/srv:t')
  const tried: unknown[] = []
  const refusing = (path: string) => async (filesystems: { driver?: unknown }[]) => {
    tried.push(filesystems[0]?.driver)
    if (filesystems[0]?.driver === 'virtiofs')
      throw new VisorError('unsupported-config', `${path}: is not installed.`, { path })
    return 'done'
  }
  assert.deepEqual(await withBestShares([spec], refusing('devices.filesystems[0].driver')), {
    result: 'done',
    driver: '9p',
    why: 'is not installed.',
  })
  await assert.rejects(withBestShares([spec], refusing('devices.disks[0]')), { code: 'unsupported-config' })
  assert.deepEqual(tried, ['virtiofs', 'path', 'virtiofs'])
  assert.equal(shareDevice(spec, '9p').accessMode, 'squash')
})

test('what is typed in the guest has its quotes', () => {
  assert.equal(mountCommand(parseShare('/srv:t'), 'virtiofs'), 'mount -t virtiofs t /mnt')
  assert.match(mountCommand(parseShare("/srv:it's"), '9p'), /L 'it'\\''s' \/mnt$/u)
})
