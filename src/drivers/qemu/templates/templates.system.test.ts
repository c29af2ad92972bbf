/** Templates and live clones, with real guests. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import type { Domain, DomainDefinitionInput, Image } from '../../../model/index.ts'
import { buildTestImage } from '../../../storage/testing/test-images.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { openTerminal, prompt, type Terminal } from '../testing/test-terminal.ts'

const missing =
  (!(await findProgram('qemu-system-x86_64')) && 'qemu-system-x86_64 is not installed') ||
  (!(await findProgram('apt-get')) && 'there is no apt-get to build the micro guest with')

describe('Live clones', { skip: missing }, () => {
  let directory = ''
  let image: Image
  let connection: CompleteConnection
  const consoles = new Map<string, Terminal>()

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-clones-'))
    image = await buildTestImage(directory)
    connection = await openTestDriver(directory)
  })
  after(async () => {
    for (const terminal of consoles.values()) await terminal.close()
    for (const { name } of await connection.templates.list())
      await connection.templates.setPool(name, { size: 0 })
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    assert.deepEqual(await guestProcesses(directory), [])
    await rm(directory, { recursive: true, force: true })
  })

  function definition(name: string, disk: string): DomainDefinitionInput {
    return {
      type: 'qemu',
      name,
      genid: randomUUID(),
      memoryKiB: 160 * 1024,
      features: { acpi: true, apic: true },
      os: { machine: 'pc', kernel: image.kernel, initrd: image.initrd, commandLine: image.commandLine },
      devices: {
        disks: [{ file: disk, target: 'vda', bus: 'virtio' }],
        interfaces: [{ type: 'user' }],
        serials: [{}],
        channels: [{ name: 'org.visor.guest.0' }],
        filesystems: [{ type: 'mount', source: directory, target: 'shared', accessMode: 'squash' }],
        graphics: [{ type: 'vnc' }],
        videos: [{ model: 'bochs' }],
      },
    } as DomainDefinitionInput
  }

  /** Runs a command in a guest, on its serial port. */
  async function ask(uuid: string, command: string): Promise<string> {
    return (await terminalOf(uuid)).ask(command)
  }

  async function terminalOf(uuid: string): Promise<Terminal> {
    let terminal = consoles.get(uuid)
    if (!terminal) {
      terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
      consoles.set(uuid, terminal)
    }
    return terminal
  }

  /** Whether the guest sees the generation that its definition has: the name VGIA in its ACPI tables says where it is. */
  async function seesGeneration(uuid: string): Promise<string> {
    const { genid = '' } = await connection.domains.describe(uuid)
    const place = `hexdump -ve '1/1 "%02x"' /sys/firmware/acpi/tables/SSDT | sed 's/.*564749410c\\(..\\)\\(..\\)\\(..\\)\\(..\\).*/0x\\4\\3\\2\\1/'`
    const seen = await ask(uuid, `devmem $(($(${place}) + 40)) 32`)
    assert.match(seen, new RegExp(`0x${genid.slice(0, 8)}`, 'iu'))
    return genid
  }
  /** How often it was told that it has another one. */
  const timesTold = async (uuid: string) =>
    Number(/(\d+) +EN/u.exec(await ask(uuid, 'cat /sys/firmware/acpi/interrupts/gpe05'))?.[1])

  let clones: Domain[] = []
  const secret = randomBytes(8).toString('hex')

  test('a template is made of a running guest, which goes on', async () => {
    const disk = join(directory, 'base.raw')
    await writeFile(disk, Buffer.alloc(2 ** 20))
    const { uuid } = await connection.domains.define(definition('web', disk))
    await connection.domains.start(uuid)
    await terminalOf(uuid).then((terminal) => terminal.until(prompt))
    await ask(uuid, `echo ${secret} >/tmp/secret; echo below | dd of=/dev/vda conv=notrunc 2>/dev/null; sync`)
    // What was plugged in while it ran is in the template as well.
    const plugged = join(directory, 'plugged.raw')
    await writeFile(plugged, Buffer.alloc(2 ** 20))
    await connection.domains.attachDevice(uuid, {
      device: { disks: [{ file: plugged, target: 'vdb', bus: 'virtio' }] },
    })
    await connection.domains.attachDevice(uuid, { device: { interfaces: [{ type: 'user' }] } })
    await ask(uuid, 'until [ -b /dev/vdb ] && [ -e /sys/class/net/eth1 ]; do usleep 20000; done')
    await ask(uuid, 'echo plugged | dd of=/dev/vdb conv=notrunc 2>/dev/null; sync')
    const template = await connection.templates.create('gold', { domain: 'web' })
    assert.equal(template.domain, 'web')
    assert.deepEqual(template.clones, [])
    assert.ok(template.sizeBytes > 2 ** 20)
    assert.equal((await connection.domains.get(uuid)).state, 'running')
    assert.match(await ask(uuid, 'cat /tmp/secret'), new RegExp(secret, 'u'))
    await ask(uuid, 'echo above | dd of=/dev/vda conv=notrunc 2>/dev/null; sync')
    assert.match((await readFile(disk, 'latin1')).slice(0, 5), /below/u)
    const { devices } = await connection.domains.describe(uuid, { inactive: true })
    assert.equal(devices.disks[0]?.file, join(directory, 'base.gold.qcow2'))
    await assert.rejects(connection.templates.create('gold', { domain: 'web' }), { code: 'already-exists' })
  })

  test('clones have the memory of the template and all else of their own', async () => {
    clones = await connection.templates.clone('gold', { count: 2, name: 'copy' })
    assert.deepEqual(
      clones.map(({ name, state }) => [name, state]),
      [
        ['copy-1', 'running'],
        ['copy-2', 'running'],
      ],
    )
    const seen = new Set<string>()
    for (const { uuid, name } of clones) {
      assert.match(await ask(uuid, 'cat /tmp/secret'), new RegExp(secret, 'u'))
      assert.match(await ask(uuid, 'head -c 5 /dev/vda'), /below/u)
      assert.match(await ask(uuid, 'hostname'), new RegExp(`^${name}\\b`, 'mu'))
      const { devices } = await connection.domains.describe(uuid)
      const [mac = 'none', second = 'none'] = devices.interfaces.map((one) => one.mac ?? 'none')
      assert.match(await ask(uuid, 'cat /sys/class/net/eth0/address'), new RegExp(mac, 'u'))
      assert.match(await ask(uuid, 'cat /sys/class/net/eth1/address'), new RegExp(second, 'u'))
      assert.match(await ask(uuid, 'head -c 7 /dev/vdb'), /plugged/u)
      await ask(uuid, `echo ${name} | dd of=/dev/vdb conv=notrunc 2>/dev/null; sync`)
      const machineId = await ask(uuid, 'cat /etc/machine-id')
      assert.match(machineId, new RegExp(uuid.replaceAll('-', ''), 'u'))
      const random = await ask(uuid, 'cat /proc/sys/kernel/random/uuid')
      const generation = await seesGeneration(uuid)
      assert.equal(await timesTold(uuid), 1)
      for (const text of [uuid, mac, second, machineId, random, generation]) {
        assert.ok(!seen.has(text), text)
        seen.add(text)
      }
      const seconds = Number(/\d{10}/u.exec(await ask(uuid, 'date +%s'))?.[0])
      assert.ok(Math.abs(seconds - Date.now() / 1000) < 30)
      await ask(uuid, `echo ${name} | dd of=/dev/vda conv=notrunc 2>/dev/null; sync`)
    }
    for (const { uuid, name } of clones) {
      assert.match(await ask(uuid, 'head -c 6 /dev/vda'), new RegExp(name, 'u'))
      assert.match(await ask(uuid, 'head -c 6 /dev/vdb'), new RegExp(name, 'u'))
    }
    assert.deepEqual(
      [...(await connection.templates.get('gold')).clones].sort(),
      clones.map(({ uuid }) => uuid).sort(),
    )
  })

  test('each has screens of its own', async () => {
    const sockets = new Set<string>()
    for (const { uuid } of clones) {
      const { devices } = await connection.domains.describe(uuid)
      const path = devices.graphics[0]?.socket ?? 'none'
      sockets.add(path)
      const screen = createConnection(path)
      const [greeting] = await once(screen, 'data')
      assert.equal(String(greeting), 'RFB 003.008\n')
      screen.destroy()
    }
    assert.equal(sockets.size, clones.length)
  })

  test('clones share the memory that they did not write to', async () => {
    for (const { pid } of clones) {
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'latin1')
      const [rss, pss] = ['Rss', 'Pss'].map((key) =>
        Number(new RegExp(`^${key}:\\s+(\\d+)`, 'mu').exec(rollup)?.[1]),
      )
      assert.ok((pss ?? 0) < (rss ?? 0) * 0.8, `${pss} of ${rss}`)
    }
  })

  test('a template with clones, or pinned, is not removed, and nobody writes to its disks', async () => {
    await assert.rejects(connection.templates.remove('gold'), { code: 'invalid-state', message: /copy-1/u })
    await connection.templates.setPinned('gold', { pinned: true })
    await assert.rejects(connection.templates.remove('gold'), { code: 'invalid-state', message: /pinned/u })
    await connection.templates.setPinned('gold', { pinned: false })
    const { uuid } = await connection.domains.define(definition('rival', join(directory, 'base.raw')))
    await assert.rejects(connection.domains.start(uuid), { code: 'invalid-state', remedy: /gold/u })
    await connection.domains.undefine(uuid)
  })

  test('names are one of a kind, and a failed clone leaves nothing', async () => {
    await assert.rejects(connection.templates.clone('gold', { name: 'copy-1' }), { code: 'already-exists' })
    await assert.rejects(connection.templates.clone('silver'), { code: 'not-found' })
    const before = await leftovers(directory)
    const state = join(directory, 'state', 'qemu', 'templates', before.templates[0] ?? '', 'state')
    await rename(state, `${state}.kept`)
    await writeFile(state, (await readFile(`${state}.kept`)).subarray(0, 1000))
    await assert.rejects(connection.templates.clone('gold', { name: 'bad' }), {
      code: 'failed',
      message: /damaged/u,
    })
    await rename(`${state}.kept`, state)
    assert.deepEqual(await leftovers(directory), before)
    const giveUp = new AbortController()
    // More than are made at once: some are still to be made when the first is there.
    const call = { count: 5, signal: giveUp.signal, progress: () => giveUp.abort() }
    await assert.rejects(connection.templates.clone('gold', call), { code: 'cancelled' })
    assert.deepEqual(await leftovers(directory), before)
  })

  test('a clone is saved and restored, with all of its memory, and boots anew from its own disk', async () => {
    const [{ uuid, name } = fail('no clone')] = clones
    await ask(uuid, 'echo mine >/tmp/mine')
    const generation = await seesGeneration(uuid)
    await forgetTerminal(uuid)
    await connection.domains.save(uuid)
    await connection.domains.start(uuid)
    assert.equal(await seesGeneration(uuid), generation)
    assert.match(await ask(uuid, 'cat /tmp/secret /tmp/mine'), new RegExp(`${secret}\\s+mine`, 'u'))
    await forgetTerminal(uuid)
    await connection.domains.destroy(uuid)
    await connection.domains.start(uuid)
    await (await terminalOf(uuid)).until(prompt)
    assert.match(await ask(uuid, 'ls /tmp; head -c 6 /dev/vda'), new RegExp(name, 'u'))
    await forgetTerminal(uuid)
    await connection.domains.destroy(uuid)
    await connection.domains.undefine(uuid)
    assert.ok(!(await leftovers(directory)).clones.includes(uuid))
  })

  test('a guest that goes back to where it was before is told so', async () => {
    const { domains, snapshots } = connection
    const uuid = clones[1]?.uuid ?? ''
    const file = join(directory, 'kept.state')
    const generations = [await seesGeneration(uuid)]
    const again = async (work: () => Promise<unknown>) => {
      await forgetTerminal(uuid)
      await work()
      generations.push(await seesGeneration(uuid))
    }
    for (const kind of ['external', 'internal'] as const) {
      await snapshots.create(uuid, { name: kind, kind })
      await again(() => snapshots.revert(uuid, kind))
      await snapshots.remove(uuid, kind)
    }
    await domains.save(uuid, { file })
    await again(() => domains.restore(uuid, { file }))
    assert.equal((await domains.describe(uuid, { inactive: true })).genid, generations.at(-1))
    assert.equal(new Set(generations).size, 4)
    assert.ok((await timesTold(uuid)) >= 1)
  })

  test('a pool keeps copies ready, which know all but their name', async () => {
    await connection.templates.setPool('gold', { size: 2 })
    await ready(2)
    const processes = await guestProcesses(directory)
    const started = performance.now()
    const [{ uuid, pid = 0 } = fail('no clone')] = await connection.templates.clone('gold', {
      name: 'pooled',
    })
    assert.ok(processes.includes(pid), `made anew, in ${performance.now() - started} ms`)
    assert.match(await ask(uuid, 'hostname; cat /etc/machine-id'), new RegExp(uuid.replaceAll('-', ''), 'u'))
    assert.match(await ask(uuid, 'hostname'), /pooled/u)
    assert.match(await ask(uuid, 'cat /tmp/secret'), new RegExp(secret, 'u'))
    await ready(2)
    await forgetTerminal(uuid)
    await connection.domains.destroy(uuid)
    await connection.domains.undefine(uuid)
  })

  test('a later daemon finds clones and the pool again', async () => {
    const { clones: before } = await connection.templates.get('gold')
    const processes = await guestProcesses(directory)
    for (const uuid of consoles.keys()) await forgetTerminal(uuid)
    await connection.close()
    connection = await openTestDriver(directory)
    const after = await connection.templates.get('gold')
    assert.deepEqual(after.clones, before)
    assert.equal(after.ready, 2)
    assert.deepEqual(await guestProcesses(directory), processes)
    const [{ uuid, pid = 0 } = fail('no clone')] = await connection.templates.clone('gold', { name: 'later' })
    assert.ok(processes.includes(pid))
    assert.match(await ask(uuid, 'hostname'), /later/u)
    await forgetTerminal(uuid)
    await connection.domains.destroy(uuid)
    await connection.domains.undefine(uuid)
  })

  test('when its clones are gone a template is removed, with its pool and files, and its source goes on', async () => {
    for (const { uuid } of clones.slice(1)) {
      await forgetTerminal(uuid)
      await connection.domains.destroy(uuid)
      await connection.domains.undefine(uuid)
    }
    await connection.templates.remove('gold')
    assert.deepEqual(await leftovers(directory), { templates: [], clones: [] })
    const [{ uuid } = fail('no domain'), ...others] = await connection.domains.list()
    assert.deepEqual(others, [])
    assert.equal((await guestProcesses(directory)).length, 1)
    assert.match(await ask(uuid, 'head -c 5 /dev/vda'), /above/u)
  })

  async function ready(count: number): Promise<void> {
    const deadline = performance.now() + 60_000
    while ((await connection.templates.get('gold')).ready < count) {
      assert.ok(performance.now() < deadline, 'The pool did not fill.')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async function forgetTerminal(uuid: string): Promise<void> {
    await consoles.get(uuid)?.close()
    consoles.delete(uuid)
  }
})

function fail(why: string): never {
  assert.fail(why)
}

async function leftovers(directory: string): Promise<{ templates: string[]; clones: string[] }> {
  const [templates = [], clones = []] = await Promise.all(
    ['templates', 'clones'].map((part) => readdir(join(directory, 'state', 'qemu', part))),
  )
  return { templates: templates.sort(), clones: clones.sort() }
}

/** Processes whose command line names something in this directory: guests of this test. */
async function guestProcesses(directory: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/u.test(pid) || !existsSync(`/proc/${pid}/cmdline`)) continue
    const line = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')
    if (line.includes('qemu-system') && line.includes(`${directory}/run`)) found.push(Number(pid))
  }
  return found
}
