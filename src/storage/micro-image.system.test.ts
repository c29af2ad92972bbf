/** The micro guest as QEMU runs it: really built, really booted. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { silentLog } from '../driver/index.ts'
import { run } from '../host/index.ts'
import type { Image, Progress } from '../model/index.ts'
import { openImages } from './index.ts'

const noQemu = spawnSync('qemu-system-x86_64', ['--version']).error && 'QEMU is not installed'
const noApt = spawnSync('apt-get', ['--version']).error && 'there is no apt-get to fetch packages with'
const patienceMs = 60_000
/** The prompt, and the question of busybox's line editor for the place of the cursor. */
const prompt = '# \u001b[6n'

let directory = ''
let image: Image
const phases: Progress[] = []

before(async () => {
  if (noApt) return
  directory = await mkdtemp(join(tmpdir(), 'visor-micro-'))
  const images = openImages({ stateDirectory: directory, log: silentLog })
  assert.ok(images.build)
  image = await images.build('micro', { arch: 'x86_64', progress: (progress) => phases.push(progress) })
})
after(async () => {
  if (directory) await rm(directory, { recursive: true, force: true })
})

/** A guest under emulation, and what it prints. */
class Guest {
  readonly process: ChildProcess
  readonly ended: Promise<unknown>
  printed = ''
  private wake = () => {}

  constructor(args: readonly string[] = []) {
    const machine = ['-machine', 'q35,accel=tcg', '-m', '256', '-nodefaults', '-display', 'none']
    const boot = ['-kernel', image.kernel ?? '', '-initrd', image.initrd ?? '']
    const line = ['-append', `${image.commandLine} visor.hostname=tester`, '-serial', 'stdio']
    this.process = spawn('qemu-system-x86_64', [...machine, ...boot, ...line, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.ended = once(this.process, 'exit')
    this.process.stdout?.on('data', (bytes: Buffer) => {
      this.printed += bytes.toString('latin1')
      this.wake()
    })
  }

  /** Waits for a text after the ones waited for before, and gives what came up to it. */
  async until(text: string): Promise<string> {
    const deadline = performance.now() + patienceMs
    while (!this.printed.includes(text)) {
      assert.ok(
        performance.now() < deadline,
        `Waited in vain for ${JSON.stringify(text)} after: ${this.printed}`,
      )
      await new Promise<void>((resolve) => {
        this.wake = resolve
        setTimeout(resolve, 1000)
      })
    }
    const end = this.printed.indexOf(text) + text.length
    const found = this.printed.slice(0, end)
    this.printed = this.printed.slice(end)
    return found
  }

  async answer(command: string): Promise<string> {
    this.process.stdin?.write(`${command}\n`)
    return this.until(prompt)
  }

  /** Waits until it has ended by itself, and gives its exit code and signal. */
  async untilEnded(): Promise<unknown> {
    const patience = AbortSignal.timeout(patienceMs)
    const late = once(patience, 'abort').then(() => assert.fail(`It goes on after: ${this.printed}`))
    return Promise.race([this.ended, late])
  }

  async end(): Promise<void> {
    this.process.kill('SIGKILL')
    await this.ended
  }
}

async function withGuest(args: readonly string[], use: (guest: Guest) => Promise<void>): Promise<void> {
  const guest = new Guest(args)
  try {
    await use(guest)
  } finally {
    await guest.end()
  }
}

test('the build tells what it fetches, and is there the second time', { skip: noApt }, async () => {
  assert.ok(phases.some(({ phase }) => /^downloading .*linux-image/u.test(phase ?? '')))
  const download = phases.findLast(({ unit }) => unit === 'bytes')
  assert.ok((download?.total ?? 0) > 2 ** 20, 'It tells how much there is.')
  assert.deepEqual(image.sources.map((source) => source.package).includes('busybox-static'), true)
  const again: Progress[] = []
  const images = openImages({ stateDirectory: directory, log: silentLog })
  assert.deepEqual(
    await images.build?.('micro', { arch: 'x86_64', progress: (one) => again.push(one) }),
    image,
  )
  assert.deepEqual(again, [])
  assert.deepEqual(await images.get('micro:x86_64'), image)
})

test(
  'it boots to a shell with job control, has an address and a name, and powers off',
  { skip: noQemu || noApt },
  () =>
    withGuest(['-nic', 'user,model=virtio-net-pci'], async (guest) => {
      assert.match(await guest.until(prompt), /visor micro guest 'tester'/u)
      const waiting = 'until ip -4 address show dev eth0 | grep -q inet; do usleep 50000; done'
      const addresses = await guest.answer(`${waiting}; ip address show dev eth0; cat /etc/resolv.conf`)
      assert.match(addresses, /inet 10\.0\.2\.15\/24/u)
      assert.match(addresses, /nameserver 10\.0\.2\.3/u)
      assert.match(await guest.answer('echo round trip $((6 * 7))'), /^round trip 42/mu)
      assert.match(await guest.answer('sleep 100 & jobs'), /Running\s+sleep 100/u)
      assert.match(await guest.answer('hostname'), /^tester/mu)
      await guest.answer('exit')
      guest.process.stdin?.write('poweroff\n')
      assert.deepEqual(await guest.untilEnded(), [0, null])
    }),
)

test('the power button powers it off, reboot boots it again', { skip: noQemu || noApt }, async () => {
  const monitor = join(directory, 'qmp.sock')
  await withGuest(['-qmp', `unix:${monitor},server=on,wait=off`], async (guest) => {
    await guest.until(prompt)
    guest.process.stdin?.write('reboot\n')
    await guest.until('Restarting system')
    await guest.until(prompt)
    const socket = connect(monitor)
    await once(socket, 'connect')
    socket.write('{"execute":"qmp_capabilities"}{"execute":"system_powerdown"}')
    socket.resume()
    assert.deepEqual(await guest.untilEnded(), [0, null])
    socket.destroy()
  })
})

test('it finds a disk and mounts it', { skip: noQemu || noApt }, async (context) => {
  const disk = join(directory, 'disk.raw')
  await writeFile(disk, '')
  await run('truncate', ['--size', '16M', disk])
  const made = await run('mkfs.ext4', ['-q', disk]).catch(() => undefined)
  if (made?.code !== 0) return context.skip('mkfs.ext4 is not installed')
  await withGuest(['-drive', `file=${disk},format=raw,if=virtio`], async (guest) => {
    await guest.until(prompt)
    const answer = await guest.answer(
      'mount -t ext4 /dev/vda /mnt && echo kept >/mnt/file && umount /mnt && echo done',
    )
    assert.match(answer, /^done/mu)
  })
  assert.ok((await readFile(disk)).includes('kept'))
})

test('a cancelled build leaves nothing', { skip: noApt }, async () => {
  const state = join(directory, 'cancelled')
  const giveUp = new AbortController()
  const images = openImages({ stateDirectory: state, log: silentLog })
  const build = images.build?.('micro', {
    arch: 'x86_64',
    signal: giveUp.signal,
    progress: ({ phase }) => {
      if (phase?.startsWith('unpacking')) giveUp.abort()
    },
  })
  await assert.rejects(async () => build, { code: 'cancelled' })
  assert.deepEqual(await images.list(), [])
  assert.equal((await stat(join(state, 'images'))).isDirectory(), true)
  const left = await run('find', [join(state, 'images'), '-mindepth', '1'])
  assert.equal(left.stdout, '')
})
