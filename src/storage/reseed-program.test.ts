import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { reseedProgram } from './reseed-program.ts'

test('the programs are of their architecture', () => {
  assert.equal(reseedProgram('x86_64')?.readUInt16LE(18), 62)
  assert.equal(reseedProgram('i686')?.readUInt16LE(18), 3)
  assert.equal(reseedProgram('vax'), undefined)
})

const noX86 = process.arch === 'x64' ? false : 'the processor here is no x86-64'

test('it answers when it has asked the kernel', { skip: noX86 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'visor-reseed-'))
  try {
    const path = join(directory, 'reseed')
    writeFileSync(path, reseedProgram('x86_64') ?? '', { mode: 0o755 })
    const { status, error, stdout } = spawnSync(path, { input: `${'5a'.repeat(32)}\n` })
    assert.deepEqual([error, status, stdout.toString()], [undefined, 0, '\n'])
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
