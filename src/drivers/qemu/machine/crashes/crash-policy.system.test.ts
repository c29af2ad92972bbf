/** What becomes of a guest that tells of its crash over a pvpanic device. */
import assert from 'node:assert/strict'
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { eventHub, memoryStore, openDefinedDomains, silentLog } from '../../../../driver/index.ts'
import { findCgroupHierarchies } from '../../../../host/index.ts'
import type { Context } from '../../context.ts'
import { completeDefinition } from '../../definition/definition.ts'
import { findProgram, inspectEmulator } from '../../emulator/emulator.ts'
import { bootDisk } from '../../emulator/kvm.ts'
import { driverPaths } from '../../paths.ts'
import { openRegistry, type Registry } from '../../registry.ts'
import { testDefinition } from '../../testing/test-guest.ts'
import { openConfinement } from '../confinement.ts'
import { openHooks } from '../hooks.ts'
import { launch } from '../launch.ts'
import type { Machine } from '../machine.ts'
import { policies } from '../policies.ts'

const path = await findProgram('qemu-system-x86_64')
const skip = path ? false : 'qemu-system-x86_64 is not installed'

/** Says `w` and crashes, each time it is booted. */
const crasher = 'uvgDsHfuugUFsAHu9Ov9'

describe('crashes', { skip }, () => {
  let directory = ''
  let context: Context
  let registry: Registry

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-crash-'))
    await writeFile(join(directory, 'disk.raw'), bootDisk(crasher))
    const emulator = await inspectEmulator('x86_64', path ?? '')
    const store = memoryStore()
    context = {
      owner: directory,
      paths: driverPaths(join(directory, 'state'), join(directory, 'run')),
      store,
      log: silentLog,
      cgroups: await findCgroupHierarchies(),
      frozen: new Map(),
      linked: new Map(),
      networks: undefined,
      storage: undefined,
      connect: undefined,
      migration: {},
      confinement: openConfinement({}),
      hooks: openHooks(undefined, silentLog),
      findEmulator: async () => emulator,
      kvm: async () => ({ works: false, detail: 'Not asked for by this test.' }),
    }
    registry = openRegistry(context, await openDefinedDomains(store, 'qemu'), eventHub())
    registry.watchers.add(policies(context, registry).watch)
  })
  afterEach(async () => {
    for (const [, machine] of registry.machines()) await machine.kill('destroyed')
  })
  after(() => rm(directory, { recursive: true, force: true }))

  async function crash(
    onCrash: 'destroy' | 'restart' | 'preserve' | 'coredump-destroy' | 'coredump-restart',
  ) {
    const wanted = { ...testDefinition(`crash-${onCrash}`, join(directory, 'disk.raw')), onCrash }
    const definition = await completeDefinition(wanted, context)
    await registry.defined.put({ definition, autostart: false })
    const machine = await launch(context, {
      definition,
      id: registry.nextId(),
      // Only when it is admitted are its events anybody's business.
      paused: true,
      tell: registry.tellFrom(definition.uuid),
      arrange: (args) => [...args, '-device', 'pvpanic'],
    })
    registry.admit(definition.uuid, machine, { type: 'started', reason: 'booted' })
    await machine.monitor.execute('cont')
    return { machine, uuid: definition.uuid }
  }

  async function until(fits: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + 60_000
    while (!(await fits())) {
      assert.ok(performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  const starts = async ({ consoles }: Machine) =>
    Buffer.from((await consoles.get('serial0')?.log.tail()) ?? []).toString('latin1').length

  async function dumps(): Promise<string[]> {
    return (await readdir(context.paths.dumps).catch(() => [])).filter((name) => name.endsWith('.core'))
  }

  test('destroy: it ends, and is said to have crashed', async () => {
    const { machine, uuid } = await crash('destroy')
    assert.equal((await machine.ended).reason, 'crashed')
    assert.equal(registry.domain(uuid).reason, 'crashed')
  })

  test('preserve: it stays, to be looked at', async () => {
    const { uuid } = await crash('preserve')
    await until(() => registry.domain(uuid).state === 'crashed')
    assert.match(registry.domain(uuid).message ?? '', /panicked/u)
  })

  test('restart: it runs anew, as often as it crashes, but later each time', async () => {
    const begun = performance.now()
    const { machine, uuid } = await crash('restart')
    await until(async () => /2 times in a row.* after 2 s/u.test(registry.domain(uuid).message ?? ''))
    assert.equal(registry.domain(uuid).state, 'crashed')
    await until(async () => (await starts(machine)) >= 3)
    assert.ok(performance.now() - begun >= 3_000)
    // One that waits ends at once when it is to.
    await until(() => /3 times in a row.* after 4 s/u.test(registry.domain(uuid).message ?? ''))
    await machine.kill('destroyed')
    assert.equal((await machine.ended).reason, 'destroyed')
    assert.deepEqual([registry.domain(uuid).state, registry.domain(uuid).reason], ['shutoff', 'destroyed'])
  })

  test('coredump: its memory is written first, then it ends, or runs anew', async () => {
    const { machine } = await crash('coredump-destroy')
    assert.equal((await machine.ended).reason, 'crashed')
    const [name = ''] = await dumps()
    assert.match(name, /^crash-coredump-destroy-.*\.core$/u)
    const file = await open(join(context.paths.dumps, name))
    const head = await file.read(Buffer.alloc(4), 0, 4, 0)
    await file.close()
    assert.equal(head.buffer.toString('latin1'), '\x7fELF')
    const again = await crash('coredump-restart')
    await until(async () => (await starts(again.machine)) >= 2 && (await dumps()).length >= 2)
  })
})
