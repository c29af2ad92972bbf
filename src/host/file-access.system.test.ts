import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmod, chown, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { holdGrants, planAccess, revokeGrants } from './file-access.ts'

const skip = process.getuid?.() === 0 ? false : 'only root may let another user at files'
const guest = { uid: 0x7123_4567, gid: 0x7123_4567 }
const another = { uid: 0x7123_4568, gid: 0x7123_4568 }

describe('access to files', { skip }, () => {
  let top = ''
  let folder = ''
  let image = ''

  before(async () => {
    top = await mkdtemp(join(tmpdir(), 'visor-access-'))
    folder = join(top, 'a, b')
    await mkdir(folder, { mode: 0o700 })
    image = join(folder, 'disk.raw')
    await writeFile(image, 'data', { mode: 0o600 })
  })
  after(() => rm(top, { recursive: true, force: true }))

  /** Whether the kernel lets this user read or write it. */
  function may(user: typeof guest, path: string, mode: 'r' | 'w'): boolean {
    const open = `require('fs').closeSync(require('fs').openSync(process.argv[1], '${mode === 'r' ? 'r' : 'r+'}'))`
    return (
      spawnSync(process.execPath, ['-e', open, path], { ...user, cwd: '/', stdio: 'ignore' }).status === 0
    )
  }

  const mode = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8)

  test('the user gets what is needed and no more, and loses it again', async () => {
    assert.equal(may(guest, image, 'r'), false)
    const plan = await planAccess(guest, [{ path: image, write: true }])
    assert.deepEqual(
      plan.grants.map(({ path }) => path),
      [top, folder, image],
    )
    assert.equal(may(guest, image, 'r'), false)
    plan.apply()
    assert.equal(may(guest, image, 'w'), true)
    assert.equal(may(another, image, 'r'), false)
    assert.deepEqual(await revokeGrants(guest, plan.grants), [])
    assert.equal(may(guest, image, 'r'), false)
    assert.deepEqual(await Promise.all([top, folder, image].map(mode)), ['700', '700', '600'])
  })

  test('what is open to it anyway gets no entry', async () => {
    const open = join(top, 'open.raw')
    await writeFile(open, '', { mode: 0o644 })
    await chmod(top, 0o711)
    const { grants } = await planAccess(guest, [{ path: open }])
    assert.deepEqual(grants, [])
    await chmod(top, 0o700)
  })

  test('several users share a file, and each end is its own', async () => {
    const first = await planAccess(guest, [{ path: image }])
    first.apply()
    const second = await planAccess(another, [{ path: image, write: true }])
    second.apply()
    await revokeGrants(guest, first.grants)
    assert.equal(may(guest, image, 'r'), false)
    assert.equal(may(another, image, 'w'), true)
    await revokeGrants(another, second.grants)
    assert.equal(await mode(image), '600')
  })

  test('where guests share a user, the last of them gives it back, and what it had before stays', async () => {
    execFileSync('setfacl', ['-m', `u:${guest.uid}:r`, image])
    const first = await planAccess(guest, [{ path: image, write: true }])
    first.apply()
    const second = await planAccess(guest, [{ path: image, write: true }])
    second.apply()
    await revokeGrants(guest, first.grants)
    assert.equal(may(guest, image, 'w'), true)
    await revokeGrants(guest, second.grants)
    const list = execFileSync('getfacl', ['-np', image], { encoding: 'utf8' })
    assert.match(list, new RegExp(`^user:${guest.uid}:r--$`, 'mu'))
    execFileSync('setfacl', ['-b', image])
  })

  test('entries of a guest that is gone are found in its record and taken back', async () => {
    const plan = await planAccess({ ...guest }, [{ path: image }], { own: true })
    plan.apply()
    await revokeGrants(guest, plan.grants)
    const again = await planAccess(guest, [{ path: image }], { own: true })
    again.apply()
    // A later daemon, which knows of it by its record alone.
    holdGrants(guest, again.grants)
    await revokeGrants(guest, again.grants)
    assert.equal(may(guest, image, 'r'), true)
    await revokeGrants(guest, again.grants)
    assert.equal(may(guest, image, 'r'), false)
    await revokeGrants(guest, [{ path: join(top, 'gone'), before: 0 }])
  })

  test('a refusal names the component', async () => {
    // A file system without lists.
    const bare = join(top, 'bare')
    await mkdir(bare)
    execFileSync('mount', ['-t', 'ramfs', 'none', bare])
    try {
      await chmod(bare, 0o700)
      const path = join(bare, 'disk.raw')
      await writeFile(path, '')
      const message = new RegExp(`disk '${path}'.*the folder '${bare}' cannot be entered`, 'u')
      await assert.rejects(planAccess(guest, [{ path, what: 'disk' }]), { code: 'denied', message })
      await chmod(bare, 0o711)
      await chmod(path, 0o600)
      const closed = { code: 'denied', message: /: it cannot be read \(it belongs to uid 0/u }
      await assert.rejects(planAccess(guest, [{ path }]), closed)
    } finally {
      execFileSync('umount', [bare])
    }
    await assert.rejects(planAccess(guest, [{ path: join(folder, 'none'), what: 'kernel' }]), {
      code: 'not-found',
      message: `The kernel '${join(folder, 'none')}' does not exist.`,
    })
  })

  test("a link of somebody else does not open up root's files", async () => {
    const theirs = join(top, 'theirs')
    await mkdir(theirs)
    const link = join(theirs, 'disk.raw')
    await symlink('../a, b/disk.raw', link)
    const owned = await planAccess(guest, [{ path: link }])
    assert.ok(owned.grants.some(({ path }) => path === image))
    execFileSync('chown', ['-h', '12345', link])
    await assert.rejects(planAccess(guest, [{ path: link }]), (error: { code?: string; remedy?: string }) => {
      assert.equal(error.code, 'denied')
      assert.match(error.remedy ?? '', /link .* of uid 12345/u)
      return true
    })
    await chown(image, 12345, 0)
    await chown(folder, 12345, 0)
    assert.ok((await planAccess(guest, [{ path: link }])).grants.some(({ path }) => path === image))
    await chown(image, 0, 0)
    await chown(folder, 0, 0)
  })
})
