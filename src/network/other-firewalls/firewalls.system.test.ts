/** The real Docker, ufw and firewalld come and go beside networks: guests notice nothing, and nothing stays. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  askForAddress,
  inside,
  isOnTestHost,
  makeGuest,
  missingForTestHost,
  onTestHost,
  plugGuest,
  reaches,
  removeGuest,
  setUpTestHost,
} from '../../../test/fixtures/test-host.ts'
import { memoryStore, silentLog } from '../../driver/index.ts'
import { NetworkDefinition, parse } from '../../model/index.ts'
import { openNetworks } from '../index.ts'

const echo = join(import.meta.dirname, '../../../test/fixtures/echo.ts')
const world = '203.0.113.2'

/** One that runs beside us. */
interface Firewall {
  start(folder: string): Promise<void>
  /** What its users do to it while it runs. */
  reload(folder: string): Promise<void>
  end(): Promise<void>
  /** Lists what is ours in its rules. */
  ours(): string[]
  /** Whether it keeps guests from this host, too. */
  readonly closesHost: boolean
}

const host = (program: string, ...args: string[]) => inside('host', program, ...args)
const mount = (...args: string[]) => execFileSync('mount', args)
const ofIptables = () =>
  ['iptables', 'ip6tables'].flatMap((program) =>
    host(program, '-S')
      .split('\n')
      .filter((line) => line.includes('visor')),
  )

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 90_000
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, what)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const works = (program: string, ...args: string[]): boolean => {
  try {
    host(program, ...args)
    return true
  } catch {
    return false
  }
}

async function stop(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

function docker(): Firewall {
  let daemon: ChildProcess | undefined
  const socket = (folder: string) => `unix://${folder}/docker.sock`
  async function start(folder: string): Promise<void> {
    // It drops what it does not know where it has turned forwarding on itself.
    host('sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward')
    const places = ['--data-root', join(folder, 'docker'), '--exec-root', join(folder, 'docker-run')]
    const other = ['--pidfile', join(folder, 'docker.pid'), '-H', socket(folder)]
    daemon = spawn('dockerd', [...places, ...other], { stdio: 'ignore' })
    await until('dockerd answers', () => works('docker', '-H', socket(folder), 'version'))
  }
  return {
    closesHost: false,
    ours: ofIptables,
    start,
    async reload(folder) {
      await stop(daemon)
      await start(folder)
      host('docker', '-H', socket(folder), 'network', 'create', 'another')
    },
    end: () => stop(daemon),
  }
}

const ufw: Firewall = {
  closesHost: true,
  ours: ofIptables,
  async start(folder) {
    const copy = join(folder, 'ufw')
    await cp('/etc/ufw', copy, { recursive: true })
    mount('--bind', copy, '/etc/ufw')
    host('ufw', '--force', 'enable')
  },
  async reload() {
    // It has its own last word, also when it is turned off and on.
    host('ufw', 'reload')
    host('ufw', 'disable')
    host('ufw', '--force', 'enable')
  },
  end: async () => void host('ufw', 'disable'),
}

function firewalld(): Firewall {
  let bus: ChildProcess | undefined
  let daemon: ChildProcess | undefined
  return {
    closesHost: true,
    ours: () =>
      works('nft', 'list', 'table', 'inet', 'firewalld')
        ? (host('nft', 'list', 'table', 'inet', 'firewalld').match(/.*"visor\d+".*/gu) ?? [])
        : [],
    async start(folder) {
      await mkdir('/run/dbus', { recursive: true })
      mount('-t', 'tmpfs', 'none', '/run/dbus')
      bus = spawn('dbus-daemon', ['--system', '--nofork', '--nopidfile'], { stdio: 'ignore' })
      const log = ['--log-file', join(folder, 'firewalld.log')]
      // Without the bus it ends.
      await until('the bus is there', () => works('test', '-S', '/run/dbus/system_bus_socket'))
      daemon = spawn('firewalld', ['--nofork', '--nopid', ...log], { stdio: 'ignore' })
      await until('firewalld answers', () => works('firewall-cmd', '--state'))
    },
    reload: async () => void host('firewall-cmd', '--reload'),
    async end() {
      await stop(daemon)
      await stop(bus)
    },
  }
}

const firewalls: Readonly<Record<string, () => Firewall>> = { docker, ufw: () => ufw, firewalld }

async function runOnTestHost(which: string): Promise<void> {
  const firewall = firewalls[which]?.()
  assert.ok(firewall)
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-firewalls-'))
  await chmod(folder, 0o755)
  const opened = await openNetworks({
    stateDirectory: join(folder, 'state'),
    runtimeDirectory: join(folder, 'run'),
    store: memoryStore(),
    log: silentLog,
  })
  assert.ok(opened)
  const { networks, guests } = opened
  let number = 0
  async function add(guest: string): Promise<string> {
    const [link, mac] = [`vg${++number}`, `52:54:00:00:07:0${number}`]
    makeGuest(guest, link, mac)
    const access = await guests.admit({ network: 'lab', domain: guest, name: guest, driver: 'test', mac })
    plugGuest(guest, link, access.bridge ?? '')
    await access.join(link)
    return askForAddress(guest, folder)
  }
  const ends: (() => Promise<void>)[] = [firewall.end]
  const getsOut = (guest: string) => reaches(guest, world, 'tcp', 2)
  async function answer(...where: string[]): Promise<void> {
    const [program = '', ...args] = [...where, process.execPath, echo, 'serve']
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    ends.push(() => stop(child))
    await once(child.stdout, 'data')
  }
  try {
    await answer()
    await answer('ip', 'netns', 'exec', 'world')
    await networks.define?.(
      parse(NetworkDefinition, {
        name: 'lab',
        forward: {},
        addresses: [
          { address: '10.9.1.1', prefix: 24, dhcp: { ranges: [{ start: '10.9.1.2', end: '10.9.1.9' }] } },
        ],
      }),
    )
    await networks.start?.('lab')
    await add('web')
    await until('web gets out', () => getsOut('web'))
    assert.equal(await reaches('web', '10.9.1.1', 'tcp', 30), true)
    assert.deepEqual(firewall.ours(), [])

    await firewall.start(folder)
    await until(`web gets out beside ${which}`, () => getsOut('web'))
    assert.ok(firewall.ours().length > 0, `${which} would have let it pass anyway`)
    const near = await add('db')
    await until('db gets out', () => getsOut('db'))
    await until('web reaches db', () => reaches('web', near, 'icmp', 1))
    // Only what a network is for: this host stays as closed as it was made.
    if (firewall.closesHost) assert.equal(await reaches('web', '10.9.1.1', 'tcp', 2), false)

    await firewall.reload(folder)
    await until(`web gets out after ${which} was made anew`, () => getsOut('web'))
    const after = await add('last')
    await until('web reaches the last', () => reaches('web', after, 'icmp', 1))

    for (const guest of ['web', 'db', 'last']) await guests.leave(guest)
    await networks.destroy?.('lab')
    assert.deepEqual(firewall.ours(), [])
    await networks.start?.('lab')
    for (const guest of ['web', 'db', 'last']) removeGuest(guest)
    await add('anew')
    assert.equal(await reaches('anew', world, 'tcp', 30), true)
    await guests.leave('anew')
    await networks.destroy?.('lab')
    removeGuest('anew')
    assert.deepEqual(firewall.ours(), [])
    process.stdout.write(`beside ${which}: ok\n`)
  } finally {
    for (const end of ends) await end()
    await opened.close()
    await rm(folder, { recursive: true, force: true })
  }
}

const wanted: Readonly<Record<string, readonly string[]>> = {
  docker: ['dockerd', 'docker', 'iptables'],
  ufw: ['ufw', 'iptables'],
  firewalld: ['firewalld', 'firewall-cmd', 'dbus-daemon'],
}

if (isOnTestHost()) await runOnTestHost(process.argv[3] ?? '')
else
  for (const [which, programs] of Object.entries(wanted))
    test(`guests get out beside ${which}`, {
      skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'udhcpc', 'ping', 'unshare', ...programs]),
      timeout: 300_000,
    }, async () => {
      await onTestHost(import.meta.filename, which)
    })
