/** Templates and clones when the daemon or a QEMU is killed in the middle, and when the disk is full. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { run } from '../../../host/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { clonerProgram } from '../testing/test-cloner.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'

describe('Templates when something dies', { skip }, () => {
  let directory = ''
  let connection: CompleteConnection
  let source = ''

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-killed-'))
    const disk = join(directory, 'disk.raw')
    await writeTestDisk(disk)
    await writeFile(join(directory, 'data.raw'), Buffer.alloc(65_536))
    connection = await openTestDriver(directory)
    const devices = {
      disks: [
        { file: disk, target: 'vda', readonly: true },
        { file: join(directory, 'data.raw'), target: 'vdb' },
      ],
    }
    const { uuid } = await connection.domains.define(testDefinition('web', disk, devices))
    await connection.domains.start(uuid)
    await hear(uuid, 'ready')
    source = uuid
  })
  after(async () => {
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    assert.deepEqual(await guestProcesses(directory), [])
    await rm(directory, { recursive: true, force: true })
  })

  async function hear(uuid: string, text: string): Promise<void> {
    const console = await connection.domains.openConsole(uuid, { scrollback: true })
    let said = ''
    for await (const bytes of console) {
      said += Buffer.from(bytes).toString('latin1')
      if (said.includes(text)) return console.close()
    }
    assert.fail(`The console ended without '${text}': ${said}`)
  }

  /** The guest counts characters since its boot: that it goes on counting shows that it was not started anew. */
  async function count(uuid: string): Promise<number> {
    const console = await connection.domains.openConsole(uuid)
    await console.write(Buffer.from('a'))
    let said = ''
    for await (const bytes of console) {
      said += Buffer.from(bytes).toString('latin1')
      const found = /:([0-9a-f]{4})a/u.exec(said)?.[1]
      if (found === undefined) continue
      await console.close()
      return Number.parseInt(found, 16)
    }
    assert.fail('The console ended without an answer.')
  }

  test('whenever the daemon is killed, the source goes on and nothing is orphaned', async () => {
    let counted = await count(source)
    for (let rounds = 0; rounds < 10; rounds++) {
      await connection.close()
      const last = await killedCloner(rounds * 90)
      connection = await openTestDriver(directory)
      const now = await count(source)
      assert.equal(now, counted + 1, `after ${last}`)
      counted = now
      await judge(last)
      for (const { uuid, state } of await connection.domains.list()) {
        if (uuid === source) continue
        if (state !== 'shutoff') await connection.domains.destroy(uuid)
        await connection.domains.undefine(uuid)
      }
      for (const { name } of await connection.templates.list()) await connection.templates.remove(name)
      assert.deepEqual(await leftovers(), { templates: [], clones: [], guests: [source] }, last)
    }
  })

  test('when making a template is cancelled, or the QEMU that takes its memory dies, the source goes on', async () => {
    for (const delayMs of [0, 20, 60, 120]) {
      const before = await count(source)
      const signal = AbortSignal.timeout(delayMs)
      const made = await connection.templates.create('given-up', { domain: source, signal }).then(
        () => true,
        (error: { code: string }) => {
          assert.equal(error.code, 'cancelled')
          return false
        },
      )
      assert.equal(await count(source), before + 1)
      if (made) await connection.templates.remove('given-up')
      assert.deepEqual(await leftovers(), { templates: [], clones: [], guests: [source] })
    }
    const before = await count(source)
    let killed = false
    const making = assert.rejects(
      connection.templates.create('holder', {
        domain: source,
        progress({ phase }) {
          if (phase === 'copying memory' && !killed) killed = killOther()
        },
      }),
      { code: 'failed' },
    )
    await making
    assert.equal(await count(source), before + 1)
    assert.deepEqual(await leftovers(), { templates: [], clones: [], guests: [source] })
    // Nothing is based on its disk any more, and it writes to that itself again.
    for (const inactive of [false, true]) {
      const { devices } = await connection.domains.describe(source, { inactive })
      assert.equal(devices.disks[1]?.file, join(directory, 'data.raw'))
    }
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.startsWith('data.')),
      ['data.raw'],
    )
  })

  /** Kills the QEMU that is not the source's, as soon as there is one. */
  function killOther(): boolean {
    const guests = join(directory, 'run', 'qemu')
    for (const uuid of readdirSync(guests).filter((name) => name !== source)) {
      const file = join(guests, uuid, 'record.json')
      const record = existsSync(file) ? readFileSync(file, 'latin1') : ''
      const { pid } = /"pid":(?<pid>\d+)/u.exec(record)?.groups ?? {}
      if (pid === undefined) continue
      process.kill(Number(pid), 'SIGKILL')
      return true
    }
    return false
  }

  test('a clone whose QEMU dies at its start is not there; one that dies later is off', async () => {
    await connection.templates.create('gold', { domain: source })
    const cloning = assert.rejects(connection.templates.clone('gold', { name: 'dies' }), { code: 'failed' })
    while (!killOther()) await new Promise((resolve) => setTimeout(resolve, 1))
    await cloning
    assert.deepEqual(
      (await connection.domains.list()).map(({ name }) => name),
      ['web'],
    )
    assert.deepEqual((await leftovers()).clones, [])
    const [clone] = await connection.templates.clone('gold', { name: 'later' })
    assert.ok(clone?.pid)
    await count(clone.uuid)
    process.kill(clone.pid, 'SIGKILL')
    while ((await connection.domains.get(clone.uuid)).state !== 'shutoff')
      await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal((await connection.domains.get(clone.uuid)).reason, 'crashed')
    assert.deepEqual((await connection.templates.get('gold')).clones, [clone.uuid])
    await connection.domains.start(clone.uuid)
    await hear(clone.uuid, 'ready')
    await connection.domains.destroy(clone.uuid)
    await connection.domains.undefine(clone.uuid)
    await connection.templates.remove('gold')
    assert.deepEqual(await leftovers(), { templates: [], clones: [], guests: [source] })
  })

  test('twelve clones at once are all there, each with its own disk', async () => {
    await connection.templates.create('many', { domain: source })
    const clones = await connection.templates.clone('many', { count: 12 })
    assert.equal(new Set(clones.map(({ pid }) => pid)).size, 12)
    const disks = new Set<string | undefined>()
    for (const { uuid, state } of clones) {
      assert.equal(state, 'running')
      await count(uuid)
      disks.add((await connection.domains.describe(uuid)).devices.disks[1]?.file)
    }
    assert.equal(disks.size, 12)
    for (const { uuid } of clones) {
      await connection.domains.destroy(uuid)
      await connection.domains.undefine(uuid)
    }
    await connection.templates.remove('many')
  })

  test('a template that has no room is not begun', async (context) => {
    const place = join(directory, 'state', 'qemu', 'templates')
    const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place]).catch(
      () => undefined,
    )
    if (mounted?.code !== 0) return context.skip('no file system can be mounted here')
    try {
      const before = await count(source)
      await assert.rejects(connection.templates.create('big', { domain: source }), {
        code: 'failed',
        message: /room/u,
      })
      assert.equal(await count(source), before + 1)
      assert.deepEqual(await leftovers(), { templates: [], clones: [], guests: [source] })
    } finally {
      await run('umount', [place])
    }
  })

  /** Lets another daemon work, and kills it some time after it has begun. */
  async function killedCloner(delayMs: number): Promise<string> {
    const daemon = spawn(process.execPath, [clonerProgram, directory, source], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    daemon.stdout.on('data', (chunk) => {
      said += String(chunk)
    })
    while (!said.includes('begin') && daemon.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, delayMs))
    const gone = new Promise((resolve) => daemon.once('close', resolve))
    daemon.kill('SIGKILL')
    await gone
    return said.trim().split('\n').at(-1) ?? ''
  }

  /** What is there is whole: each template can be cloned, each clone runs, each process is accounted for. */
  async function judge(last: string): Promise<void> {
    const domains = await connection.domains.list()
    const templates = await connection.templates.list()
    assert.deepEqual(
      domains.filter(({ state }) => state !== 'running' && state !== 'shutoff'),
      [],
      last,
    )
    assert.ok(templates.length <= 1, last)
    for (const uuid of templates.flatMap(({ clones }) => clones))
      assert.ok(
        domains.some((domain) => domain.uuid === uuid),
        last,
      )
    for (const { uuid, state } of domains) if (state === 'running' && uuid !== source) await count(uuid)
    for (const { name } of templates) {
      await connection.templates.setPool(name, { size: 0 })
      const [clone] = await connection.templates.clone(name, { name: 'after' })
      assert.ok(clone)
      await count(clone.uuid)
    }
    const running = (await connection.domains.list({ states: ['running'] })).map(({ pid }) => pid)
    assert.deepEqual((await guestProcesses(directory)).sort(), running.sort(), last)
    const { devices } = await connection.domains.describe(source)
    const { devices: next } = await connection.domains.describe(source, { inactive: true })
    assert.equal(next.disks[1]?.file, devices.disks[1]?.file)
    assert.ok((await openFiles(source)).includes(devices.disks[1]?.file ?? ''), last)
  }

  async function openFiles(uuid: string): Promise<string[]> {
    const { pid } = await connection.domains.get(uuid)
    const names = await readdir(`/proc/${pid}/fd`)
    return Promise.all(names.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
  }

  async function leftovers() {
    const [templates, clones, guests] = await Promise.all(
      ['state/qemu/templates', 'state/qemu/clones', 'run/qemu'].map((part) => readdir(join(directory, part))),
    )
    return { templates, clones, guests }
  }
})

/** Processes whose command line names something in this directory: guests of this test. */
async function guestProcesses(directory: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/u.test(pid)) continue
    const line = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')
    if (line.includes('qemu-system') && line.includes(`${directory}/run`)) found.push(Number(pid))
  }
  return found
}
