/** QEMU as an unprivileged user: what it may, what it may not, and what is left of it. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { findCgroupHierarchies, run } from '../../../host/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

const skip =
  process.getuid?.() !== 0
    ? 'only root can give guests users of their own'
    : (await findProgram('qemu-system-x86_64'))
      ? false
      : 'qemu-system-x86_64 is not installed'

describe('confinement', { skip }, () => {
  let directory = ''
  let closed = ''
  let disk = ''
  let connection: CompleteConnection
  let domains: CompleteConnection['domains']

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-confined-'))
    closed = join(directory, 'closed, folder')
    await mkdir(closed, { mode: 0o700 })
    disk = join(closed, 'disk, raw.img')
    await writeTestDisk(disk)
    await chmod(disk, 0o600)
    await open()
  })
  afterEach(async () => {
    for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
  })
  after(async () => {
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function open(): Promise<void> {
    connection = await openTestDriver(directory)
    domains = connection.domains
  }

  async function started(name: string, devices = {}): Promise<string> {
    const { uuid } = await domains.define(testDefinition(name, disk, devices))
    await domains.start(uuid)
    return uuid
  }

  async function statusOf(uuid: string): Promise<Map<string, string>> {
    const { pid } = await domains.get(uuid)
    const status = await readFile(`/proc/${pid}/status`, 'utf8')
    return new Map(
      status.split('\n').map((line) => {
        const [key = '', value = ''] = line.split(/:\s*/u)
        return [key, value.trim()]
      }),
    )
  }

  const uidOf = async (uuid: string) => Number((await statusOf(uuid)).get('Uid')?.split('\t')[0])

  /** Named entries of the lists of these files. */
  function entries(...paths: string[]): string[] {
    const lists = execFileSync('getfacl', ['-np', ...paths], { encoding: 'utf8' })
    return lists.split('\n').filter((line) => /^user:\d/u.test(line))
  }

  function mayRead(uid: number, path: string): boolean {
    const script = `require('fs').closeSync(require('fs').openSync(process.argv[1], 'r'))`
    const as = { uid, gid: uid, cwd: '/', stdio: 'ignore' as const }
    return spawnSync(process.execPath, ['-e', script, path], as).status === 0
  }

  async function hear(uuid: string, text: string): Promise<void> {
    const console = await domains.openConsole(uuid, { scrollback: true })
    let said = ''
    for await (const bytes of console) {
      said += Buffer.from(bytes).toString('latin1')
      if (said.includes(text)) break
    }
    await console.close()
    assert.ok(said.includes(text), said)
  }

  test('QEMU has a user of its own, no capability, no group, and cannot get any', async () => {
    const uuid = await started('nobody')
    await hear(uuid, 'ready')
    const status = await statusOf(uuid)
    const [uid = '', ...others] = (status.get('Uid') ?? '').split('\t')
    assert.ok(Number(uid) >= 0x7000_0000)
    assert.deepEqual(others, [uid, uid, uid])
    assert.equal(status.get('Groups'), '')
    assert.doesNotMatch(status.get('Gid') ?? '', /(^|\t)0(\t|$)/u)
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      assert.match(status.get(set) ?? '', /^0+$/u, set)
    assert.equal(status.get('Seccomp'), '2')
    assert.equal(status.get('NoNewPrivs'), '1')
    const { pid } = await domains.get(uuid)
    assert.match(await readFile(`/proc/${pid}/limits`, 'utf8'), /^Max core file size\s+0\s/mu)
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8')
    assert.doesNotMatch(environment, /HOME=\/root|XDG_/u)
    await domains.destroy(uuid)
  })

  test('a disk in a closed folder works, and is closed again afterwards', async () => {
    const uuid = await started('closed')
    await hear(uuid, 'ready')
    const uid = await uidOf(uuid)
    assert.deepEqual(entries(closed, disk), [`user:${uid}:--x`, `user:${uid}:r--`])
    await domains.destroy(uuid)
    assert.deepEqual(entries(directory, closed, disk), [])
    assert.equal((await stat(disk)).mode & 0o7777, 0o600)
  })

  test('guests share a base, write only overlays of their own, and read nothing of each other', async () => {
    const base = join(closed, 'base.qcow2')
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', disk, base])
    await chmod(base, 0o600)
    const overlay = async (name: string) => {
      const path = join(closed, `${name}.qcow2`)
      await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', path])
      await chmod(path, 0o600)
      return { disks: [{ file: path, target: 'vda', format: 'qcow2' as const }] }
    }
    const [first, second] = [await started('a', await overlay('a')), await started('b', await overlay('b'))]
    await Promise.all([hear(first, 'ready'), hear(second, 'ready')])
    const [one, two] = [await uidOf(first), await uidOf(second)]
    assert.notEqual(one, two)
    assert.deepEqual(entries(base).sort(), [`user:${one}:r--`, `user:${two}:r--`].sort())
    assert.deepEqual(entries(join(closed, 'a.qcow2')), [`user:${one}:rw-`])
    const own = (uuid: string, name: string) => join(directory, 'run', 'qemu', uuid, name)
    const log = join(directory, 'state', 'qemu', 'consoles', first, 'serial0.log')
    for (const path of [join(closed, 'a.qcow2'), own(first, 'io/monitor.sock'), log])
      assert.equal(mayRead(two, path), false, path)
    assert.equal(mayRead(one, log), true)
    for (const path of ['record.json', 'output.log'].map((name) => own(first, name)))
      assert.equal(mayRead(one, path), false, path)
    assert.equal(mayRead(one, join(directory, 'store.db')), false)
    await domains.destroy(first)
    assert.deepEqual(entries(base), [`user:${two}:r--`])
    await domains.destroy(second)
    assert.deepEqual(entries(directory, closed, base), [])
  })

  test('what is granted ends with the guest, whatever happened to its daemon', async () => {
    await connection.close()
    // The daemon is killed, the next one finds the guest, which then ends.
    const { pid, uid } = await guestOfKilledDaemon('survivor')
    await open()
    assert.equal((await domains.get('survivor')).pid, pid)
    assert.deepEqual(entries(disk), [`user:${uid}:r--`])
    await domains.destroy('survivor')
    assert.deepEqual(entries(directory, closed, disk), [])
    await domains.undefine('survivor')
    await connection.close()
    // The daemon is killed, the guest ends, and only then comes the next daemon.
    const late = await guestOfKilledDaemon('late')
    process.kill(late.pid, 'SIGKILL')
    const deadline = performance.now() + 60_000
    while ((await isThere(late.pid)) && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual(entries(disk), [`user:${late.uid}:r--`])
    await open()
    assert.equal((await domains.get('late')).state, 'shutoff')
    assert.deepEqual(entries(directory, closed, disk), [])
  })

  const isThere = async (pid: number) =>
    /^State:\s+[^ZX]/mu.test(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''))

  async function guestOfKilledDaemon(name: string): Promise<{ pid: number; uid: number }> {
    const script = join(import.meta.dirname, '../testing/test-daemon.ts')
    const daemon: ChildProcess = spawn(process.execPath, [script, directory, name, disk], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    daemon.stdout?.setEncoding('utf8')
    for await (const chunk of daemon.stdout ?? []) {
      said += String(chunk)
      if (said.includes('\n')) break
    }
    const exited = once(daemon, 'exit')
    daemon.kill('SIGKILL')
    await exited
    const pid = Number(said.trim())
    const uid = Number(/^Uid:\s+(\d+)/mu.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1])
    return { pid, uid }
  }

  test('a state is saved and restored, a screen is seen', async () => {
    const uuid = await started('saved', { graphics: [{ type: 'vnc' }], videos: [{ model: 'vga' }] })
    await hear(uuid, 'ready')
    assert.ok((await domains.screenshot(uuid)).bytes.length > 100)
    await domains.save(uuid)
    assert.deepEqual(entries(directory, closed, disk), [])
    await domains.start(uuid)
    assert.equal((await domains.get(uuid)).reason, 'restored')
    await domains.destroy(uuid)
  })

  test('a port that writes a file, and sockets at places of their own', async () => {
    const file = join(closed, 'printed, here.txt')
    const socket = join(closed, 'channel.sock')
    const uuid = await started('placed', {
      serials: [{}, { type: 'file', path: file }],
      channels: [{ type: 'unix', name: 'one', path: socket }],
    })
    assert.ok((await stat(socket)).isSocket())
    await domains.destroy(uuid)
    await assert.rejects(stat(socket), { code: 'ENOENT' })
    assert.deepEqual(entries(directory, closed, file), [])
  })

  test('its groups hold it to what the definition says, and to an end of threads', async (context) => {
    const groups = (await findCgroupHierarchies()).map(({ controller }) => controller)
    const limited = ['cpu', 'memory', 'pids'].every((one) =>
      groups.some((controller) => controller.split(',').includes(one)),
    )
    if (!limited) return context.skip('this host has no v1 controllers to look at')
    const { uuid } = await domains.define({
      ...testDefinition('limited', disk),
      cputune: { shares: 2048, globalPeriodUs: 50_000, globalQuotaUs: 25_000 },
      memtune: { hardLimitKiB: 512 * 1024, softLimitKiB: 256 * 1024 },
    })
    await domains.start(uuid)
    await hear(uuid, 'ready')
    const { pid } = await domains.get(uuid)
    const own = await readFile(`/proc/${pid}/cgroup`, 'utf8')
    const read = async (controller: string, file: string) => {
      const path = new RegExp(`^\\d+:[^:]*\\b${controller}\\b[^:]*:(.*)$`, 'mu').exec(own)?.[1] ?? ''
      return (await readFile(join('/sys/fs/cgroup', controller, path, file), 'utf8')).trim()
    }
    assert.equal(await read('cpu', 'cpu.shares'), '2048')
    assert.equal(await read('cpu', 'cpu.cfs_period_us'), '50000')
    assert.equal(await read('cpu', 'cpu.cfs_quota_us'), '25000')
    assert.equal(await read('memory', 'memory.limit_in_bytes'), String(512 * 2 ** 20))
    assert.equal(await read('memory', 'memory.soft_limit_in_bytes'), String(256 * 2 ** 20))
    assert.equal(await read('pids', 'pids.max'), '4096')
    const changes = { cpuQuotaUs: -1, hardLimitKiB: 600 * 1024, live: true, config: true }
    await domains.setLimits(uuid, changes)
    assert.equal(await read('cpu', 'cpu.cfs_quota_us'), '-1')
    assert.equal(await read('memory', 'memory.limit_in_bytes'), String(600 * 2 ** 20))
    for (const inactive of [false, true]) {
      const { memtune, cputune } = await domains.describe(uuid, { inactive })
      assert.deepEqual([memtune?.hardLimitKiB, memtune?.softLimitKiB], [600 * 1024, 256 * 1024])
      assert.deepEqual([cputune?.globalQuotaUs, cputune?.shares], [-1, 2048])
    }
    await domains.setLimits(uuid, { hardLimitKiB: -1 })
    assert.ok(Number(await read('memory', 'memory.limit_in_bytes')) > 2 ** 50)
    await domains.destroy(uuid)
    for (const controller of ['cpu', 'memory', 'pids'])
      await assert.rejects(read(controller, 'cgroup.procs'), { code: 'ENOENT' })
  })

  test('limits come to one that was started without, and go with it', async (context) => {
    const hierarchies = await findCgroupHierarchies()
    const cpu = hierarchies.find(({ controller }) => controller.split(',').includes('cpu'))
    if (!cpu) return context.skip('this host has no v1 controller cpu')
    const uuid = await started('unlimited')
    const groups = async () =>
      (await readdir(join(cpu.parent, 'visor-guests')).catch(() => [])).filter((name) => name.includes(uuid))
    assert.deepEqual(await groups(), [])
    await domains.setLimits(uuid, { cpuShares: 100 })
    const [group = ''] = await groups()
    const own = join(cpu.parent, 'visor-guests', group)
    const { pid } = await domains.get(uuid)
    assert.equal((await readFile(join(own, 'cpu.shares'), 'utf8')).trim(), '100')
    assert.equal((await readFile(join(own, 'cgroup.procs'), 'utf8')).trim(), String(pid))
    await assert.rejects(domains.setLimits(uuid, {}), { code: 'invalid-argument' })
    await domains.destroy(uuid)
    assert.deepEqual(await groups(), [])
  })

  test('its processors, I/O threads and the rest are limited each, over a new daemon', async (context) => {
    const hierarchies = await findCgroupHierarchies()
    const cpu = hierarchies.find(({ controller }) => controller.split(',').includes('cpu'))
    if (!cpu) return context.skip('this host has no v1 controller cpu')
    const { uuid } = await domains.define({
      ...testDefinition('limited-threads', disk),
      ...{ vcpus: 2, currentVcpus: 1, iothreads: 1 },
      cputune: {
        ...{ globalPeriodUs: 100_000, globalQuotaUs: 150_000, vcpuPeriodUs: 50_000, vcpuQuotaUs: 40_000 },
        ...{ emulatorPeriodUs: 20_000, emulatorQuotaUs: 10_000, iothreadQuotaUs: 30_000 },
      },
    })
    await domains.start(uuid)
    await hear(uuid, 'ready')
    const { pid } = await domains.get(uuid)
    const all = join(cpu.parent, 'visor-guests')
    const own = join(all, (await readdir(all)).find((name) => name.includes(uuid)) ?? '')
    const read = async (file: string) => (await readFile(join(own, file), 'utf8')).trim()
    const limits = async (name: string) => [
      await read(`${name}/cpu.cfs_period_us`),
      await read(`${name}/cpu.cfs_quota_us`),
    ]
    const names = async (name: string) =>
      Promise.all(
        (await read(`${name}/tasks`))
          .split('\n')
          .map(async (tid) => (await readFile(`/proc/${pid}/task/${tid}/comm`, 'utf8')).trim()),
      )
    assert.equal(await read('cpu.cfs_quota_us'), '150000')
    assert.deepEqual(await limits('vcpu0'), ['50000', '40000'])
    assert.deepEqual(await limits('emulator'), ['20000', '10000'])
    assert.deepEqual(await limits('iothread1'), ['100000', '30000'])
    assert.match((await names('vcpu0')).join(), /^CPU 0\/(?:TCG|KVM)$/u)
    assert.match((await names('iothread1')).join(), /^IO iothread1$/u)
    assert.ok((await read('emulator/tasks')).split('\n').includes(String(pid)))
    assert.equal(await read('tasks'), '')
    await domains.setVcpus(uuid, { count: 2, live: true })
    assert.deepEqual(await limits('vcpu1'), ['50000', '40000'])
    // More for each processor than there was for the whole machine, then less for it than each had.
    await domains.setLimits(uuid, { cpuQuotaUs: 400_000, vcpuQuotaUs: 90_000, emulatorQuotaUs: -1 })
    for (const name of ['vcpu0', 'vcpu1']) assert.deepEqual(await limits(name), ['50000', '90000'])
    assert.deepEqual(await limits('emulator'), ['20000', '-1'])
    await domains.setLimits(uuid, { cpuQuotaUs: 50_000, vcpuQuotaUs: 20_000, iothreadQuotaUs: 20_000 })
    assert.deepEqual([await limits('vcpu0'), await read('cpu.cfs_quota_us')], [['50000', '20000'], '50000'])
    const { cputune } = await domains.describe(uuid)
    assert.deepEqual([cputune?.vcpuQuotaUs, cputune?.vcpuPeriodUs], [20_000, 50_000])
    assert.equal((await domains.describe(uuid, { inactive: true })).cputune?.vcpuQuotaUs, 40_000)
    // What cannot be had leaves all as it was.
    const tooMuch = domains.setLimits(uuid, { vcpuQuotaUs: 60_000 })
    await assert.rejects(tooMuch, { code: 'unsupported-config' })
    assert.deepEqual(await limits('vcpu0'), ['50000', '20000'])
    assert.equal((await domains.describe(uuid)).cputune?.vcpuQuotaUs, 20_000)
    assert.match((await names('vcpu1')).join(), /^CPU 1\/(?:TCG|KVM)$/u)
    await connection.close()
    await open()
    await domains.destroy(uuid)
    await assert.rejects(readdir(own), { code: 'ENOENT' })
  })

  test('the use of a disk of the host is limited while the guest runs, and let go', async (context) => {
    const hierarchies = await findCgroupHierarchies()
    const blkio = hierarchies.find(({ controller }) => controller.split(',').includes('blkio'))
    const names = await readdir('/sys/block').catch(() => [])
    const isThere = async (path: string) => (await stat(path).catch(() => undefined))?.isBlockDevice()
    const found = await Promise.all(names.map(async (name) => ((await isThere(`/dev/${name}`)) ? name : '')))
    const device = found.find((name) => name !== '')
    if (!blkio || device === undefined)
      return context.skip('this host has no v1 controller blkio, or no disk')
    const number = (await readFile(`/sys/block/${device}/dev`, 'utf8')).trim()
    const uuid = await started('limited-disk')
    const path = `/dev/${device}`
    const group = async () => {
      const all = join(blkio.parent, 'visor-guests')
      return join(all, (await readdir(all)).find((name) => name.includes(uuid)) ?? '')
    }
    const read = async (rate: string) =>
      (await readFile(join(await group(), `blkio.throttle.${rate}_device`), 'utf8')).trim()
    await domains.setLimits(uuid, { ioDevices: [{ path, writeBytes: 2 ** 20, readRequests: 100 }] })
    assert.equal(await read('write_bps'), `${number} ${2 ** 20}`)
    assert.equal(await read('read_iops'), `${number} 100`)
    await domains.setLimits(uuid, { ioDevices: [{ path, writeBytes: 0, readBytes: 4096 }] })
    assert.deepEqual([await read('write_bps'), await read('read_bps')], ['', `${number} 4096`])
    const { blkiotune } = await domains.describe(uuid)
    assert.deepEqual(blkiotune?.devices, [{ path, readRequests: 100, readBytes: 4096 }])
    const none = { ioDevices: [{ path: '/dev/null', readBytes: 1 }] }
    await assert.rejects(domains.setLimits(uuid, none), { code: 'unsupported-config' })
    await domains.destroy(uuid)
  })

  test('more for a processor than for the whole machine is refused with its reason', async (context) => {
    const hierarchies = await findCgroupHierarchies()
    const cpu = hierarchies.find(({ controller }) => controller.split(',').includes('cpu'))
    if (!cpu) return context.skip('this host has no v1 controller cpu')
    const { uuid } = await domains.define({
      ...testDefinition('limited-too-wide', disk),
      cputune: { globalQuotaUs: 10_000, vcpuQuotaUs: 20_000 },
    })
    await assert.rejects(domains.start(uuid), { code: 'unsupported-config', message: /quota 20000 cannot/u })
    assert.equal((await domains.get(uuid)).state, 'shutoff')
    const left = await readdir(join(cpu.parent, 'visor-guests')).catch(() => [])
    assert.ok(!left.some((name) => name.includes(uuid)), left.join())
  })

  test('a user of one’s own choice, and one that there is not', async () => {
    await connection.close()
    await assert.rejects(openTestDriver(directory, { guestUser: 'nosuchuser' }), { code: 'invalid-argument' })
    connection = await openTestDriver(directory, { guestUser: 'nobody' })
    domains = connection.domains
    const [first, second] = [await started('fixed'), await started('fixed-too')]
    const uid = await uidOf(first)
    assert.equal(uid, await uidOf(second))
    assert.ok(uid < 0x7000_0000)
    await domains.destroy(first)
    assert.deepEqual(entries(disk), [`user:${uid}:r--`])
    await domains.destroy(second)
    assert.deepEqual(entries(directory, closed, disk), [])
    await connection.close()
    await open()
  })

  test('QEMU can put nothing in the place of what visor trusts', async () => {
    const uuid = await started('rogue')
    const uid = await uidOf(uuid)
    const own = join(directory, 'run', 'qemu', uuid)
    const write = `require('fs').writeFileSync(process.argv[1], '')`
    const as = { uid, gid: uid, cwd: '/', stdio: 'ignore' as const }
    for (const name of ['record.json', 'other', '../x', 'save.sock'])
      assert.notEqual(spawnSync(process.execPath, ['-e', write, join(own, name)], as).status, 0, name)
    assert.equal(spawnSync(process.execPath, ['-e', write, join(own, 'io', 'mine')], as).status, 0)
    await domains.destroy(uuid)
  })
})
