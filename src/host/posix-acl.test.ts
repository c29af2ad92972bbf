import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Acl,
  aclOfMode,
  formatAcl,
  parseAcl,
  refusedRights,
  withoutUser,
  withUser,
} from './posix-acl.ts'

const guest = { uid: 70_000, gid: 70_000 }
const file = (mode: number) => ({ uid: 0, gid: 0, mode })
/** What the kernel gave for `setfacl -m u:1879048192:rw` on a file of mode 0644. */
const fromKernel = Buffer.from(
  '0200000001000600ffffffff020006000000007004000400ffffffff10000600ffffffff20000400ffffffff',
  'hex',
)

test('a list is read and written as the kernel has it', () => {
  const acl = parseAcl(fromKernel)
  assert.ok(acl)
  assert.deepEqual(formatAcl(acl), fromKernel)
  assert.deepEqual(formatAcl(withUser(aclOfMode(0o644), 0x7000_0000, 6)), fromKernel)
  assert.deepEqual(withoutUser(acl, 0x7000_0000), aclOfMode(0o644))
})

test('what is no list is none', () => {
  for (const hex of ['', '02', '03000000', '0200000001'])
    assert.equal(parseAcl(Buffer.from(hex, 'hex')), undefined)
})

test('a mode alone decides by owner, group and others, the first that fits', () => {
  assert.equal(refusedRights(file(0o600), undefined, guest, 4), 4)
  assert.equal(refusedRights(file(0o604), undefined, guest, 4), 0)
  assert.equal(refusedRights(file(0o604), undefined, guest, 6), 2)
  assert.equal(refusedRights({ uid: 70_000, gid: 0, mode: 0o077 }, undefined, guest, 4), 4)
  assert.equal(refusedRights({ uid: 0, gid: 70_000, mode: 0o604 }, undefined, guest, 4), 4)
  assert.equal(refusedRights({ uid: 0, gid: 5, mode: 0o640 }, undefined, { ...guest, groups: [5] }, 4), 0)
})

test('an entry for the user comes before groups and others, and is held down by the mask', () => {
  const acl: Acl = [
    { tag: 1, rights: 6, id: 0xffffffff },
    { tag: 2, rights: 6, id: 70_000 },
    { tag: 4, rights: 7, id: 0xffffffff },
    { tag: 16, rights: 4, id: 0xffffffff },
    { tag: 32, rights: 7, id: 0xffffffff },
  ]
  assert.equal(refusedRights(file(0o647), acl, guest, 4), 0)
  assert.equal(refusedRights(file(0o647), acl, guest, 6), 2)
  assert.equal(refusedRights(file(0o647), acl, { uid: 1, gid: 1 }, 6), 0)
})

test('one group must allow all of it', () => {
  const acl: Acl = [
    { tag: 1, rights: 6, id: 0xffffffff },
    { tag: 4, rights: 4, id: 0xffffffff },
    { tag: 8, rights: 2, id: 7 },
    { tag: 16, rights: 6, id: 0xffffffff },
    { tag: 32, rights: 6, id: 0xffffffff },
  ]
  assert.notEqual(refusedRights({ uid: 0, gid: 6, mode: 0o666 }, acl, { ...guest, groups: [6, 7] }, 6), 0)
  assert.equal(refusedRights({ uid: 0, gid: 6, mode: 0o666 }, acl, { ...guest, groups: [6, 7] }, 2), 0)
})

test('nobody else gains by an entry that makes the mask grow, nor loses by its end', () => {
  const before: Acl = [
    { tag: 1, rights: 7, id: 0xffffffff },
    { tag: 2, rights: 7, id: 9 },
    { tag: 4, rights: 6, id: 0xffffffff },
    { tag: 16, rights: 4, id: 0xffffffff },
    { tag: 32, rights: 0, id: 0xffffffff },
  ]
  const others = [
    { uid: 9, gid: 9 },
    { uid: 8, gid: 0 },
    { uid: 8, gid: 8 },
  ]
  const rights = (acl: Acl) =>
    others.map((user) => [4, 2, 1].map((right) => refusedRights(file(0o740), acl, user, right)))
  const during = withUser(before, 70_000, 6)
  assert.equal(refusedRights(file(0o760), during, guest, 6), 0)
  assert.deepEqual(rights(during), rights(before))
  assert.deepEqual(rights(withoutUser(during, 70_000)), rights(before))
})
