/** Whichever step of an attach fails, nothing of it stays: in a network namespace, with one guest that runs. */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { silentLog } from '../../../driver/index.ts'
import { openStore } from '../../../host/index.ts'
import { type DevicesInput, type Disk, VisorError } from '../../../model/index.ts'
import { buildTestImage } from '../../../storage/testing/test-images.ts'
import { makeImage } from '../block/image-files.ts'
import { openContext } from '../connection.ts'
import { completeDefinition } from '../definition/definition.ts'
import { findVirtiofsd } from '../devices/shares/virtiofsd.ts'
import { findProgram } from '../emulator/emulator.ts'
import { launch } from '../machine/launch.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import { openTerminal, prompt } from '../testing/test-terminal.ts'
import { attach } from './attach.ts'
import { detach, settlePlugs } from './devices.ts'
import { onlyDevice } from './one-device.ts'

/** How a step does not come to its end: it fails, or whoever takes it is killed before it or after it. */
const ends = ['fails', 'killed-before', 'killed-after'] as const

/** The machine, one of whose doings does not come to its end: the one of this number. */
function failingAt(machine: Machine, number: number, end: (typeof ends)[number]) {
  const steps: string[] = []
  const dead = Promise.withResolvers<'dead'>()
  const die = () => {
    dead.resolve('dead')
    return new Promise<never>(() => {})
  }
  const step = <T>(name: string, work: () => Promise<T>): Promise<T> => {
    steps.push(name)
    if (steps.length - 1 !== number) return work()
    if (end === 'killed-before') return die()
    if (end === 'killed-after') return work().then(die)
    return Promise.reject(new VisorError('failed', `Step ${number}, ${name}, was made to fail.`))
  }
  const { monitor, guest } = machine
  const failing: Machine = Object.create(machine, {
    record: { value: (changes: object) => step('record', () => machine.record(changes)) },
    guest: {
      value: Object.create(guest, {
        grant: { value: (files: never) => step('grant', () => guest.grant(files)) },
      }),
    },
    monitor: {
      value: Object.create(monitor, {
        execute: {
          value: (command: string, ...rest: never[]) =>
            step(command, () => monitor.execute(command, ...rest)),
        },
      }),
    },
  })
  return { failing, steps, dead: dead.promise }
}

/** Those of a device that the guest drives come when it likes. */
async function openFiles(folder: string): Promise<number> {
  const names = await readdir(folder)
  const links = await Promise.all(names.map((name) => readlink(join(folder, name)).catch(() => '')))
  return links.filter((link) => link !== '' && !link.includes('eventfd')).length
}

/** All that an attach may leave. */
async function traces(machine: Machine, directory: string) {
  const { monitor, guest, details } = machine
  const pick = async (command: string, key: string, args?: object) => {
    const answer = await monitor.execute(command, args as never)
    return (Array.isArray(answer) ? answer.filter(isRecord) : []).map((one) => String(one[key])).sort()
  }
  const process = `/proc/${guest.identity.pid}`
  const told = await monitor.execute('human-monitor-command', { 'command-line': 'info network' })
  return {
    nodes: await pick('query-named-block-nodes', 'node-name'),
    blocks: await pick('query-block', 'qdev'),
    ports: await pick('query-chardev', 'label'),
    peripherals: await pick('qom-list', 'name', { path: '/machine/peripheral' }),
    objects: await pick('qom-list', 'name', { path: '/objects' }),
    memory: await pick('query-memory-devices', 'type'),
    cards: String(told),
    links: (await readdir('/sys/class/net')).sort(),
    lists: execFileSync('getfacl', ['-nR', '--absolute-names', join(directory, 'files')], {
      encoding: 'utf8',
    }),
    files: (await readdir(directory, { recursive: true }))
      .filter((name) => !name.startsWith('store') && name !== 'run/virtiofs')
      .sort(),
    locked: /^Max locked memory.*$/mu.exec(await readFile(`${process}/limits`, 'utf8'))?.[0],
    descriptors: await openFiles(`${process}/fd`),
    details: JSON.stringify(details),
    companions: machine.companions.size,
  }
}

/** Folders on the way to what was plugged in stay open until the end of a guest. */
const ofFiles = ({ lists }: { readonly lists: string }) => lists.slice(lists.indexOf('\n\n'))

async function inside(kernel: string, initrd: string, commandLine: string): Promise<void> {
  execFileSync('mount', ['-t', 'sysfs', 'none', '/sys'])
  const directory = await mkdtemp(join(tmpdir(), 'visor-attach-'))
  const files = join(directory, 'files')
  const at = (name: string) => join(files, name)
  await mkdir(files, { mode: 0o700 })
  await mkdir(at('shared'), { mode: 0o700 })
  await writeFile(at('key'), 'open sesame', { mode: 0o600 })
  await writeFile(at('stick.raw'), Buffer.alloc(2 ** 20), { mode: 0o600 })
  execFileSync('qemu-img', ['create', '-q', '-f', 'raw', at('base.raw'), '1M'])
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-F',
    'raw',
    '-b',
    at('base.raw'),
    at('over.qcow2'),
  ])
  await makeImage(at('luks.qcow2'), { format: 'qcow2', sizeBytes: 2 ** 20, keyFile: at('key') })
  for (const name of ['base.raw', 'over.qcow2', 'luks.qcow2']) await chmod(at(name), 0o600)

  const store = await openStore(join(directory, 'store.db'))
  const context = await openContext({
    stateDirectory: join(directory, 'state'),
    runtimeDirectory: join(directory, 'run'),
    store,
    log: silentLog,
  })
  const definition = await completeDefinition(
    {
      type: 'qemu',
      name: 'attached',
      memoryKiB: 192 * 1024,
      maxMemoryKiB: 512 * 1024,
      memorySlots: 2,
      memoryBacking: { source: 'memfd', access: 'shared' },
      os: { machine: 'q35', kernel, initrd, commandLine },
      features: { acpi: true, apic: true },
      cpu: { mode: 'custom', model: 'qemu64', numa: [{ id: 0, cpus: '0', memoryKiB: 192 * 1024 }] },
      devices: { serials: [{}] },
    } as never,
    context,
  )
  const machine = await launch(context, { definition, id: 1, paused: false, tell() {} })
  try {
    const [console] = machine.consoles.values()
    assert.ok(console)
    const terminal = openTerminal(await console.open({ scrollback: true }))
    await terminal.until(prompt)
    const encryption: NonNullable<Disk['encryption']> = {
      format: 'luks',
      secrets: [{ type: 'passphrase', file: at('key') }],
    }
    const devices: Record<string, DevicesInput> = {
      ...((await findVirtiofsd(undefined))
        ? { 'a share': { filesystems: [{ driver: 'virtiofs', source: at('shared'), target: 'sh' }] } }
        : {}),
      'a disk with a base and limits': {
        disks: [{ target: 'vdb', file: at('over.qcow2'), format: 'qcow2', throttle: { totalIopsSec: 100 } }],
      },
      'a disk with a secret': {
        disks: [{ target: 'vdc', file: at('luks.qcow2'), format: 'qcow2', encryption }],
      },
      'a card with a link of the host': { interfaces: [{ type: 'ethernet', queues: 2 }] },
      'a stick and its controller': { disks: [{ target: 'sdb', bus: 'usb', file: at('stick.raw') }] },
      'a channel and its controller': {
        channels: [{ type: 'unix', target: 'virtio', name: 'org.test.0' }],
      },
      'a console that is logged': { consoles: [{ target: 'virtio', type: 'pty' }] },
      'a module of memory': { memories: [{ model: 'dimm', sizeKiB: 128 * 1024, node: 0 }] },
    }
    // A socket or link that is open here would end with the process that is killed, and here nobody is.
    for (const [what, device] of Object.entries(devices))
      for (const end of ends)
        if (end === 'fails' || !(device.filesystems || device.interfaces))
          await breaks(machine, directory, { what, device, end })
  } finally {
    await machine.kill('destroyed')
    await machine.ended
    await store.close()
    await rm(directory, { recursive: true, force: true })
  }

  interface Case {
    readonly what: string
    readonly device: DevicesInput
    readonly end: (typeof ends)[number]
  }

  async function pullOut(device: DevicesInput): Promise<void> {
    const { kind } = onlyDevice(device)
    const all: readonly { alias?: string }[] = machine.details.definition.devices[kind as 'disks']
    await detach(context, machine, { kind, device: { alias: String(all.at(-1)?.alias) } })
  }

  async function breaks(machine: Machine, directory: string, { what, device, end }: Case) {
    const before = await traces(machine, directory)
    for (let at = 0; ; at++) {
      const { failing, steps, dead } = failingAt(machine, at, end)
      const attached = attach(context, failing, onlyDevice(device)).catch((error: unknown) => error)
      const failure = await Promise.race([attached, dead])
      if (failure === undefined) {
        assert.ok(at >= 3, `${what}: ${steps}`)
        const told = steps.filter((one) => !/^q(?:uery|om)-/u.test(one))
        if (end === 'fails') process.stdout.write(`${what}: ${steps.length} steps, ${told.join(' ')}\n`)
        await pullOut(device)
        return assert.equal(ofFiles(await traces(machine, directory)), ofFiles(before), what)
      }
      if (failure === 'dead') await settlePlugs(context, { tell() {} }, machine)
      else assert.match(String(failure), /was made to fail/u, `${what}: ${steps}`)
      if (failure !== 'dead' && isKept(machine, device)) return
      // The last step was taken before the death: the device is there.
      if (failure === 'dead' && JSON.stringify(machine.details) !== before.details) {
        // Nor does a guest always give that back.
        if (device.memories) return
        await pullOut(device)
        assert.equal(ofFiles(await traces(machine, directory)), ofFiles(before), what)
        continue
      }
      // Files are closed a little later, also those of the one before.
      let after = await traces(machine, directory)
      const deadline = performance.now() + 60_000
      while (after.descriptors > before.descriptors && performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        after = await traces(machine, directory)
      }
      const lists = end === 'fails' ? after.lists : before.lists
      const descriptors = Math.max(after.descriptors, before.descriptors)
      assert.equal(ofFiles(after), ofFiles(before), `${what}, ${steps[at]} (${at}) ${end}`)
      assert.deepEqual({ ...after, lists, descriptors }, before, `${what}, ${steps[at]} (${at}) ${end}`)
    }
  }
}

/** A guest may not give back a module of memory: then the machine has it, and says so. */
function isKept({ details }: Machine, device: DevicesInput): boolean {
  const { memoryKiB, devices } = details.definition
  if (!device.memories || devices.memories.length === 0) return false
  assert.deepEqual([memoryKiB, details.unplugging], [320 * 1024, ['dimm0']])
  return true
}

const [, , role, ...given] = process.argv
if (role === 'inside') await inside(...(given as [string, string, string]))
else {
  const missing =
    process.getuid?.() !== 0
      ? 'a network namespace needs root'
      : (await findProgram('qemu-system-x86_64')) && (await findProgram('getfacl'))
        ? false
        : 'QEMU or getfacl is not here: install qemu-system-x86, acl'
  test('whichever step of an attach fails, nothing of it stays', {
    skip: missing,
    timeout: 240_000,
  }, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'visor-attach-image-'))
    try {
      const image = await buildTestImage(directory)
      const { stdout } = await promisify(execFile)('unshare', [
        ...['--net', '--mount', '--propagation', 'private', process.execPath, import.meta.filename, 'inside'],
        ...[image?.kernel, image?.initrd, image?.commandLine].map(String),
      ])
      process.stdout.write(stdout)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
}
