/** Hooks and protection: who may say no to a start. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { parseDefinition } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'

describe('hooks and protection', { skip }, () => {
  let directory = ''
  let disk = ''
  let hooks = ''
  let told = ''
  let connection: CompleteConnection
  let domains: CompleteConnection['domains']

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-hooks-'))
    disk = join(directory, 'disk.raw')
    hooks = join(directory, 'hooks')
    told = join(directory, 'told')
    await Promise.all([writeTestDisk(disk), mkdir(hooks, { mode: 0o755 }), writeFile(told, '')])
    connection = await openTestDriver(directory, { hooks })
    domains = connection.domains
  })
  afterEach(async () => {
    for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
    await rm(join(hooks, '20-refuse'), { force: true })
  })
  after(async () => {
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function writeHook(name: string, lines: readonly string[]): Promise<string> {
    const path = join(hooks, name)
    await writeFile(path, ['#!/bin/sh', ...lines, ''].join('\n'))
    await chmod(path, 0o755)
    return path
  }

  async function hear(wanted: readonly string[]): Promise<void> {
    const deadline = performance.now() + 60_000
    for (;;) {
      const lines = (await readFile(told, 'utf8')).trim().split('\n')
      if (wanted.every((line) => lines.includes(line))) return
      assert.ok(performance.now() < deadline, JSON.stringify({ wanted, lines }))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  test('a hook is told of each step, with the definition and a clean environment', async () => {
    const seen = join(directory, 'seen')
    await writeHook('10-tell', [
      `echo "$1 $2 $3 $4" >>${told}`,
      `test "$2" = prepare && cat >${seen}.xml && env >${seen}.env`,
      'exit 0',
    ])
    await writeFile(join(hooks, 'README'), 'no program')
    const { uuid } = await domains.define(testDefinition('hooked, $(x)', disk))
    await domains.start(uuid)
    await domains.destroy(uuid)
    const name = 'hooked, $(x)'
    await hear([
      ...['prepare', 'start', 'started'].map((step) => `${name} ${step} begin -`),
      ...['stopped', 'release'].map((step) => `${name} ${step} end destroyed`),
    ])
    const { uuid: passed } = parseDefinition(await readFile(`${seen}.xml`, 'utf8'), 'xml')
    assert.equal(passed, uuid)
    const environment = (await readFile(`${seen}.env`, 'utf8')).split('\n').map((line) => line.split('=')[0])
    assert.ok(!environment.includes('HOME') && !environment.includes('VISOR_STATE_DIR'), String(environment))
  })

  test('of a guest that ended while no daemon ran, the next daemon tells', async () => {
    const { uuid } = await domains.define(testDefinition('unseen', disk))
    await domains.start(uuid)
    const { pid = 0 } = await domains.get(uuid)
    await connection.close()
    process.kill(pid, 'SIGKILL')
    const deadline = performance.now() + 60_000
    while (existsSync(`/proc/${pid}`)) {
      assert.ok(performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    connection = await openTestDriver(directory, { hooks })
    domains = connection.domains
    assert.equal((await domains.get(uuid)).state, 'shutoff')
    await hear(['unseen stopped end unknown', 'unseen release end unknown'])
  })

  test('a hook that refuses stops the start, with its words, and nothing is left', async () => {
    await writeHook('20-refuse', ['test "$2" != start || { echo "no licence left" >&2; exit 3; }'])
    const { uuid } = await domains.define(testDefinition('refused', disk))
    await assert.rejects(domains.start(uuid), (error: { code?: string; message?: string }) => {
      assert.equal(error.code, 'failed')
      assert.match(error.message ?? '', /20-refuse' refuses to start domain 'refused': no licence left/u)
      return true
    })
    assert.equal((await domains.get(uuid)).state, 'shutoff')
    await hear(['refused release end failed'])
  })

  test('a hook that others may write is not run', async () => {
    await chmod(await writeHook('20-refuse', ['exit 0']), 0o777)
    const { uuid } = await domains.define(testDefinition('untrusted', disk))
    await assert.rejects(domains.start(uuid), { code: 'denied' })
  })

  test('a protected machine is neither undefined nor started, over a define and a new daemon', async () => {
    const { uuid } = await domains.define(testDefinition('precious', disk))
    await domains.setProtection(uuid, { undefine: true, start: true })
    await domains.define({ ...testDefinition('precious', disk), uuid, title: 'changed' })
    await connection.close()
    connection = await openTestDriver(directory)
    domains = connection.domains
    assert.deepEqual((await domains.get(uuid)).protectedFrom, ['undefine', 'start'])
    await assert.rejects(domains.undefine(uuid), (error: { code?: string; remedy?: string }) => {
      assert.equal(error.code, 'invalid-state')
      assert.match(error.remedy ?? '', /visor protect precious --no-undefine/u)
      return true
    })
    await assert.rejects(domains.start(uuid), { code: 'invalid-state' })
    await domains.setProtection(uuid, { start: false })
    await domains.start(uuid)
    await domains.destroy(uuid)
    assert.deepEqual((await domains.get(uuid)).protectedFrom, ['undefine'])
    await domains.setProtection(uuid, { undefine: false })
    assert.equal((await domains.get(uuid)).protectedFrom, undefined)
    await domains.undefine(uuid)
  })
})
