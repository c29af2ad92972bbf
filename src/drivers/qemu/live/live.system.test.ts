/** Changes of guests that run: their processors and their memory. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { buildTestImage } from '../../../storage/testing/test-images.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'
import { openTerminal, prompt, type Terminal } from '../testing/test-terminal.ts'

const missing =
  (!(await findProgram('qemu-system-x86_64')) && 'qemu-system-x86_64 is not installed') ||
  (!(await findProgram('apt-get')) && 'there is no apt-get to build the micro guest with')

describe('Live changes', { skip: missing }, () => {
  let directory = ''
  let connection: CompleteConnection
  let terminal: Terminal
  let uuid = ''

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-live-'))
    connection = await openTestDriver(directory)
    const image = await buildTestImage(directory)
    const definition = {
      type: 'qemu',
      name: 'live',
      memoryKiB: 192 * 1024,
      vcpus: 4,
      currentVcpus: 2,
      maxMemoryKiB: 1024 * 1024,
      memorySlots: 2,
      cputune: { emulatorPin: '0', vcpuPins: [{ vcpu: 2, cpuset: '0' }] },
      os: { machine: 'q35', kernel: image?.kernel, initrd: image?.initrd, commandLine: image?.commandLine },
      // Without ACPI nothing could be plugged in.
      features: { acpi: true, apic: true },
      devices: { serials: [{}] },
    } as DomainDefinitionInput
    uuid = (await connection.domains.define(definition)).uuid
    await connection.domains.start(uuid)
    await attach(true)
    await terminal.until(prompt)
  })
  after(async () => {
    await terminal?.close()
    for (const { uuid: id, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(id)
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function attach(scrollback = false): Promise<void> {
    terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback }))
  }

  /** Where the threads of its processors may run, by the numbers of the processors. */
  async function allowedProcessors(): Promise<Map<string, string>> {
    const { pid } = await connection.domains.get(uuid)
    const found = new Map<string, string>()
    for (const tid of await readdir(`/proc/${pid}/task`)) {
      const status = await readFile(`/proc/${pid}/task/${tid}/status`, 'utf8').catch(() => '')
      const processor = /^Name:\s*CPU (\d+)\//mu.exec(status)?.[1]
      const list = /^Cpus_allowed_list:\s*(\S+)/mu.exec(status)?.[1]
      if (processor && list) found.set(processor, list)
    }
    return found
  }

  const processors = async (inactive: boolean) => {
    const { vcpus, currentVcpus } = await connection.domains.describe(uuid, { inactive })
    return [currentVcpus ?? vcpus, vcpus]
  }

  const online = async () =>
    /(?:^|\n)([\d,-]+)\r/u.exec(await terminal.ask('cat /sys/devices/system/cpu/online'))?.[1]

  test('processors are plugged in, and the guest runs on them', async () => {
    await connection.domains.setVcpus(uuid, { count: 4 })
    assert.deepEqual(await processors(false), [4, 4])
    assert.deepEqual(await processors(true), [2, 4])
    assert.equal((await connection.domains.get(uuid)).vcpus, 4)
    // Its kernel hears of them by an interrupt, and makes their folders then.
    const deadline = performance.now() + 60_000
    do await terminal.ask('for n in 2 3; do echo 1 >/sys/devices/system/cpu/cpu$n/online; done')
    while ((await online()) !== '0-3' && performance.now() < deadline)
    assert.equal(await online(), '0-3')
  })

  test('processors that came later are pinned as they say, and not where the emulator is', async () => {
    const allowed = await allowedProcessors()
    assert.equal(allowed.get('2'), '0')
    const everywhere = /^Cpus_allowed_list:\s*(\S+)/mu.exec(await readFile('/proc/self/status', 'utf8'))?.[1]
    assert.equal(allowed.get('3'), everywhere)
  })

  test('a module of memory comes and goes; without room for it, that is said', async () => {
    const blocks = async () =>
      Number(/^(\d+)\r/mu.exec(await terminal.ask('ls -d /sys/devices/system/memory/memory* | wc -l'))?.[1])
    const before = await blocks()
    const device = { memories: [{ model: 'dimm' as const, sizeKiB: 128 * 1024, node: 0 }] }
    await connection.domains.attachDevice(uuid, { device })
    const deadline = performance.now() + 60_000
    while ((await blocks()) <= before && performance.now() < deadline) await terminal.ask('true')
    assert.equal(await blocks(), before + 1)
    const { memoryKiB, devices } = await connection.domains.describe(uuid)
    assert.deepEqual([memoryKiB, devices.memories.length], [320 * 1024, 1])
    await connection.domains.detachDevice(uuid, {
      device: { memories: [{ ...device.memories[0], alias: 'dimm0' }] } as never,
    })
    assert.equal((await connection.domains.describe(uuid)).memoryKiB, 192 * 1024)
    assert.equal(await blocks(), before)
  })

  test('emulated ones are not unplugged, as QEMU comes to harm by it', async () => {
    const { setVcpus } = connection.domains
    const refused = { code: 'unsupported-config' }
    await assert.rejects(setVcpus(uuid, { count: 3, live: true, config: true }), refused)
    assert.deepEqual(await processors(true), [2, 4])
    await setVcpus(uuid, { count: 3, config: true })
    assert.deepEqual(await processors(true), [3, 4])
    assert.deepEqual(await processors(false), [4, 4])
  })

  test('a state saved afterwards fits, and what was plugged in is there', async () => {
    await terminal.close()
    await connection.domains.save(uuid)
    await connection.domains.start(uuid)
    await attach()
    assert.deepEqual(await processors(false), [4, 4])
    assert.equal(await online(), '0-3')
  })

  test('the maximum is of the next start alone', async () => {
    const refused = { code: 'invalid-state' }
    await assert.rejects(connection.domains.setVcpus(uuid, { count: 8, maximum: true }), refused)
    await assert.rejects(connection.domains.setVcpus(uuid, { count: 5 }), { code: 'invalid-argument' })
    await assert.rejects(connection.domains.setVcpus(uuid, { count: 5, config: true }), {
      code: 'invalid-argument',
    })
    await connection.domains.setVcpus(uuid, { count: 8, maximum: true, config: true })
    assert.deepEqual(await processors(true), [3, 8])
    assert.deepEqual(await processors(false), [4, 4])
  })

  test('threads that serve disks come, change and go; threads are pinned', async () => {
    const { domains } = connection
    const { pid } = await domains.get(uuid)
    const threads = async () => {
      const tids = await readdir(`/proc/${pid}/task`)
      const entries = await Promise.all(
        tids.map(async (tid) => {
          const read = (file: string) => readFile(`/proc/${pid}/task/${tid}/${file}`, 'utf8')
          const allowed = /^Cpus_allowed_list:\s+(\S+)/mu.exec(await read('status'))?.[1] ?? ''
          return [(await read('comm')).trim(), allowed] as const
        }),
      )
      return new Map(entries)
    }
    const anywhere = (await threads()).get('CPU 0/TCG')
    await domains.setIoThread(uuid, { id: 2, pollMaximumNs: 0, live: true, config: true })
    assert.ok((await threads()).has('IO iothread2'))
    await domains.setIoThread(uuid, { id: 2, pollMaximumNs: 1000 })
    const both = await Promise.all([false, true].map((inactive) => domains.describe(uuid, { inactive })))
    assert.deepEqual(
      both.map(({ iothreads, iothreadIds }) => [iothreads, iothreadIds]),
      [
        [1, [{ id: 2, pollMaximumNs: 1000 }]],
        [1, [{ id: 2, pollMaximumNs: 0 }]],
      ],
    )
    await domains.setPin(uuid, { iothread: 2, cpuset: '0' })
    await domains.setPin(uuid, { vcpu: 0, cpuset: '0' })
    const pinned = await threads()
    assert.deepEqual([pinned.get('IO iothread2'), pinned.get('CPU 0/TCG')], ['0', '0'])
    await domains.setPin(uuid, { vcpu: 0 })
    assert.equal((await threads()).get('CPU 0/TCG'), anywhere)
    await assert.rejects(domains.setPin(uuid, { vcpu: 0, cpuset: '4000' }), { code: 'unsupported-config' })
    await assert.rejects(domains.setPin(uuid, { vcpu: 9, cpuset: '0' }), { code: 'not-found' })
    await assert.rejects(domains.setPin(uuid, {}), { code: 'invalid-argument' })
    // One that serves a disk stays.
    const file = join(directory, 'served.raw')
    await writeFile(file, Buffer.alloc(2 ** 20))
    const device = { disks: [{ file, format: 'raw' as const, target: 'vdx', ioThread: 2 }] }
    await domains.attachDevice(uuid, { device, config: true })
    await assert.rejects(domains.setIoThread(uuid, { id: 2, remove: true, config: true }), {
      code: 'invalid-state',
      message: /serves vdx/u,
    })
    await domains.detachDevice(uuid, { device, config: true })
    await domains.setIoThread(uuid, { id: 2, remove: true, live: true, config: true })
    assert.equal((await threads()).has('IO iothread2'), false)
    await assert.rejects(domains.setIoThread(uuid, { id: 2, remove: true }), { code: 'not-found' })
    assert.deepEqual((await domains.describe(uuid)).cputune?.iothreadPins, [])
  })

  test('the balloon takes memory from the guest and gives it back', async () => {
    const total = async () => Number(/MemTotal:\s+(\d+)/u.exec(await terminal.ask('cat /proc/meminfo'))?.[1])
    const has = async (wanted: (kib: number) => boolean) => {
      const deadline = performance.now() + 60_000
      while (!wanted((await connection.domains.get(uuid)).memoryKiB) && performance.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 50))
      return (await connection.domains.get(uuid)).memoryKiB
    }
    const before = await total()
    await connection.domains.setMemory(uuid, { memoryKiB: 160 * 1024, live: true, config: true })
    assert.equal(await has((kib) => kib === 160 * 1024), 160 * 1024)
    const less = await total()
    assert.ok(less < before - 20 * 1024, `${less} of ${before}`)
    const { currentMemoryKiB } = await connection.domains.describe(uuid, { inactive: true })
    assert.equal(currentMemoryKiB, 160 * 1024)
    await connection.domains.setMemory(uuid, { memoryKiB: 192 * 1024 })
    assert.equal(await has((kib) => kib === 192 * 1024), 192 * 1024)
    assert.equal((await connection.domains.describe(uuid)).currentMemoryKiB, undefined)
    await assert.rejects(connection.domains.setMemory(uuid, { memoryKiB: 2 ** 20 }), {
      code: 'invalid-argument',
    })
    await assert.rejects(connection.domains.setMemory(uuid, { memoryKiB: 2 ** 20, maximum: true }), {
      code: 'invalid-state',
    })
  })

  test('a later daemon knows what QEMU has', async () => {
    await terminal.close()
    await connection.domains.setMemory(uuid, { memoryKiB: 176 * 1024 })
    await connection.close()
    connection = await openTestDriver(directory)
    assert.deepEqual(await processors(false), [4, 4])
    await attach()
    const { memoryKiB } = await connection.domains.get(uuid)
    assert.ok(memoryKiB >= 176 * 1024 && memoryKiB <= 192 * 1024, `${memoryKiB}`)
  })

  test('a virtio-mem module is asked for more and less', async () => {
    const { attachDevice, detachDevice, updateDevice, describe: read } = connection.domains
    const device = (requestedKiB: number) => ({
      memories: [
        {
          model: 'virtio-mem' as const,
          alias: 'vm0',
          sizeKiB: 2 ** 17,
          blockKiB: 2048,
          requestedKiB,
          node: 0,
        },
      ],
    })
    await attachDevice(uuid, { device: device(0) })
    const requested = async () => (await read(uuid)).devices.memories.map((one) => one.requestedKiB)
    await updateDevice(uuid, { device: device(2 ** 16) })
    assert.deepEqual(await requested(), [2 ** 16])
    await assert.rejects(updateDevice(uuid, { device: device(1000) }))
    await assert.rejects(
      updateDevice(uuid, { device: { memories: [{ ...device(0).memories[0], sizeKiB: 2 ** 18 }] } as never }),
    )
    await updateDevice(uuid, { device: device(0) })
    assert.deepEqual(await requested(), [0])
    // QEMU 8.2 is the first that takes one back.
    const gone = await detachDevice(uuid, { device: device(0) }).catch((error: unknown) => error)
    if (gone)
      assert.deepEqual([(gone as { code?: string }).code, await requested()], ['unsupported-config', [0]])
    else assert.deepEqual(await requested(), [])
  })

  test('a disk plugged in before others in the boot order leaves theirs as it is, and is saved with them', async () => {
    const [first, second] = [join(directory, 'first.raw'), join(directory, 'second.raw')]
    await writeTestDisk(first)
    await writeFile(second, Buffer.alloc(2 ** 20))
    const definition = testDefinition('ordered', first, { interfaces: [{ type: 'user' }] })
    const { uuid: ordered } = await connection.domains.define(definition)
    await connection.domains.start(ordered)
    const device = { disks: [{ file: second, target: 'vdb' }] }
    await connection.domains.attachDevice(ordered, { device, live: true, config: true })
    const module = { memories: [{ model: 'dimm' as const, sizeKiB: 2 ** 17 }] }
    await assert.rejects(connection.domains.attachDevice(ordered, { device: module }), {
      remedy: /maxMemory/u,
    })
    const card = { interfaces: [{ type: 'user' as const, alias: 'net0', link: 'down' as const }] }
    await connection.domains.updateDevice(ordered, { device: card, live: true, config: true })
    await connection.domains.save(ordered)
    await connection.domains.start(ordered)
    for (const inactive of [false, true]) {
      const { devices } = await connection.domains.describe(ordered, { inactive })
      assert.deepEqual(
        devices.disks.map(({ target }) => target),
        ['vda', 'vdb'],
      )
    }
    const fill = async (letters: string) => {
      for (const letter of letters) {
        const file = join(directory, `${letter}.raw`)
        await writeFile(file, Buffer.alloc(2 ** 20))
        const more = { disks: [{ file, target: `vd${letter}` }] }
        await connection.domains.attachDevice(ordered, { device: more })
      }
    }
    await assert.rejects(fill('cdefghij'), /port/u)
    await connection.domains.destroy(ordered)
    await connection.domains.start(ordered)
    await connection.domains.destroy(ordered)
  })

  test('a PC without ACPI says why nothing is plugged into it', async () => {
    const [boot, more] = [join(directory, 'old.raw'), join(directory, 'old-more.raw')]
    await writeTestDisk(boot)
    await writeFile(more, Buffer.alloc(2 ** 20))
    const old = { ...testDefinition('old', boot), os: { machine: 'pc' }, features: {} }
    const { uuid: pc } = await connection.domains.define(old)
    await connection.domains.start(pc)
    const device = { disks: [{ file: more, target: 'vdb' }] }
    const refused = { code: 'unsupported-config', message: /'old' has no ACPI/u, remedy: /features? acpi/u }
    await assert.rejects(connection.domains.attachDevice(pc, { device, live: true, config: true }), refused)
    assert.equal((await connection.domains.describe(pc, { inactive: true })).devices.disks.length, 1)
    await connection.domains.destroy(pc)
  })

  test('of a domain that is off, the definition is changed', async () => {
    const { uuid: off } = await connection.domains.define(testDefinition('off', join(directory, 'off.raw')))
    await assert.rejects(connection.domains.setVcpus(off, { count: 1, live: true }), {
      code: 'invalid-state',
    })
    await connection.domains.setVcpus(off, { count: 4, maximum: true })
    await connection.domains.setVcpus(off, { count: 2 })
    await connection.domains.setMemory(off, { memoryKiB: 64 * 1024, maximum: true })
    await connection.domains.setMemory(off, { memoryKiB: 48 * 1024, config: true })
    const { vcpus, currentVcpus, memoryKiB, currentMemoryKiB } = await connection.domains.describe(off)
    assert.deepEqual([vcpus, currentVcpus, memoryKiB, currentMemoryKiB], [4, 2, 65536, 49152])
  })
})
