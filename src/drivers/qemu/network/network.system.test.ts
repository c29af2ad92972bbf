/**
 * Network cards of a real guest: a host of its own, in a network namespace that ends with it, whose way out is a
 * link that leads nowhere.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { CompleteConnection } from '../../../driver/index.ts'
import { readCoalescing } from '../../../host/index.ts'
import type { DevicesInput } from '../../../model/index.ts'
import { buildTestImage } from '../../../storage/testing/test-images.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { openTerminal, prompt, type Terminal } from '../testing/test-terminal.ts'

const run = promisify(execFile)
const ip = async (line: string) => (await run('ip', line.split(' '))).stdout

/** Asks until the answer is as expected; gives that. */
async function until(what: string, ask: () => Promise<string>, expected: RegExp): Promise<string> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const answer = await ask()
    if (expected.test(answer)) return answer
    assert.ok(performance.now() < deadline, `${what}: ${answer} never was ${expected}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** What a port says to whoever says something (passt of 2023 goes on only then); empty when nobody is there. */
const read = (port: number, host: string) =>
  new Promise<string>((resolve) => {
    let said = ''
    const socket = connect({ port, host }, () => socket.write('you first\n'))
    socket.setTimeout(5_000, () => socket.destroy())
    socket.on('data', (chunk) => {
      said += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(said))
  })

async function makeHost(directory: string): Promise<ChildProcess> {
  // Of the namespace, not of the host.
  await run('mount', ['-t', 'sysfs', 'none', '/sys'])
  await ip('link set lo up')
  await ip('link add up0 type veth peer name up1')
  for (const link of ['up0', 'up1']) await ip(`link set ${link} up`)
  await ip('address add 198.51.100.2/24 dev up0')
  await ip('route add default via 198.51.100.1')
  for (const bridge of ['br0', 'br1']) await ip(`link add ${bridge} type bridge`)
  await ip('address add 10.8.0.1/24 dev br0')
  for (const link of ['br0', 'br1']) await ip(`link set ${link} up`)
  // A card of the host whose cable ends in the bridge.
  await ip('link add card0 type veth peer name card1')
  await ip('link set card1 master br0')
  for (const link of ['card0', 'card1']) await ip(`link set ${link} up`)
  return spawn('dnsmasq', [
    ...['--keep-in-foreground', '--conf-file=/dev/null', '--user=root', '--port=0', '--pid-file='],
    ...['--bind-interfaces', '--interface=br0', '--except-interface=lo', '--no-ping', '--dhcp-authoritative'],
    ...['--dhcp-range=10.8.0.10,10.8.0.99,1h', `--dhcp-leasefile=${join(directory, 'leases')}`],
  ])
}

const cards = {
  passt: '52:54:00:00:00:01',
  virtio: '52:54:00:00:00:02',
  e1000e: '52:54:00:00:00:03',
  rtl8139: '52:54:00:00:00:04',
  plugged: '52:54:00:00:00:05',
}

async function inside(directory: string, image: string): Promise<void> {
  const { kernel, initrd, commandLine } = JSON.parse(image) as Record<string, string>
  const dnsmasq = await makeHost(directory)
  let connection = await openTestDriver(directory)
  const { uuid } = await connection.domains.define({
    type: 'qemu',
    name: 'carded',
    memoryKiB: 196_608,
    vcpus: 2,
    os: { kernel, initrd, commandLine },
    devices: {
      serials: [{}],
      interfaces: [
        {
          type: 'user',
          mac: cards.passt,
          backend: 'passt',
          backendLog: join(directory, 'passt.log'),
          ips: [{ address: '10.9.0.7', prefix: 24 }],
          portForwards: [
            {
              proto: 'tcp',
              address: '127.0.0.1',
              ranges: [
                { start: 8080, end: 8084, to: 80 },
                { start: 8082, exclude: true },
              ],
            },
          ],
        },
        { type: 'bridge', bridge: 'br0', mac: cards.virtio, queues: 2, mtu: 1300 },
      ],
    },
  })
  try {
    await connection.domains.start(uuid)
    const shell = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
    await shell.until(prompt)
    const guest: Guest = { connection, uuid, shell, directory }
    await passtWorks(guest)
    await bridgeWorks(guest)
    await cardsComeAndGo(guest)
    await linksAreSetUp(guest)
    await directCards(guest)
    if (existsSync(roms)) await programsOfCards(guest)
    await shell.close()
    // A later daemon finds it again, and ends it with the machine.
    await connection.close()
    connection = await openTestDriver(directory)
    assert.equal(await read(8080, '127.0.0.1'), 'hello\n')
    await connection.domains.destroy(uuid)
    assert.deepEqual(await passts(directory), [])
    assert.equal(await read(8080, '127.0.0.1'), '')
    assert.deepEqual(await ports(), [])
    assert.equal(await macvtaps(), '')
    // What a daemon left behind that was killed, of a machine that has ended since.
    await ip('link add link card0 name lost type macvtap')
    const owner = createHash('sha256').update(join(directory, 'state')).digest('hex').slice(0, 12)
    await run('ip', ['link', 'set', 'lost', 'alias', `visor:${owner}:${uuid}`])
    await connection.close()
    connection = await openTestDriver(directory)
    assert.equal(await macvtaps(), '')
  } finally {
    await connection.domains.destroy(uuid).catch(() => {})
    await connection.close()
    dnsmasq.kill()
  }
}

type CardInput = NonNullable<DevicesInput['interfaces']>[number]

interface Guest {
  readonly connection: CompleteConnection
  readonly uuid: string
  readonly shell: Terminal
  readonly directory: string
}

const passts = (directory: string) => readdir(join(directory, 'run', 'passt')).catch(() => [])
const ports = async () => (await readdir('/sys/class/net/br0/brif')).filter((link) => link !== 'card1')

/** The guest's name of a card; waits until it has one. */
async function linkOf({ shell }: Guest, mac: string): Promise<string> {
  const line = await until(
    mac,
    () => shell.ask(`grep -l ${mac} /sys/class/net/*/address`),
    /net\/\w+\/address/u,
  )
  return /net\/(\w+)\/address/u.exec(line)?.[1] ?? ''
}

async function passtWorks(guest: Guest): Promise<void> {
  const { shell, directory, uuid } = guest
  const link = await linkOf(guest, cards.passt)
  await until('address by DHCP', () => shell.ask(`ip -4 addr show ${link}`), /inet 10\.9\.0\.7\/24/u)
  await shell.ask('while true; do echo hello | nc -l -p 80; done >/dev/null 2>&1 & true')
  await until('published port', () => read(8080, '127.0.0.1'), /^hello\n$/u)
  assert.equal(await read(8082, '127.0.0.1'), '')
  assert.deepEqual(await passts(directory), [`${uuid}.net0`])
}

/** Packets go both ways, and are counted as the guest sees them. */
async function bridgeWorks(guest: Guest): Promise<void> {
  const { shell, connection, uuid } = guest
  assert.equal((await ports()).length, 1)
  const link = await linkOf(guest, cards.virtio)
  await until('address by DHCP', () => shell.ask(`ip -4 addr show ${link}`), /inet 10\.8\.0\.\d+\/24/u)
  assert.match(await shell.ask(`cat /sys/class/net/${link}/mtu`), /^1300\r/mu)
  assert.match(await shell.ask(`ls /sys/class/net/${link}/queues`), /rx-1/u)
  const { devices } = await connection.domains.describe(uuid)
  const target = devices.interfaces[1]?.target
  assert.match(String(target), /^vnet\d+$/u)
  const counters = async () => {
    const [stats] = await connection.domains.stats({ domains: [uuid] })
    const found = stats?.interfaces.find(({ name }) => name === target)
    return [found?.rxBytes ?? 0, found?.txBytes ?? 0] as const
  }
  const [rx, tx] = await counters()
  assert.match(await shell.ask(`ping -c 3 -s 1200 -I ${link} 10.8.0.1`), / 0% packet loss/u)
  const [rxNow, txNow] = await counters()
  for (const more of [rxNow - rx, txNow - tx]) assert.ok(more >= 3_700 && more < 10_000, `${more} bytes`)
}

async function cardsComeAndGo(guest: Guest): Promise<void> {
  const { shell, connection, uuid, directory } = guest
  const { attachDevice, detachDevice, updateDevice } = connection.domains
  const mac = cards.plugged
  const device = { interfaces: [{ type: 'bridge' as const, bridge: 'br0', mac, queues: 2 }] }
  await attachDevice(uuid, { device })
  assert.equal((await ports()).length, 2)
  const link = await linkOf(guest, mac)
  await until('address by DHCP', () => shell.ask(`ip -4 addr show ${link}`), /inet 10\.8\.0\.\d+\/24/u)
  assert.match(await shell.ask(`ping -c 1 -I ${link} 10.8.0.1`), / 0% packet loss/u)
  await updateDevice(uuid, { device: { interfaces: [{ type: 'bridge', bridge: 'br0', mac, link: 'down' }] } })
  await until('carrier', () => shell.ask(`cat /sys/class/net/${link}/carrier`), /^0\r/mu)
  await detachDevice(uuid, { device })
  assert.equal((await ports()).length, 1)
  await assert.rejects(
    attachDevice(uuid, { device: { interfaces: [{ type: 'bridge', bridge: 'br7', mac }] } }),
    {
      code: 'not-found',
    },
  )
  const taken = {
    interfaces: [
      {
        ...{ type: 'user' as const, backend: 'passt' as const, mac },
        portForwards: [{ proto: 'tcp' as const, address: '127.0.0.1', ranges: [{ start: 8080 }] }],
      },
    ],
  }
  await assert.rejects(attachDevice(uuid, { device: taken }), { code: 'failed', message: /Failed to bind/u })
  assert.equal((await passts(directory)).length, 1)
  const passt = { interfaces: [{ type: 'user' as const, backend: 'passt' as const, mac }] }
  await attachDevice(uuid, { device: passt })
  assert.equal((await passts(directory)).length, 2)
  const second = await linkOf(guest, mac)
  await until('address by DHCP', () => shell.ask(`ip -4 addr show ${second}`), /inet 198\.51\.100\.2\//u)
  await detachDevice(uuid, { device: passt })
  await until('passt ends', async () => String((await passts(directory)).length), /^1$/u)
}

/** Limits, isolation, bridges and offloads are where they are to be, and what cannot be had leaves nothing. */
async function linksAreSetUp(guest: Guest): Promise<void> {
  const { shell, connection, uuid } = guest
  const { attachDevice, detachDevice, updateDevice, describe } = connection.domains
  const card = (more: Partial<CardInput>) => ({
    device: { interfaces: [{ type: 'bridge' as const, bridge: 'br0', mac: cards.plugged, ...more }] },
  })
  const tc = async (line: string) => (await run('tc', line.split(' '))).stdout
  await attachDevice(
    uuid,
    card({
      target: 'held',
      isolated: true,
      inbound: { averageKBps: 1000, peakKBps: 2000, burstKiB: 64 },
      hostOffloads: { csum: false },
      sendBufferBytes: 65_536,
      coalescedFrames: 7,
    }),
  )
  assert.match((await run('bridge', ['-d', 'link', 'show', 'dev', 'held'])).stdout, /isolated on/u)
  assert.match(await tc('class show dev held'), /htb 1:1 .*rate 8Mbit ceil 16Mbit/u)
  assert.equal(await readCoalescing('held'), 7)
  const link = await linkOf(guest, cards.plugged)
  assert.match(await shell.ask(`cat /sys/class/net/${link}/device/features`), /^0[01]{60}/mu)
  await updateDevice(uuid, card({ bridge: 'br1', inbound: { averageKBps: 500 }, coalescedFrames: 0 }))
  assert.match(await tc('class show dev held'), /htb 1:1 .*rate 4Mbit ceil 4Mbit/u)
  assert.deepEqual(await readdir('/sys/class/net/br1/brif'), ['held'])
  assert.equal(await readCoalescing('held'), 0)
  const { devices } = await describe(uuid)
  assert.equal(devices.interfaces.find(({ mac }) => mac === cards.plugged)?.bridge, 'br1')
  await detachDevice(uuid, card({}))
  assert.deepEqual(await readdir('/sys/class/net/br1/brif'), [])
  // This bridge does not tell virtual LANs apart.
  const code = 'unsupported-config'
  await assert.rejects(attachDevice(uuid, card({ vlanTags: [{ id: 42 }] })), { code, message: /br0/u })
  // Not every kernel can drop what is too much.
  const limited = card({ target: 'held', outbound: { averageKBps: 1000 } })
  const limits = await attachDevice(uuid, limited).then(
    () => tc('filter show dev held parent ffff:'),
    (error: { code: string }) => error.code,
  )
  assert.match(limits, /unsupported-config|police .*rate 8Mbit/u)
  if (limits !== code) await detachDevice(uuid, limited)
  assert.equal((await ports()).length, 1)
  if (!existsSync('/dev/vhost-net'))
    await assert.rejects(attachDevice(uuid, card({ driver: 'vhost' })), { code, message: /vhost-net/u })
}

const macvtaps = async () => (await ip('-o link show type macvtap')).trim()

/** Cards directly on a card of the host: they work, are counted, and go. */
async function directCards({ connection, uuid, shell, ...guest }: Guest): Promise<void> {
  const { attachDevice, detachDevice, describe, stats } = connection.domains
  const mac = cards.plugged
  const card = (more: Partial<CardInput>) => ({
    device: { interfaces: [{ type: 'direct' as const, dev: 'card0', mac, ...more }] },
  })
  for (const mode of ['bridge', 'passthrough'] as const) {
    await attachDevice(uuid, card({ mode, queues: 2 }))
    const { devices } = await describe(uuid)
    const target = devices.interfaces.find((one) => one.mac === mac)?.target
    assert.match(String(target), /^macvtap\d+$/u)
    const link = await linkOf({ connection, uuid, shell, ...guest }, mac)
    await until('address by DHCP', () => shell.ask(`ip -4 addr show ${link}`), /inet 10\.8\.0\.\d+\/24/u)
    const counters = async () => {
      const [all] = await stats({ domains: [uuid] })
      return all?.interfaces.find(({ name }) => name === target)
    }
    const sent = (await counters())?.txBytes ?? 0
    assert.match(await shell.ask(`arping -c 1 -I ${link} 10.8.0.1 || ping -c 1 -I ${link} 10.8.0.1`), /1 /u)
    assert.ok(((await counters())?.txBytes ?? 0) > sent)
    await detachDevice(uuid, card({}))
    assert.equal(await macvtaps(), '')
  }
  await assert.rejects(attachDevice(uuid, card({ dev: 'card9' })), { code: 'not-found' })
  // One that stays: the next daemon ends it with the machine.
  await attachDevice(uuid, card({ mode: 'private', target: 'own' }))
  assert.match(await macvtaps(), / own@card0/u)
}

/** Of the package ipxe-qemu. */
const roms = '/usr/lib/ipxe/qemu/pxe-e1000e.rom'

/** The guest's kernel knows virtio only; the programs that cards boot with ask for addresses as well. */
async function programsOfCards({ connection, directory }: Guest): Promise<void> {
  const leases = () => readFile(join(directory, 'leases'), 'latin1').catch(() => '')
  for (const model of ['e1000e', 'rtl8139'] as const) {
    const mac = cards[model]
    const { uuid } = await connection.domains.define({
      type: 'qemu',
      name: model,
      memoryKiB: 65_536,
      os: { machine: 'pc' },
      devices: { interfaces: [{ type: 'bridge', bridge: 'br0', model, mac, bootOrder: 1, target: 'old' }] },
    })
    await connection.domains.start(uuid)
    assert.ok((await ports()).includes('old'))
    await until(`address for ${model}`, leases, new RegExp(mac, 'u'))
    await connection.domains.destroy(uuid)
  }
}

const [, , role, directory, image] = process.argv
if (role === 'inside' && directory && image) await inside(directory, image)
else {
  const needed = ['qemu-system-x86_64', 'ip', 'passt', 'dnsmasq']
  const missing: string[] = []
  for (const name of needed) if (!(await findProgram(name))) missing.push(name)
  const skip =
    process.getuid?.() !== 0
      ? 'a network namespace needs root'
      : missing.length > 0
        ? `${missing.join(', ')} is not here: install qemu-system-x86, iproute2, passt, dnsmasq-base`
        : false
  test('cards of a guest carry what they shall', { skip, timeout: 300_000 }, async (t) => {
    if (!existsSync(roms)) t.diagnostic(`Without cards of other models: there is no '${roms}' (ipxe-qemu).`)
    const place = await mkdtemp(join(tmpdir(), 'visor-network-'))
    try {
      const built = await buildTestImage(place)
      await run('unshare', [
        ...['--net', '--mount', '--propagation', 'private'],
        ...[process.execPath, import.meta.filename, 'inside', place, JSON.stringify(built)],
      ])
    } finally {
      await rm(place, { recursive: true, force: true })
    }
  })
}
