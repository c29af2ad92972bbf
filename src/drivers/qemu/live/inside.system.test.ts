/** What is done to a machine arrives in its guest: seen from inside, in one guest. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { buildTestImage } from '../../../storage/testing/test-images.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { openTerminal, prompt, type Terminal } from '../testing/test-terminal.ts'

const missing =
  (!(await findProgram('qemu-system-x86_64')) && 'qemu-system-x86_64 is not installed') ||
  (!(await findProgram('apt-get')) && 'there is no apt-get to build the micro guest with')

describe('seen from inside', { skip: missing }, () => {
  let directory = ''
  let connection: CompleteConnection
  let terminal: Terminal
  let uuid = ''

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-inside-'))
    connection = await openTestDriver(directory)
    const image = await buildTestImage(directory)
    const definition = {
      type: 'qemu',
      name: 'inside',
      memoryKiB: 256 * 1024,
      maxMemoryKiB: 1024 * 1024,
      memorySlots: 2,
      os: { machine: 'q35', kernel: image?.kernel, initrd: image?.initrd, commandLine: image?.commandLine },
      features: { acpi: true, apic: true },
      devices: {
        serials: [{}],
        memballoon: { model: 'virtio', freePageReporting: true },
        rngs: [{ backend: 'random', source: '/dev/urandom' }],
        inputs: [{ type: 'keyboard', bus: 'virtio' }],
        videos: [{ model: 'vga' }],
        graphics: [{ type: 'vnc' }],
      },
    } as DomainDefinitionInput
    uuid = (await connection.domains.define(definition)).uuid
    await connection.domains.start(uuid)
    terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
    await terminal.until(prompt)
  })
  after(async () => {
    await terminal?.close()
    await connection.domains.destroy(uuid).catch(() => {})
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** Asks until it is so, for as long as a busy host may take. */
  async function becomes<T>(what: string, look: () => Promise<T>, wanted: (seen: T) => boolean): Promise<T> {
    const deadline = performance.now() + 60_000
    for (;;) {
      const seen = await look()
      if (wanted(seen)) return seen
      assert.ok(performance.now() < deadline, `${what}: ${JSON.stringify(seen)}`)
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  const residentKiB = async () => {
    const { pid } = await connection.domains.get(uuid)
    return Number(/^VmRSS:\s+(\d+)/mu.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1])
  }
  const totalKiB = async () => Number(/MemTotal:\s+(\d+)/u.exec(await terminal.ask('cat /proc/meminfo'))?.[1])
  const mib = (count: number) => count * 1024

  test('memory that the guest frees is the host’s again (free page reporting)', async () => {
    await terminal.ask('dd if=/dev/urandom of=/tmp/big bs=1M count=96 2>/dev/null')
    const full = await residentKiB()
    await terminal.ask('rm /tmp/big')
    await becomes(`of ${full} KiB`, residentKiB, (now) => now < full - mib(40))
  })

  test('the balloon takes memory and gives it back', async () => {
    const before = await totalKiB()
    await connection.domains.setMemory(uuid, { memoryKiB: mib(192) })
    await becomes('less', totalKiB, (now) => now <= before - mib(60))
    await connection.domains.setMemory(uuid, { memoryKiB: mib(256) })
    await becomes('as before', totalKiB, (now) => now === before)
  })

  test('the guest is asked what it uses of its memory, and no longer', async () => {
    const read = async () => (await connection.domains.stats({ domains: [uuid] }))[0]?.guestMemory
    assert.equal(await read(), undefined)
    await connection.domains.setMemoryStatsPeriod(uuid, { seconds: 1, live: true, config: true })
    const told = await becomes('told', read, (seen) => (seen?.availableKiB ?? 0) > mib(100))
    assert.ok((told?.unusedKiB ?? 0) > 0)
    for (const inactive of [true, false]) {
      const { devices } = await connection.domains.describe(uuid, { inactive })
      assert.equal(devices.memballoon?.statsPeriodSeconds, 1)
    }
    await connection.domains.setMemoryStatsPeriod(uuid, { seconds: 0 })
    assert.equal(await read(), undefined)
    const { devices } = await connection.domains.describe(uuid, { inactive: true })
    assert.equal(devices.memballoon?.statsPeriodSeconds, 1)
  })

  test('a virtio-mem module grows the memory of the guest', async () => {
    await terminal.ask('echo online >/sys/devices/system/memory/auto_online_blocks')
    const before = await totalKiB()
    const device = (requestedKiB: number) => ({
      memories: [
        {
          model: 'virtio-mem' as const,
          alias: 'vm0',
          sizeKiB: mib(512),
          blockKiB: 2048,
          requestedKiB,
          node: 0,
        },
      ],
    })
    await connection.domains.attachDevice(uuid, { device: device(mib(256)) })
    await becomes('more', totalKiB, (now) => now >= before + mib(250))
    await connection.domains.updateDevice(uuid, { device: device(mib(128)) })
    await becomes('half of it', totalKiB, (now) => now < before + mib(200) && now >= before + mib(120))
  })

  test('the source of randomness gives bytes', async () => {
    const current = () => terminal.ask('cat /sys/class/misc/hw_random/rng_current')
    await becomes('the source', current, (said) => said.includes('virtio_rng'))
    const bytes = () =>
      terminal.ask('dd if=/dev/hwrng bs=16 count=1 2>/dev/null | hexdump -e \'16/1 "%02x" "\\n"\'')
    const seen = [await bytes(), await bytes()].map((said) => /[0-9a-f]{32}/u.exec(said)?.[0])
    assert.ok(seen[0] && seen[1] && seen[0] !== seen[1], seen.join(' '))
  })

  test('keys that are pressed are typed in the guest', async () => {
    await terminal.ask('(read -r line </dev/tty1; echo "$line" >/tmp/typed) & true')
    const press = async () => {
      for (const keys of [['KEY_LEFTSHIFT', 'KEY_H'], ['KEY_I'], ['KEY_ENTER']])
        await connection.domains.sendKey(uuid, { keys: [...keys] })
      return terminal.ask('cat /tmp/typed')
    }
    await becomes('typed', press, (said) => said.includes('Hi'))
  })

  test('a picture of the screen has what is written on it', async () => {
    const picture = async () => Buffer.from((await connection.domains.screenshot(uuid)).bytes).length
    // The memory of a card in text mode: the kernel, started by its ELF entry, knows of no screen.
    const write = (source: string) =>
      terminal.ask(`dd if=/dev/${source} of=/dev/mem bs=4096 count=1 seek=$((0xb8000 / 4096))`)
    await write('zero')
    const empty = await becomes('cleared', picture, (now) => now > 0)
    const said = await write('urandom')
    const text = await becomes(`written (${said})`, picture, (now) => now > empty * 4)
    await write('zero')
    await becomes(`cleared of ${text}`, picture, (now) => now < text / 2)
  })

  test('an interrupt that cannot be masked arrives', async () => {
    await connection.domains.injectNmi(uuid)
    const log = () => terminal.ask('dmesg | grep -i "nmi received"; true')
    await becomes('the log', log, (said) => /NMI received/u.test(said))
  })
})
