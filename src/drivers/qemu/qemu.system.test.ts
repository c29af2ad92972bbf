import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type ByteStream, type CompleteConnection, memoryStore, silentLog } from '../../driver/index.ts'
import { cgroupPaths, findCgroupHierarchies, run } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import type { Context } from './context.ts'
import { completeDefinition } from './definition/definition.ts'
import { findProgram, inspectEmulator } from './emulator/emulator.ts'
import { runTinyGuest } from './emulator/kvm.ts'
import { openConfinement } from './machine/confinement.ts'
import { openHooks } from './machine/hooks.ts'
import { launch } from './machine/launch.ts'
import { driverPaths } from './paths.ts'
import { openTestDriver } from './testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from './testing/test-guest.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'

describe('QEMU guests', { skip }, () => {
  let directory = ''
  let disk = ''
  let connection: CompleteConnection
  let domains: CompleteConnection['domains']

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-qemu-'))
    disk = join(directory, 'disk.raw')
    await writeTestDisk(disk)
    await open()
  })
  after(async () => {
    for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
    await connection.close()
    assert.deepEqual(await guestProcesses(directory), [])
    await rm(directory, { recursive: true, force: true })
  })

  async function open(): Promise<void> {
    connection = await openTestDriver(directory)
    domains = connection.domains
  }

  async function started(name: string, more = {}): Promise<string> {
    const { uuid } = await domains.define(testDefinition(name, disk, more))
    await domains.start(uuid)
    return uuid
  }

  /** Waits until a guest has said something. */
  async function hear(uuid: string, text: string): Promise<void> {
    const console = await domains.openConsole(uuid, { scrollback: true })
    await saidBy(console, text)
    await console.close()
  }

  test('many starts and ends leave no process, file, socket, cgroup or descriptor', async () => {
    const { uuid } = await domains.define(testDefinition('rounds', disk))
    await round(uuid)
    const files = await openFiles()
    for (let rounds = 0; rounds < 100; rounds++) await round(uuid)
    assert.deepEqual(await openFiles(), files)
    assert.deepEqual(await readdir(join(directory, 'run', 'qemu')), [])
    assert.deepEqual(await guestProcesses(directory), [])
    assert.deepEqual(await leftCgroups(uuid), [])
    await domains.undefine(uuid)
    assert.deepEqual(await readdir(join(directory, 'state', 'qemu', 'consoles')), [])
  })

  async function round(uuid: string): Promise<void> {
    await domains.start(uuid)
    await domains.destroy(uuid)
  }

  test('names with commas, spaces and quotes are only names', async () => {
    const odd = join(directory, `a, b='c" d`)
    await writeTestDisk(odd)
    const { uuid } = await domains.define({
      ...testDefinition(`n,ame=x "'`, odd),
      devices: { disks: [{ file: odd, target: 'vda', serial: 'a b,c'.replace(',', '.') }], serials: [{}] },
    })
    await domains.start(uuid)
    await hear(uuid, 'ready')
    await domains.destroy(uuid)
  })

  test('every device of the catalogue starts', async () => {
    const drive = join(directory, 'drive.qcow2')
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', drive, '8M'])
    for (const machine of ['q35', 'pc']) {
      const bus = machine === 'q35' ? 'sata' : 'ide'
      const { uuid } = await domains.define({
        type: 'qemu',
        name: `catalogue-${machine}`,
        memoryKiB: 96 * 1024,
        currentMemoryKiB: 64 * 1024,
        vcpus: 2,
        cpu: {
          model: 'qemu64',
          features: [{ name: 'sse4.2' }],
          topology: { sockets: 1, cores: 2, threads: 1 },
        },
        os: { machine, boot: ['hd', 'cdrom', 'network'] },
        features: { acpi: true, apic: true, vmport: false },
        clock: {
          offset: 'localtime',
          timers: [
            { name: 'rtc', tickPolicy: 'catchup' },
            { name: 'hpet', present: false },
          ],
        },
        powerManagement: { suspendToMemory: false, suspendToDisk: false },
        devices: {
          disks: [
            { file: disk, target: 'vda', readonly: true },
            {
              file: drive,
              format: 'qcow2',
              target: 'vdb',
              cache: 'none',
              io: 'threads',
              discard: 'unmap',
              serial: 'x1',
            },
            { target: machine === 'q35' ? 'sda' : 'hda', device: 'cdrom', bus },
            { file: disk, target: 'sdb', device: 'cdrom', bus },
            { file: disk, target: 'sdc', bus: 'scsi', readonly: true },
            { file: disk, target: 'sdd', bus: 'usb', readonly: true },
          ],
          interfaces: [{ type: 'user' }, { type: 'user', model: 'e1000', link: 'down' }],
          serials: [{}, { type: 'null' }, { type: 'unix', path: join(directory, `${machine}.sock`) }],
          consoles: [{ target: 'serial' }, { target: 'virtio' }],
          channels: [{ name: 'org.qemu.guest_agent.0' }],
          inputs: [{ type: 'tablet' }, { type: 'keyboard', bus: 'virtio' }, { type: 'mouse', bus: 'ps2' }],
          graphics: [{ type: 'vnc' }],
          videos: [{ model: 'virtio', heads: 2 }, { model: 'vga' }],
          memballoon: { model: 'virtio', statsPeriodSeconds: 5, autodeflate: true },
          rngs: [{}, { backend: 'builtin', rateBytes: 1024 }],
        },
      })
      await domains.start(uuid)
      await hear(uuid, 'ready')
      const [stats] = await domains.stats({ domains: [uuid] })
      assert.equal(stats?.blocks.length, 6)
      assert.equal(stats?.vcpus.length, 2)
      assert.equal((await domains.screenshot(uuid, { screen: 2 })).mediaType, 'image/png')
      assert.ok(existsSync(join(directory, 'run', 'qemu', uuid, 'io', 'vnc.sock')))
      await domains.save(uuid)
      await domains.start(uuid)
      assert.equal((await domains.get(uuid)).reason, 'restored')
      await domains.destroy(uuid)
    }
  })

  test('what is missing or not what it is said to be stops the start, with nothing left', async () => {
    const file = join(directory, 'not.qcow2')
    await writeFile(file, 'x'.repeat(1000))
    const cases = [
      [{ file: join(directory, 'nowhere.raw'), target: 'vda' }, 'not-found'],
      [{ file, target: 'vda', format: 'qcow2' }, 'failed'],
      [{ file: directory, target: 'vda' }, 'failed'],
    ] as const
    for (const [one, code] of cases) {
      const { uuid } = await domains.define({ ...testDefinition('missing', disk), devices: { disks: [one] } })
      await assert.rejects(domains.start(uuid), { code })
      assert.equal((await domains.get(uuid)).state, 'shutoff')
    }
    assert.deepEqual(await readdir(join(directory, 'run', 'qemu')), [])
  })

  test('a start that QEMU refuses says why, and leaves nothing', async () => {
    const definition = testDefinition('refused', disk)
    const kernel = join(directory, 'no-kernel')
    await writeFile(kernel, 'this is no kernel')
    const { uuid } = await domains.define({ ...definition, os: { ...definition.os, kernel } })
    await assert.rejects(domains.start(uuid), (error: unknown) => {
      assert.ok(error instanceof VisorError && error.code === 'failed')
      assert.match(error.message, /could not be started: .*invalid kernel header/u)
      return true
    })
    assert.deepEqual(await readdir(join(directory, 'run', 'qemu')), [])
    assert.equal((await domains.get(uuid)).reason, 'failed')
  })

  test('a reboot starts the guest anew, in the same machine, and powers off afterwards', async () => {
    const uuid = await started('rebooting')
    await hear(uuid, 'ready')
    await domains.reboot(uuid)
    const console = await domains.openConsole(uuid, { scrollback: true })
    await saidBy(console, 'ready\nready')
    await console.write(Buffer.from('n'))
    await saidBy(console, ':0001n')
    await console.close()
    const stopped = connection.events()[Symbol.asyncIterator]()
    await domains.shutdown(uuid)
    for (let next = await stopped.next(); next.value?.type !== 'stopped'; ) next = await stopped.next()
    assert.equal((await domains.get(uuid)).reason, 'shutdown')
  })

  test('a viewer that does not read holds up neither the guest nor others', async () => {
    const uuid = await started('flood')
    const idle = await domains.openConsole(uuid, { scrollback: true })
    const busy = await domains.openConsole(uuid, { scrollback: true })
    await busy.write(Buffer.from('fz'))
    await saidBy(busy, ':0001z')
    await Promise.all([idle.close(), busy.close()])
    await domains.destroy(uuid)
  })

  test('a save that cannot be finished leaves the guest running, and no file', async () => {
    const uuid = await started('unsaved')
    const folder = join(directory, 'closed')
    await assert.rejects(domains.save(uuid, { file: join(folder, 'state') }), { code: 'not-found' })
    const abort = new AbortController()
    const file = join(directory, 'cancelled.state')
    const saved = domains.save(uuid, { file, signal: abort.signal, progress: () => abort.abort() })
    await assert.rejects(saved, { code: 'cancelled' })
    assert.deepEqual(
      (await readdir(directory)).filter((name) => name.startsWith('cancelled')),
      [],
    )
    assert.equal((await domains.get(uuid)).state, 'running')
    const console = await domains.openConsole(uuid, { scrollback: true })
    await saidBy(console, 'ready')
    await console.write(Buffer.from('a'))
    await saidBy(console, ':0001a')
    await console.close()
    await domains.destroy(uuid)
  })

  test('a damaged saved state is refused and kept, and can be dropped', async () => {
    const uuid = await started('damaged')
    await domains.save(uuid)
    const file = join(directory, 'state', 'qemu', 'saved', `${uuid}.visor-state`)
    const bytes = await readFile(file)
    await writeFile(file, bytes.subarray(0, bytes.length - 10))
    await assert.rejects(domains.start(uuid), { code: 'failed' })
    await writeFile(file, Buffer.concat([bytes.subarray(0, 8192), Buffer.alloc(bytes.length - 8192, 0x5a)]))
    await assert.rejects(domains.start(uuid), { code: 'failed' })
    assert.equal((await domains.get(uuid)).saved, true)
    assert.deepEqual(await readdir(join(directory, 'run', 'qemu')), [])
    await domains.start(uuid, { discardSaved: true })
    await domains.destroy(uuid)
  })

  test('whenever the daemon is killed, what was acknowledged holds, and nothing is orphaned', async () => {
    await connection.close()
    for (let rounds = 0; rounds < 12; rounds++) {
      const { lines, uuid } = await killedDaemon(`victim-${rounds}`, rounds * 25)
      await open()
      if (uuid) await judge(uuid, lines)
      const running = (await domains.list({ states: ['running', 'paused'] })).map(({ pid }) => pid).sort()
      assert.deepEqual((await guestProcesses(directory)).sort(), running)
      for (const domain of await domains.list()) {
        if (domain.state !== 'shutoff') await domains.destroy(domain.uuid)
        if (domain.name.startsWith('victim')) await domains.undefine(domain.uuid, { savedState: true })
      }
      assert.deepEqual(await readdir(join(directory, 'run', 'qemu')), [])
      await connection.close()
    }
    await open()
  })

  /** Lets a daemon work, and kills it some time after it has begun. */
  async function killedDaemon(name: string, delayMs: number) {
    const daemon = spawn(
      process.execPath,
      [join(import.meta.dirname, 'testing/test-daemon.ts'), directory, name],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    let said = ''
    daemon.stdout.on('data', (chunk) => {
      said += String(chunk)
    })
    await lineOf(daemon, () => said.includes('begin'))
    await new Promise((resolve) => setTimeout(resolve, delayMs))
    const gone = new Promise((resolve) => daemon.once('close', resolve))
    daemon.kill('SIGKILL')
    await gone
    const lines = said.trim().split('\n')
    return { lines, uuid: /^defined (.*)$/mu.exec(said)?.[1] }
  }

  async function lineOf(daemon: ChildProcess, seen: () => boolean): Promise<void> {
    while (!seen() && daemon.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  /** What must hold after the last thing the daemon said. */
  async function judge(uuid: string, lines: readonly string[]): Promise<void> {
    const last = lines.at(-1) ?? ''
    const { state, saved } = await domains.get(uuid)
    const context = `after '${lines.slice(-2).join(', ')}' it is ${state}, ${saved ? '' : 'not '}saved`
    if (last === 'begin save')
      assert.ok((state === 'running' && !saved) || (state === 'shutoff' && saved), context)
    else if (last === 'begin restore')
      assert.ok((state === 'running' && !saved) || (state === 'shutoff' && saved), context)
    else if (last === 'running') assert.ok(state === 'running' && !saved, context)
    else if (last === 'saved') assert.ok(state === 'shutoff' && saved, context)
    else if (last === 'off') assert.ok(state === 'shutoff' && !saved, context)
    else assert.ok(!saved, context)
    if (state !== 'running') return
    await hear(uuid, 'ready')
  }
})

const noKvm = existsSync('/dev/kvm') ? skip || mayNotUseKvm() : 'there is no /dev/kvm'

function mayNotUseKvm(): string | false {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
    return false
  } catch {
    return 'this user may not use /dev/kvm'
  }
}

test('a boot sector runs under KVM too', { skip: noKvm }, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'visor-kvm-'))
  const disk = join(directory, 'disk.raw')
  try {
    await writeTestDisk(disk)
    const path = (await findProgram('qemu-system-x86_64')) ?? ''
    const emulator = await inspectEmulator('x86_64', path)
    const context: Context = {
      owner: directory,
      paths: driverPaths(join(directory, 'state'), join(directory, 'run')),
      store: memoryStore(),
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
      kvm: async () => ({ works: true, detail: 'Taken for granted by this test.' }),
    }
    const wanted = { ...testDefinition('kvm', disk), type: 'kvm' as const, cpu: { model: 'qemu64' } }
    const definition = await completeDefinition(wanted, context)
    const machine = await launch(context, { definition, id: 1, paused: false, tell() {} })
    const console = await machine.consoles.get('serial0')?.open({ scrollback: true })
    assert.ok(console)
    await saidBy(console, 'ready')
    await console.close()
    await machine.kill('destroyed')
    assert.deepEqual(await readdir(join(directory, 'run', 'qemu')), [])
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

test('the tiny guest gets to its end under emulation', { skip }, async () => {
  const path = (await findProgram('qemu-system-x86_64')) ?? ''
  assert.equal((await runTinyGuest(path, ['-accel', 'tcg'])).letters, 'RPLS')
})

/** Reads a console until it has said something. */
async function saidBy(console: ByteStream, text: string): Promise<void> {
  let said = ''
  for await (const bytes of console) {
    said += Buffer.from(bytes).toString('latin1')
    if (said.includes(text)) return
  }
  assert.fail(`The console ended without '${text}': ${JSON.stringify(said.slice(-200))}`)
}

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

/** What is open in this process, as a count by kind. */
async function openFiles(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  const { readlink } = await import('node:fs/promises')
  for (const fd of await readdir('/proc/self/fd')) {
    const kind = (await readlink(`/proc/self/fd/${fd}`).catch(() => 'gone')).replace(/[:[].*/u, '')
    if (kind === 'socket' || kind.includes('visor-qemu')) counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

async function leftCgroups(part: string): Promise<string[]> {
  const parents = cgroupPaths(await findCgroupHierarchies(), '')
  const found = await Promise.all(parents.map(async (path) => (existsSync(path) ? readdir(path) : [])))
  return found.flat().filter((name) => name.includes(part))
}
