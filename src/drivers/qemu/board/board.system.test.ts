/** Boards with real guests: architectures, firmware, trusted platform modules, memory, pinned threads. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import type { DomainDefinitionInput, Image } from '../../../model/index.ts'
import { buildTestImage } from '../../../storage/testing/test-images.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { writeTestDisk } from '../testing/test-guest.ts'
import { openTerminal, prompt, type Terminal } from '../testing/test-terminal.ts'
import { findFirmware } from './firmware-descriptors.ts'

const has = async (program: string) => (await findProgram(program)) !== undefined
const noQemu = (await has('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'
const noImages = (await has('apt-get')) ? false : 'there is no apt-get to build the micro guest with'
const noSwtpm = (await has('swtpm')) ? false : 'swtpm is not installed'
const firmware = await findFirmware()
const noFirmware = firmware.length > 0 ? false : 'no UEFI firmware is installed (ovmf)'

const others = await Promise.all(
  ['aarch64', 'riscv64'].map(async (arch) => {
    const emulator = `qemu-system-${arch}`
    return { arch, missing: (await has(emulator)) ? false : `${emulator} is not installed` }
  }),
)

describe('Boards', { skip: noQemu }, () => {
  let directory = ''
  let disk = ''
  let connection: CompleteConnection

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-board-'))
    await chmod(directory, 0o755)
    disk = join(directory, 'disk.raw')
    await writeTestDisk(disk)
    connection = await openTestDriver(directory)
  })
  after(async () => {
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  const image = async (arch: string): Promise<Image> => {
    return buildTestImage(directory, arch)
  }

  /** As UEFI starts it: packed, with the stub that makes it a program of the firmware. */
  const packed = async (): Promise<Image> => {
    const built = await image('x86_64')
    assert.ok(built.kernel)
    return { ...built, kernel: join(dirname(built.kernel), 'vmlinuz') }
  }

  /** A machine that starts its own small disk. */
  const small = (name: string, more: Partial<DomainDefinitionInput> = {}): DomainDefinitionInput => ({
    type: 'qemu',
    name,
    memoryKiB: 64 * 1024,
    ...more,
    devices: { disks: [{ file: disk, target: 'vda', readonly: true }], serials: [{}], ...more.devices },
  })

  /** A machine that starts Linux. */
  const linux = (
    name: string,
    { kernel, initrd, commandLine }: Image,
    more: Partial<DomainDefinitionInput>,
  ) => ({
    type: 'qemu' as const,
    name,
    memoryKiB: 192 * 1024,
    ...more,
    os: { kernel, initrd, commandLine, ...more.os } as DomainDefinitionInput['os'],
    devices: { serials: [{}], ...more.devices },
  })

  async function booted(definition: DomainDefinitionInput): Promise<{ uuid: string; terminal: Terminal }> {
    const { uuid } = await connection.domains.define(definition)
    return { uuid, terminal: await started(uuid) }
  }

  async function started(uuid: string): Promise<Terminal> {
    await connection.domains.start(uuid)
    const terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
    await terminal.until(prompt)
    return terminal
  }

  async function ended(uuid: string, terminal: Terminal): Promise<void> {
    await terminal.close()
    await connection.domains.destroy(uuid)
  }

  for (const { arch, missing } of others) {
    const skip = noImages || missing
    test(`Linux runs on a machine of ${arch}, with its disk and its screen`, {
      skip,
      timeout: 400_000,
    }, async () => {
      const { uuid, terminal } = await booted(
        linux(arch, await image(arch), {
          vcpus: 2,
          os: { arch },
          devices: {
            disks: [{ file: disk, target: 'vda', readonly: true }],
            interfaces: [{ type: 'user' }],
            rngs: [{}],
            serials: [{}],
            graphics: [{ listens: [{ type: 'socket' }] }],
          },
        }),
      )
      const said = await terminal.ask('uname -m; nproc; head -c 512 /dev/vda | wc -c')
      assert.match(said, new RegExp(`${arch}\\s+2\\s+512`, 'u'))
      await ended(uuid, terminal)
    })
  }

  const skipTpm = noImages || noSwtpm || (others[0]?.missing ?? 'qemu-system-aarch64 is not installed')
  // That of a PC is in secure-boot.system.test.ts.
  test('the menu of the BIOS waits for who asks for it, and starts the disk that is chosen', async () => {
    const empty = join(directory, 'empty.raw')
    await writeFile(empty, Buffer.alloc(1024 ** 2))
    const disks = [
      { target: 'vda', file: empty },
      { target: 'vdb', file: disk, readonly: true },
    ]
    const { uuid } = await connection.domains.define({
      ...{ type: 'qemu', name: 'menu', memoryKiB: 32_768, devices: { disks, serials: [{}] } },
      os: { bootMenu: true, bootMenuTimeoutMs: 60_000, biosSerial: true },
    })
    await connection.domains.start(uuid)
    const terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
    try {
      await terminal.until('for boot menu')
      await pressUntil(uuid, 'KEY_ESC', terminal.until('Select boot device:'))
      const menu = await terminal.until('2. ')
      assert.match(menu, /1\. /u)
      const said = await pressUntil(uuid, 'KEY_2', terminal.until('ready'))
      assert.doesNotMatch(said, /Boot failed|not a bootable disk/u)
    } finally {
      await ended(uuid, terminal)
    }
  })

  /** Presses a key, and again where it was lost; soon a second time would leave the menu. */
  async function pressUntil(uuid: string, key: string, seen: Promise<string>): Promise<string> {
    let isSeen = false
    const waiting = seen.finally(() => {
      isSeen = true
    })
    waiting.catch(() => {})
    while (!isSeen) {
      await connection.domains.sendKey(uuid, { keys: [key] })
      await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 15_000).unref())])
    }
    return waiting
  }

  test('a TPM has registers that count, and keeps its state', {
    skip: skipTpm,
    timeout: 400_000,
  }, async () => {
    const { uuid, terminal } = await booted(
      linux('tpm', await image('aarch64'), { os: { arch: 'aarch64' }, devices: { tpms: [{}] } }),
    )
    assert.match(await terminal.ask('ls /sys/class/tpm'), /tpm0/u)
    assert.match(await terminal.ask('cat /sys/class/tpm/tpm0/pcr-sha256/0'), /[0-9A-F]{64}/u)
    await ended(uuid, terminal)
    const kept = await readdir(join(directory, 'state/qemu/tpm', uuid))
    assert.ok(kept.includes('tpm2-00.permall'), kept.join())
    assert.deepEqual(await readdir(join(directory, 'run/tpm')), [])
    await connection.domains.undefine(uuid)
    assert.equal(existsSync(join(directory, 'state/qemu/tpm', uuid)), false)
  })

  test('a TPM that a guest could not find is refused', { skip: noSwtpm }, async () => {
    const kernel = join(directory, 'vmlinux')
    await writeFile(kernel, '\x7fELF')
    const wanted = small('tpm-unpacked', { os: { kernel, initrd: disk }, devices: { tpms: [{}] } })
    await assert.rejects(connection.domains.define(wanted), {
      code: 'unsupported-config',
      remedy: /vmlinuz/u,
    })
  })

  test('a TPM is found again by a later daemon, and ends with its machine', { skip: noSwtpm }, async () => {
    const { uuid } = await connection.domains.define(small('tpm-adopted', { devices: { tpms: [{}] } }))
    await connection.domains.start(uuid)
    await connection.close()
    connection = await openTestDriver(directory)
    assert.ok((await readdir(join(directory, 'run/tpm'))).includes(uuid))
    await connection.domains.destroy(uuid)
    assert.equal((await readdir(join(directory, 'run/tpm'))).includes(uuid), false)
  })

  test('UEFI starts Linux, with its variables in a qcow2 that goes with the domain', {
    skip: noImages || noFirmware,
    timeout: 400_000,
  }, async () => {
    const { uuid, terminal } = await booted(
      linux('uefi', await packed(), { os: { firmware: 'efi' }, features: { acpi: true, apic: true } }),
    )
    assert.match(await terminal.ask('ls /sys/firmware/efi'), /runtime/u)
    await ended(uuid, terminal)
    const nvram = join(directory, 'state/qemu/nvram', `${uuid}.qcow2`)
    assert.match(execFileSync('qemu-img', ['info', nvram], { encoding: 'utf8' }), /file format: qcow2/u)
    const again = await started(uuid)
    await ended(uuid, again)
    await connection.domains.undefine(uuid)
    assert.equal(existsSync(nvram), false)
  })

  test('Secure Boot comes with enrolled keys, and variables that only the firmware can write', {
    skip: noFirmware || noImages,
    timeout: 400_000,
  }, async () => {
    const features = [{ name: 'secure-boot' as const, enabled: true }]
    const { kernel } = await image('x86_64')
    const definition = small('secure', {
      memoryKiB: 192 * 1024,
      os: { firmware: 'efi', firmwareFeatures: features, kernel, commandLine: 'console=ttyS0' },
    })
    const { uuid } = await connection.domains.define(definition)
    const complete = await connection.domains.describe(uuid)
    assert.equal(complete.os.loaderSecure, true)
    assert.match(complete.os.nvramTemplate ?? '', /ms/u)
  })

  test('threads run where they are pinned', async () => {
    const { uuid } = await connection.domains.define(
      small('pinned', {
        vcpus: 2,
        iothreads: 1,
        cputune: {
          vcpuPins: [{ vcpu: 1, cpuset: '0' }],
          iothreadPins: [{ iothread: 1, cpuset: '0' }],
          vcpuSchedulers: [{ vcpus: '0', scheduler: 'batch' }],
        },
      }),
    )
    await connection.domains.start(uuid)
    const { pid } = await connection.domains.get(uuid)
    const threads = new Map<string, string>()
    for (const tid of await readdir(`/proc/${pid}/task`)) {
      const [name, status] = await Promise.all(
        ['comm', 'status'].map((file) => readFile(`/proc/${pid}/task/${tid}/${file}`, 'utf8')),
      )
      threads.set((name ?? '').trim(), /Cpus_allowed_list:\s+(\S+)/u.exec(status ?? '')?.[1] ?? '')
    }
    assert.equal(threads.get('CPU 1/TCG'), '0')
    assert.equal(threads.get('IO iothread1'), '0')
    await connection.domains.destroy(uuid)
  })

  test('cells, modules of memory, and what a machine says of itself reach the guest', {
    skip: noImages,
    timeout: 400_000,
  }, async () => {
    const cell = { memoryKiB: 96 * 1024 }
    const { uuid, terminal } = await booted(
      linux('memory', await image('x86_64'), {
        genid: '43dc0cf8-809b-4adb-9bea-a9abb5f3d90e',
        vcpus: 2,
        memoryKiB: 320 * 1024,
        maxMemoryKiB: 1024 * 1024,
        memorySlots: 2,
        memoryBacking: { source: 'memfd', access: 'shared' },
        cpu: {
          model: 'qemu64',
          topology: { sockets: 1, dies: 2, cores: 1, threads: 1 },
          features: [
            { name: 'aes' },
            { name: 'avx512f', policy: 'optional' },
            { name: 'smep', policy: 'force' },
            { name: 'hle', policy: 'force' },
            { name: 'svm', policy: 'disable' },
          ],
          numa: [
            { ...cell, cpus: '0', distances: [{ cell: 1, value: 31 }] },
            { ...cell, cpus: '1', distances: [{ cell: 0, value: 31 }] },
          ],
          numaLatencies: [
            { initiator: 0, target: 0, access: 'access', nanoseconds: 10 },
            { initiator: 0, target: 1, access: 'access', nanoseconds: 200 },
            { initiator: 1, target: 0, access: 'access', nanoseconds: 200 },
            { initiator: 1, target: 1, access: 'access', nanoseconds: 10 },
          ],
        },
        features: { acpi: true, apic: true },
        os: { smbios: 'sysinfo' },
        sysinfo: [{ type: 'smbios', system: [{ name: 'serial', value: 'A,1' }] }],
        clock: { offset: 'variable', adjustment: '7200' },
        devices: { memories: [{ model: 'dimm', sizeKiB: 128 * 1024, node: 1 }] },
      }),
    )
    assert.match(await terminal.ask('cat /sys/devices/system/node/online'), /0-1/u)
    assert.match(await terminal.ask('cat /sys/class/dmi/id/product_serial'), /A,1/u)
    assert.match(await terminal.ask('cat /sys/devices/system/node/node0/distance'), /10 31/u)
    const latency = '/sys/devices/system/node/node1/access0/initiators/read_latency'
    assert.match(await terminal.ask(`cat ${latency}; ls /sys/firmware/acpi/tables`), /\b10\b.*HMAT/su)
    assert.match(await terminal.ask('cat /sys/devices/system/cpu/cpu1/topology/die_id'), /\b1\b/u)
    const flags = await terminal.ask(
      "grep -m1 flags /proc/cpuinfo | tr ' ' '\\n' | grep -xE 'aes|avx512f|smep|hle|svm'",
    )
    for (const name of ['aes', 'smep', 'hle']) assert.match(flags, new RegExp(`^${name}\\s*$`, 'mu'))
    for (const name of ['avx512f', 'svm']) assert.doesNotMatch(flags, new RegExp(`^${name}\\s*$`, 'mu'))
    // It sets its clock an hour back: the definitions, of now and of the next start, follow.
    const said = await terminal.ask(
      'date +%s; date -s @$(($(date +%s) - 3600)); hwclock -u -w; hwclock -u -r',
    )
    const ahead = Number(/\d{10}/u.exec(said)?.[0]) - Date.now() / 1000
    assert.ok(Math.abs(ahead - 7200) < 60, said)
    const hasFollowed = async (options: { inactive: boolean }) =>
      Math.abs(Number((await connection.domains.describe(uuid, options)).clock.adjustment) - 3600) < 60
    for (
      let tries = 0;
      !((await hasFollowed({ inactive: false })) && (await hasFollowed({ inactive: true })));
      tries++
    ) {
      assert.ok(tries < 600, said)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    await ended(uuid, terminal)
  })

  test('huge pages are really taken, and counted before a start', async (context) => {
    const reserved = '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'
    const before = await readFile(reserved, 'utf8').catch(() => undefined)
    if (before === undefined) return context.skip('this kernel has no huge pages of 2 MiB')
    const need = 64
    try {
      await writeFile(reserved, String(Number(before) + need))
    } catch {
      return context.skip('this user may not reserve huge pages')
    }
    try {
      if (Number(await readFile(reserved, 'utf8')) < need)
        return context.skip('this host has no memory in one piece for huge pages')
      const pages = { hugePages: { pages: [{ sizeKiB: 2048 }] } }
      const wanted = small('huge', { memoryKiB: 64 * 1024, memoryBacking: pages })
      const { uuid } = await connection.domains.define(wanted)
      await connection.domains.start(uuid)
      const { pid } = await connection.domains.get(uuid)
      const status = await readFile(`/proc/${pid}/status`, 'utf8')
      assert.match(status, /^HugetlbPages:\s+65536 kB$/mu)
      await connection.domains.destroy(uuid)
      await connection.domains.undefine(uuid)
      const more = small('huge', { memoryKiB: 512 * 1024, memoryBacking: pages })
      const { uuid: large } = await connection.domains.define(more)
      await assert.rejects(connection.domains.start(large), {
        code: 'unavailable',
        message: /needs 256 huge/u,
      })
    } finally {
      await writeFile(reserved, before)
    }
  })

  test('every form of memory starts', async () => {
    const forms: Partial<DomainDefinitionInput>[] = [
      { memoryBacking: { source: 'file', access: 'shared', discard: true } },
      {
        memoryBacking: { source: 'memfd', allocation: 'immediate', allocationThreads: 2, noSharePages: true },
      },
      { numatune: { mode: 'strict', nodeset: '0' } },
      {
        memoryKiB: 3 * 128 * 1024,
        maxMemoryKiB: 2 ** 20,
        memorySlots: 2,
        devices: {
          memories: [
            { model: 'virtio-mem', sizeKiB: 131_072, requestedKiB: 65_536, blockKiB: 2048 },
            { model: 'virtio-pmem', sizeKiB: 131_072, path: join(directory, 'pmem'), access: 'shared' },
          ],
        },
      },
    ]
    for (const [index, form] of forms.entries()) {
      const { uuid } = await connection.domains.define(small(`memory-${index}`, form))
      await connection.domains.start(uuid)
      await connection.domains.destroy(uuid)
    }
  })

  test('Linux runs on a microvm, with its disk and the right time', {
    skip: noImages,
    timeout: 400_000,
  }, async () => {
    const { uuid, terminal } = await booted(
      linux('microvm', await image('x86_64'), {
        os: { machine: 'microvm' },
        devices: { disks: [{ file: disk, target: 'vda', readonly: true }], serials: [{}] },
      }),
    )
    const said = await terminal.ask('head -c 512 /dev/vda | wc -c; cat /proc/cmdline')
    assert.match(said, /512/u)
    assert.match(said, /tsc_early_khz=\d{6}/u)
    // Its clock is as fast as its host's, as far as answers that take their time let it be seen.
    const reading = async () => {
      const before = performance.now()
      // Under load a serial line may say something else before.
      const text = await terminal.ask('cut -d" " -f1 /proc/uptime')
      const uptime = Number(/\d+\.\d\d\b/u.exec(text)?.[0])
      assert.ok(uptime > 0, text)
      return { before, uptime, after: performance.now() }
    }
    const first = await reading()
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    const second = await reading()
    const went = second.uptime - first.uptime
    const least = (second.before - first.after) / 1000
    const most = (second.after - first.before) / 1000
    assert.ok(went > least * 0.98 - 0.02 && went < most * 1.02 + 0.02, `${went} s in ${least} to ${most} s`)
    await ended(uuid, terminal)
  })
})
