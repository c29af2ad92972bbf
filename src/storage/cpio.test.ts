import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { type CpioEntry, formatCpio } from './cpio.ts'

const entries: CpioEntry[] = [
  { path: 'bin', type: 'directory' },
  { path: 'bin/busybox', type: 'file', mode: 0o755, content: Buffer.from('x'.repeat(4097)) },
  { path: 'bin/sh', type: 'link', target: 'busybox' },
  { path: 'dev', type: 'directory', mode: 0o700 },
  { path: 'dev/console', type: 'character-device', major: 5, minor: 1 },
  { path: 'empty', type: 'file', content: new Uint8Array() },
]

test('an archive is what cpio reads', (context) => {
  const { stdout, status, error } = spawnSync('cpio', ['-itv', '--quiet', '--numeric-uid-gid'], {
    input: formatCpio(entries),
    encoding: 'utf8',
  })
  if (error) return context.skip("the program 'cpio' is not installed")
  assert.equal(status, 0)
  const lines = stdout.trim().split('\n')
  assert.equal(lines.length, entries.length)
  assert.match(lines[1] ?? '', /^-rwxr-xr-x\s+1 0\s+0\s+4097 .* bin\/busybox$/u)
  assert.match(lines[2] ?? '', /bin\/sh -> busybox$/u)
  assert.match(lines[3] ?? '', /^drwx------/u)
  assert.match(lines[4] ?? '', /^crw-------\s+1 0\s+0\s+5,\s+1 .* dev\/console$/u)
})

test('the same entries give the same bytes, in whole blocks', () => {
  const archive = formatCpio(entries)
  assert.deepEqual(formatCpio(entries), archive)
  assert.equal(archive.length % 512, 0)
})

test('a path that leaves the archive is refused', () => {
  for (const path of ['', '/etc', 'a/../b', 'a//b', './a', 'a\0b'])
    assert.throws(() => formatCpio([{ path, type: 'directory' }]), { code: 'invalid-argument' })
})
