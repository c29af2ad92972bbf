import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import { guestHookProgram } from './guest-hook-program.ts'

test('the programs are of their architecture', () => {
  assert.equal(guestHookProgram('x86_64')?.readUInt16LE(18), 62)
  assert.equal(guestHookProgram('i686')?.readUInt16LE(18), 3)
  assert.equal(guestHookProgram('vax'), undefined)
})

const noX86 = process.arch === 'x64' ? false : 'the processor here is no x86-64'

for (const arch of ['x86_64', 'i686'])
  test(`the one of ${arch} answers, and hands over what it does not know`, { skip: noX86 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'visor-hook-'))
    const path = join(directory, 'hook')
    writeFileSync(path, guestHookProgram(arch) ?? '', { mode: 0o755 })
    const hook = spawn(path, { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] })
    try {
      const answers = hook.stdout
      const handed = hook.stdio[3] as Readable
      hook.stdin?.write(`ping 1\nentropy ${'5a'.repeat(32)}\ndo`)
      assert.equal(await read(answers, 7), 'pong 1\n')
      hook.stdin?.write('ne 2\n')
      assert.equal(await read(answers, 7), 'done 2\n')
      // The answer to what follows one that was handed over is the shell's.
      hook.stdin?.write('time 5\ndone 3\nping 4\n')
      assert.equal(await read(handed, 14), 'time 5\ndone 3\n')
      assert.equal(await read(answers, 7), 'pong 4\n')
    } finally {
      hook.kill('SIGKILL')
      await once(hook, 'exit')
      rmSync(directory, { recursive: true, force: true })
    }
  })

async function read(stream: Readable | null, length: number): Promise<string> {
  assert.ok(stream)
  let text = ''
  while (text.length < length) {
    const chunk = stream.read() as Buffer | null
    if (chunk) text += chunk.toString('latin1')
    else await once(stream, 'readable')
  }
  return text
}
