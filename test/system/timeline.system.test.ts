/** Where the time of a start goes, and the memory of a guest for a debugger: seen with the real micro guest. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { openTerminal, prompt, type Terminal } from '../../src/drivers/qemu/testing/test-terminal.ts'
import { kernelCommandLine } from '../../src/model/index.ts'
import { buildTestImage } from '../../src/storage/testing/test-images.ts'
import { openDriver } from '../conformance/open-driver.ts'

const missing = (program: string) => spawnSync(program, ['--version']).error !== undefined
const skip = missing('qemu-system-x86_64') && 'qemu-system-x86_64 is not installed'

describe('a guest that boots', { skip }, () => {
  let directory = ''
  let connection: CompleteConnection
  let uuid = ''

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-timeline-'))
    const image = await buildTestImage(directory)
    connection = await openDriver('qemu:///system', directory)
    const commandLine = kernelCommandLine(image, 'timed') ?? ''
    const domain = await connection.domains.define({
      type: 'qemu',
      name: 'timed',
      memoryKiB: 262_144,
      os: { kernel: image.kernel, initrd: image.initrd, commandLine },
      devices: { serials: [{}] },
    })
    uuid = domain.uuid
  })
  after(async () => {
    await connection.domains.destroy(uuid).catch(() => {})
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** How many the guest's kernel counted; it reports an NMI on this console, at times in the middle of a line. */
  async function interrupts(terminal: Terminal): Promise<{ NMI: number; keyboard: number }> {
    let seen = ''
    for (let tries = 0; tries < 20; tries++) {
      seen = await terminal.ask('cat /proc/interrupts')
      const NMI = /NMI: +(\d+) +Non-maskable/u.exec(seen)?.[1]
      const keyboard = / 1: +(\d+).*i8042/u.exec(seen)?.[1]
      if (NMI !== undefined && keyboard !== undefined) return { NMI: Number(NMI), keyboard: Number(keyboard) }
    }
    return assert.fail(`There are no counts in ${JSON.stringify(seen)}`)
  }

  const phases = async () => (await connection.domains.timeline(uuid)).phases.map(({ name }) => name)

  test('has a timeline from the call to its first program, also for the next daemon', async () => {
    await assert.rejects(connection.domains.timeline(uuid), { code: 'invalid-state' })
    await connection.domains.start(uuid)
    assert.deepEqual((await phases()).slice(0, 5), ['preflight', 'storage', 'spawn', 'monitor', 'processors'])
    for (let tries = 0; tries < 600 && !(await phases()).includes('kernel'); tries++)
      await new Promise((resolve) => setTimeout(resolve, 100))
    const timeline = await connection.domains.timeline(uuid)
    const at = Object.fromEntries(timeline.phases.map(({ name, atMs }) => [name, atMs]))
    const order = ['spawn', 'monitor', 'processors', 'firmware', 'kernel'].map(
      (name) => at[name] ?? Number.NaN,
    )
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
      JSON.stringify(timeline),
    )
    await connection.close()
    connection = await openDriver('qemu:///system', directory)
    assert.deepEqual(await connection.domains.timeline(uuid), timeline)
  })

  test('hears its keyboard and its interrupts', async () => {
    const terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
    // What is typed before the shell listens is lost in part.
    await terminal.until(prompt)
    const before = await interrupts(terminal)
    await connection.domains.injectNmi(uuid)
    await connection.domains.sendKey(uuid, { keys: ['KEY_LEFTSHIFT', 'KEY_H'] })
    await assert.rejects(connection.domains.sendKey(uuid, { keys: ['KEY_NOSUCH'] }), {
      code: 'invalid-argument',
    })
    let after = await interrupts(terminal)
    for (let tries = 0; tries < 100 && after.keyboard < before.keyboard + 4; tries++)
      after = await interrupts(terminal)
    await terminal.close()
    assert.equal(after.NMI - before.NMI, 1)
    // Each key is an interrupt when it goes down and one when it comes up, and some have a prefix.
    assert.ok(after.keyboard - before.keyboard >= 4, JSON.stringify({ before, after }))
  })

  test('has its memory written for a debugger, and goes on', async () => {
    const file = join(directory, 'a core, "dumped"')
    const seen: string[] = []
    await connection.domains.coreDump(uuid, { file, progress: ({ phase }) => void seen.push(phase ?? '') })
    const dump = await open(file)
    const head = Buffer.alloc(20)
    await dump.read(head, 0, 20, 0)
    const { size } = await dump.stat()
    await dump.close()
    // ELF, a core file (e_type 4), for x86-64 (e_machine 62).
    assert.deepEqual(
      [head.toString('latin1', 1, 4), head.readUInt16LE(16), head.readUInt16LE(18)],
      ['ELF', 4, 62],
    )
    assert.ok(size > 262_144 * 1024)
    const { state, reason } = await connection.domains.get(uuid)
    assert.equal(state, 'running', reason)
    const nowhere = join(directory, 'nosuch', 'core')
    await assert.rejects(connection.domains.coreDump(uuid, { file: nowhere }), { code: 'not-found' })
    await connection.domains.coreDump(uuid, { file: `${file}2`, afterwards: 'destroy' })
    assert.equal((await connection.domains.get(uuid)).state, 'shutoff')
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.endsWith('.partial')),
      [],
    )
  })

  test('has its saved state discarded when asked', async () => {
    await assert.rejects(connection.domains.discardSaved(uuid), { code: 'invalid-state' })
    await connection.domains.start(uuid)
    await connection.domains.save(uuid)
    assert.equal((await connection.domains.get(uuid)).saved, true)
    await connection.domains.discardSaved(uuid)
    assert.equal((await connection.domains.get(uuid)).saved, false)
    await connection.domains.start(uuid)
    assert.equal((await connection.domains.get(uuid)).reason, 'booted')
    await connection.domains.destroy(uuid)
  })
})
