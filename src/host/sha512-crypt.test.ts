import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha512Crypt } from './sha512-crypt.ts'

test('the example of the specification', () => {
  assert.equal(
    sha512Crypt('Hello world!', 'saltstring'),
    '$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1',
  )
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

test('openssl makes the same hashes', { skip: !hasOpenssl && 'openssl is not installed' }, () => {
  const password = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 200 })
  const salt = fc.stringMatching(/^[A-Za-z0-9./]{1,16}$/u)
  fc.assert(
    fc.property(password, salt, (one, mixed) => {
      const { stdout } = spawnSync('openssl', ['passwd', '-6', '-stdin', '-salt', mixed], { input: one })
      assert.equal(sha512Crypt(one, mixed), String(stdout).trim())
    }),
    { numRuns: 25 },
  )
})

test('salts are random, and what is no password is refused', () => {
  assert.notEqual(sha512Crypt('secret'), sha512Crypt('secret'))
  assert.match(sha512Crypt('geheim ü'), /^\$6\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}$/u)
  for (const one of ['', 'a\0b', 'x'.repeat(257)]) assert.throws(() => sha512Crypt(one), RangeError)
})
