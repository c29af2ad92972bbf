/** Limits of networks and port groups: what passes is no faster, by real transfers; nothing of them is left. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  askForAddress,
  inside,
  insideMeanwhile,
  isOnTestHost,
  listHost,
  makeGuest,
  missingForTestHost,
  onTestHost,
  plugGuest,
  removeGuest,
  setUpTestHost,
} from '../../test/fixtures/test-host.ts'
import { memoryStore, silentLog } from '../driver/index.ts'
import { checkNetworkDefinition, NetworkDefinition, parse } from '../model/index.ts'
import { openNetworks } from './index.ts'

const sizeBytes = 1_500_000
/** A burst passes at once, and queues hold some more. */
const atOnceBytes = 700_000

/** Takes what it is sent, and says so at its end; on port 9. */
const sink =
  "require('node:net').createServer({ allowHalfOpen: true }, (s) => s.on('error', () => {}).on('end', () => s.end('done')).resume()).listen(9, '::', () => console.log('ready'))"
/** Sends so much, and prints how long it took until it was taken, milliseconds. */
const send = (address: string) =>
  `const t = performance.now(); const s = require('node:net').connect(9, '${address}', () => s.end(Buffer.alloc(${sizeBytes}))); s.on('data', () => console.log(performance.now() - t)).on('error', (e) => { throw e })`

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-bandwidth-'))
  await chmod(folder, 0o755)
  const opened = await openNetworks({
    stateDirectory: join(folder, 'state'),
    runtimeDirectory: join(folder, 'run'),
    store: memoryStore(),
    log: silentLog,
  })
  assert.ok(opened)
  const { networks, guests } = opened
  const before = listHost()
  const names: string[] = []
  const children: ChildProcess[] = []
  const listen = async (where: string) => {
    const child = spawn('ip', ['netns', 'exec', where, process.execPath, '-e', sink], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    assert.ok(child.stdout)
    await once(child.stdout, 'data')
  }
  async function add(guest: string, network: string, portGroup?: string): Promise<string> {
    const number = names.push(guest)
    const [link, mac] = [`vg${number}`, `52:54:00:00:06:0${number}`]
    makeGuest(guest, link, mac)
    const access = await guests.admit({ network, portGroup, domain: guest, name: guest, driver: 'test', mac })
    plugGuest(guest, link, access.bridge ?? '')
    await access.join(link)
    return askForAddress(guest, folder)
  }
  /** Bytes per second at most, as it was seen. */
  async function rateOf(from: string, to: string): Promise<number> {
    const took = Number(await insideMeanwhile(from, process.execPath, '-e', send(to)))
    assert.ok(took > 0)
    return ((sizeBytes - atOnceBytes) / took) * 1000
  }
  const define = (definition: object) => {
    const whole = parse(NetworkDefinition, definition)
    checkNetworkDefinition(whole)
    return networks.define?.(whole) ?? Promise.resolve()
  }
  const subnet = (n: number) => ({
    addresses: [
      {
        address: `10.9.${n}.1`,
        prefix: 24,
        dhcp: { ranges: [{ start: `10.9.${n}.2`, end: `10.9.${n}.9` }] },
      },
    ],
  })
  try {
    const slow = { average: 300, burst: 128 }
    await define({ name: 'slow', forward: {}, bandwidth: { inbound: slow, outbound: slow }, ...subnet(1) })
    const thin = { name: 'thin', bandwidth: { inbound: slow, outbound: slow } }
    await define({ name: 'wide', forward: {}, portGroups: [thin], ...subnet(2) })
    for (const name of ['slow', 'wide']) await networks.start?.(name)
    const one = await add('one', 'slow')
    const two = await add('two', 'slow')
    const slim = await add('slim', 'wide', 'thin')
    const free = await add('free', 'wide')
    await Promise.all(['world', 'one', 'two', 'slim', 'free'].map(listen))
    for (const subnetOf of ['10.9.1', '10.9.2'])
      inside('world', 'ip', 'route', 'add', `${subnetOf}.0/24`, 'via', '203.0.113.1')
    const world = '203.0.113.2'
    const limit = 300_000 * 1.1
    // What a whole network sends out and gets; among each other its guests are free.
    const isHeld = async (from: string, to: string) => {
      const rate = await rateOf(from, to)
      assert.ok(rate <= limit, `${from} to ${to}: ${rate} bytes per second`)
    }
    const isFree = async (from: string, to: string) => {
      // A busy host may be slow by itself: one of several is enough.
      for (let left = 5; (await rateOf(from, to)) <= limit * 3; left--)
        assert.ok(left > 0, `${from} to ${to}`)
    }
    await Promise.all([isHeld('one', world), isHeld('slim', world)])
    await isHeld('host', one)
    await isHeld('free', slim)
    await isFree('one', two)
    await isFree('free', world)
    await isFree('host', free)

    // Later daemons and changes of others keep it; it goes with the guest.
    assert.match(inside('host', 'nft', 'list', 'ruleset'), /"vg3" : "out_vg3"/u)
    await guests.leave('slim')
    assert.doesNotMatch(inside('host', 'nft', 'list', 'ruleset'), /vg3/u)

    // What cannot be had is said.
    const refusals: readonly (readonly [object, RegExp])[] = [
      [{ bandwidth: { outbound: { average: 1, peak: 2 } } }, /bandwidth\.outbound\.peak|peak/u],
      [{ bandwidth: { inbound: { average: 1, floor: 2 } } }, /floor/u],
      [{ bandwidth: { inbound: { peak: 2 } } }, /average.*must be given|must be given/u],
      [{ forward: { mode: 'internal' }, bandwidth: { inbound: { average: 2 } } }, /mode 'internal'/u],
    ]
    for (const [more, message] of refusals)
      await assert.rejects(async () => define({ name: 'no', ...more, ...subnet(3) }), { message })
    console.log('what was limited was no faster')
  } finally {
    for (const child of children) child.kill('SIGKILL')
    for (const guest of names) {
      await guests.leave(guest)
      removeGuest(guest)
    }
    for (const { name, active } of await networks.list())
      if (active) await networks.destroy?.(name, { force: true })
    await opened.close()
    await rm(folder, { recursive: true, force: true })
  }
  assert.deepEqual(listHost(), before)
}

if (isOnTestHost()) {
  await runOnTestHost()
  process.exit(0)
} else
  test(
    'networks and port groups are held to their limits',
    {
      skip: missingForTestHost(['ip', 'nft', 'tc', 'dnsmasq', 'udhcpc', 'ping', 'unshare']),
      timeout: 600_000,
    },
    () => onTestHost(import.meta.filename),
  )
