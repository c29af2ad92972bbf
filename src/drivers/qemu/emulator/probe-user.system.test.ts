/** Who runs the QEMU that is only asked what it can do. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, test } from 'node:test'
import { findProgram, inspectEmulator } from './emulator.ts'
import { runTinyGuest } from './kvm.ts'
import { probeUid } from './probe-user.ts'

const qemu = await findProgram('qemu-system-x86_64')
const skip =
  process.getuid?.() !== 0
    ? 'only root can run programs as somebody else'
    : qemu
      ? false
      : 'qemu-system-x86_64 is not installed'

describe('who asks a QEMU', { skip }, () => {
  let top = ''
  let seen = ''
  let closed = ''

  before(async () => {
    top = await mkdtemp(join(tmpdir(), 'visor-probe-'))
    await chmod(top, 0o711)
    closed = join(top, 'closed')
    await mkdir(closed, { mode: 0o700 })
    seen = join(top, 'seen')
  })
  beforeEach(async () => {
    await rm(seen, { force: true })
    await writeFile(seen, '')
    await chmod(seen, 0o666)
  })
  after(() => rm(top, { recursive: true, force: true }))

  /** A QEMU that writes down who runs it. */
  async function tellingQemu(folder: string): Promise<string> {
    const program = join(folder, 'qemu-system-x86_64')
    await writeFile(program, `#!/bin/sh\necho "$(id -u) $(id -G)" >> '${seen}'\nexec '${qemu}' "$@"\n`)
    await chmod(program, 0o755)
    return program
  }
  const said = async () => (await readFile(seen, 'utf8')).trim().split('\n')

  test('a user of its own, who is let at what it needs and no longer', async () => {
    const program = await tellingQemu(closed)
    const emulator = await inspectEmulator('x86_64', program)
    assert.equal(emulator.asRoot, undefined)
    assert.ok(emulator.sandbox && emulator.machines.length > 10)
    const { letters, asRoot } = await runTinyGuest(program, ['-accel', 'tcg'])
    assert.deepEqual([letters, asRoot], ['RPLS', undefined])
    for (const line of await said()) assert.match(line, new RegExp(`^${probeUid} \\d{3,}$`, 'u'))
    assert.equal((await said()).length, 2)
    const lists = execFileSync('getfacl', ['-np', closed, program], { encoding: 'utf8' })
    assert.doesNotMatch(lists, /^user:\d/mu)
  })

  test('root, with the reason, where nobody else can be let at it', async () => {
    const bare = join(top, 'bare')
    await mkdir(bare)
    // A file system without lists.
    execFileSync('mount', ['-t', 'ramfs', 'none', bare])
    try {
      await chmod(bare, 0o700)
      const emulator = await inspectEmulator('x86_64', await tellingQemu(bare))
      assert.match(emulator.asRoot ?? '', /the folder '.*bare' cannot be entered/u)
      assert.deepEqual(await said(), ['0 0'])
    } finally {
      execFileSync('umount', [bare])
    }
  })
})
