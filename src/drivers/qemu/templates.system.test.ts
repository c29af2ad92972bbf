/** Templates and live clones, with real guests. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { ByteStream, CompleteConnection } from '../../driver/index.ts'
import { silentLog } from '../../driver/index.ts'
import type { Domain, DomainDefinitionInput, Image } from '../../model/index.ts'
import { openImages } from '../../storage/index.ts'
import { findProgram } from './emulator.ts'
import { openTestDriver } from './test-daemon.ts'

const missing =
  (!(await findProgram('qemu-system-x86_64')) && 'qemu-system-x86_64 is not installed') ||
  (!(await findProgram('apt-get')) && 'there is no apt-get to build the micro guest with')
/** The prompt, and the question of busybox's line editor for the place of the cursor. */
const prompt = '# \u001b[6n'

describe('Live clones', { skip: missing }, () => {
  let directory = ''
  let image: Image
  let connection: CompleteConnection
  const consoles = new Map<string, Terminal>()

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-clones-'))
    const images = openImages({ stateDirectory: process.env.VISOR_TEST_IMAGES ?? directory, log: silentLog })
    assert.ok(images.build)
    image = await images.build('micro', { arch: 'x86_64' })
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
      memoryKiB: 160 * 1024,
      os: { machine: 'pc', kernel: image.kernel, initrd: image.initrd, commandLine: image.commandLine },
      devices: {
        disks: [{ file: disk, target: 'vda', bus: 'virtio' }],
        interfaces: [{ type: 'user' }],
        serials: [{}],
        channels: [{ name: 'org.visor.guest.0' }],
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

  let clones: Domain[] = []
  const secret = randomBytes(8).toString('hex')

  test('a template is made of a running guest, which goes on', async () => {
    const disk = join(directory, 'base.raw')
    await writeFile(disk, Buffer.alloc(2 ** 20))
    const { uuid } = await connection.domains.define(definition('web', disk))
    await connection.domains.start(uuid)
    await terminalOf(uuid).then((terminal) => terminal.until(prompt))
    await ask(uuid, `echo ${secret} >/tmp/secret; echo below | dd of=/dev/vda conv=notrunc 2>/dev/null; sync`)
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
      const mac = devices.interfaces[0]?.mac ?? 'none'
      assert.match(await ask(uuid, 'cat /sys/class/net/eth0/address'), new RegExp(mac, 'u'))
      const machineId = await ask(uuid, 'cat /etc/machine-id')
      assert.match(machineId, new RegExp(uuid.replaceAll('-', ''), 'u'))
      const random = await ask(uuid, 'cat /proc/sys/kernel/random/uuid')
      for (const text of [uuid, mac, machineId, random]) {
        assert.ok(!seen.has(text), text)
        seen.add(text)
      }
      const seconds = Number(/\d{10}/u.exec(await ask(uuid, 'date +%s'))?.[0])
      assert.ok(Math.abs(seconds - Date.now() / 1000) < 30)
      await ask(uuid, `echo ${name} | dd of=/dev/vda conv=notrunc 2>/dev/null; sync`)
    }
    for (const { uuid, name } of clones)
      assert.match(await ask(uuid, 'head -c 6 /dev/vda'), new RegExp(name, 'u'))
    assert.deepEqual(
      [...(await connection.templates.get('gold')).clones].sort(),
      clones.map(({ uuid }) => uuid).sort(),
    )
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
})

interface Terminal {
  /** Waits for a text after the ones waited for before, and gives what came up to it. */
  until(text: string): Promise<string>
  ask(command: string): Promise<string>
  close(): Promise<void>
}

function openTerminal(stream: ByteStream): Terminal {
  let said = ''
  let wake = () => {}
  let number = 0
  void (async () => {
    for await (const bytes of stream) {
      said += Buffer.from(bytes).toString('latin1')
      wake()
    }
  })()
  async function until(text: string): Promise<string> {
    const deadline = performance.now() + 90_000
    while (!said.includes(text)) {
      assert.ok(
        performance.now() < deadline,
        `Waited in vain for ${JSON.stringify(text)} after ${said.slice(-500)}`,
      )
      await new Promise<void>((resolve) => {
        wake = resolve
        setTimeout(resolve, 1000)
      })
    }
    const end = said.indexOf(text) + text.length
    const found = said.slice(0, end)
    said = said.slice(end)
    return found
  }
  return {
    until,
    async ask(command) {
      number++
      await stream.write(Buffer.from(`${command}; echo =${number}\\=\n`))
      await until('\n')
      const answer = await until(`=${number}=`)
      return answer
    },
    close: () => stream.close(),
  }
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
