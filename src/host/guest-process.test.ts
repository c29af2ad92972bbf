import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { findCgroupHierarchies } from './cgroup.ts'
import { adoptGuests, spawnGuest } from './guest-process.ts'
import { isRunning } from './process.ts'

const cgroups = await findCgroupHierarchies()
const sleeper = ['-e', 'setInterval(() => {}, 1000); process.title = "guest"']

async function withParent(work: (parent: string) => Promise<void>): Promise<void> {
  const parent = await mkdtemp(join(tmpdir(), 'visor-guest-'))
  try {
    await work(parent)
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

const sleepyGuest = (parent: string, name = 'a') => ({
  directory: join(parent, name),
  name: `test-${name}`,
  program: process.execPath,
  args: sleeper,
  cgroups,
  details: { some: 'thing' },
})

test('a guest runs in its own session and cgroups, and leaves nothing when it is released', () =>
  withParent(async (parent) => {
    const guest = await spawnGuest(sleepyGuest(parent))
    await guest.confirm({ some: 'other' })
    const stat = await readFile(`/proc/${guest.identity.pid}/stat`, 'latin1')
    assert.equal(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]), guest.identity.pid)
    assert.deepEqual(guest.details, { some: 'other' })
    for (const cgroup of guest.cgroups)
      assert.match(await readFile(join(cgroup, 'cgroup.procs'), 'utf8'), new RegExp(`${guest.identity.pid}`))
    const exit = await guest.kill()
    assert.equal(exit.signal, 'SIGKILL')
    await guest.release()
    assert.ok(!guest.cgroups.some((cgroup) => existsSync(cgroup)))
    assert.deepEqual(await readdir(parent), [])
  }))

test('sockets reach the guest from file descriptor 3 on', () =>
  withParent(async (parent) => {
    const guest = await spawnGuest({
      ...sleepyGuest(parent),
      args: ['-e', "require('fs').writeSync(3, 'hello')"],
      sockets: 1,
    })
    const [socket] = guest.sockets
    assert.ok(socket)
    let said = ''
    for await (const chunk of socket) said += String(chunk)
    assert.match(said, /^hello$/u)
    assert.equal((await guest.exited).code, 0)
    await guest.release()
  }))

test('a confirmed guest is adopted, and can be killed by who adopted it', () =>
  withParent(async (parent) => {
    const guest = await spawnGuest(sleepyGuest(parent))
    await guest.confirm({ step: 2 })
    const [adopted, ...others] = await adoptGuests(parent)
    assert.ok(adopted)
    assert.equal(others.length, 0)
    assert.deepEqual(adopted.identity, guest.identity)
    assert.deepEqual(adopted.details, { step: 2 })
    await adopted.kill()
    await adopted.release()
    assert.ok(!isRunning(guest.identity))
    assert.deepEqual(await readdir(parent), [])
  }))

test('a guest that nobody confirmed is found by its marker and ended', () =>
  withParent(async (parent) => {
    const guest = await spawnGuest(sleepyGuest(parent))
    assert.deepEqual(await adoptGuests(parent), [])
    await guest.exited
    assert.ok(!isRunning(guest.identity))
    assert.deepEqual(await readdir(parent), [])
  }))

test('records that are broken, of another boot or of a reused process id touch no process', () =>
  withParent(async (parent) => {
    const records = {
      broken: '{"marker":',
      boot: JSON.stringify({ ...sound, boot: 'another' }),
      reused: JSON.stringify({ ...sound, process: { pid: process.pid, startTime: '1' } }),
    }
    for (const [name, text] of Object.entries(records)) {
      await mkdir(join(parent, name))
      await writeFile(join(parent, name, 'record.json'), text)
    }
    assert.deepEqual(await adoptGuests(parent), [])
    assert.deepEqual(await readdir(parent), [])
  }))

test('a missing program is unavailable and leaves nothing', () =>
  withParent(async (parent) => {
    const missing = { ...sleepyGuest(parent), program: '/nowhere/at-all' }
    await assert.rejects(spawnGuest(missing), { code: 'unavailable' })
    assert.deepEqual(await readdir(parent), [])
  }))

const sound = {
  marker: 'x',
  boot: (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim(),
  phase: 'running',
  process: { pid: process.pid, startTime: '1' },
  cgroups: [],
  details: {},
}
