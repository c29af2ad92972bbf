import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findKey } from './keys.ts'

test('a key is the same by its name and in every codeset', () => {
  const del = 0xd3
  assert.equal(findKey('KEY_DELETE', 'linux'), del)
  assert.equal(findKey('key_delete', 'win32'), del)
  assert.equal(findKey('111', 'linux'), del)
  assert.equal(findKey('0xd3', 'qnum'), del)
  assert.equal(findKey('0xe053', 'xt'), del)
  assert.equal(findKey('76', 'usb'), del)
  assert.equal(findKey('0x2e', 'win32'), del)
  assert.equal(findKey('KEY_A', 'linux'), 0x1e)
  assert.equal(findKey('4', 'usb'), 0x1e)
})

test('what is no key is refused', () => {
  for (const key of ['KEY_NOSUCH', '', '99999', '-1', '0x', 'A B', '__proto__'])
    assert.throws(() => findKey(key, 'linux'), { code: 'invalid-argument' })
  assert.throws(() => findKey('256', 'qnum'), { code: 'invalid-argument' })
})
