/** Networks with real packets: who reaches whom, what is answered, and what is left when they end. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  askForAddress,
  inside,
  isOnTestHost,
  listHost,
  makeGuest,
  missingForTestHost,
  onTestHost,
  type Packet,
  plugGuest,
  reaches,
  removeGuest,
  setUpTestHost,
} from '../../test/fixtures/test-host.ts'
import { type HostNetworks, memoryStore, silentLog } from '../driver/index.ts'
import { NetworkDefinition, type NetworkDefinitionInput, parse } from '../model/index.ts'
import { openNetworks } from './index.ts'

/** Seconds for an answer that comes, which a busy host may be slow with. */
const patience = 40
const echo = join(import.meta.dirname, '../../test/fixtures/echo.ts')

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-networks-'))
  await chmod(folder, 0o755)
  const store = memoryStore()
  const open = async () => {
    const opened = await openNetworks({
      stateDirectory: join(folder, 'state'),
      runtimeDirectory: join(folder, 'run'),
      store,
      log: silentLog,
    })
    assert.ok(opened)
    return opened
  }
  const children: ChildProcess[] = []
  const serve = async (where: string) => {
    const [program = '', ...args] =
      where === 'host' ? [process.execPath] : ['ip', 'netns', 'exec', where, process.execPath]
    const child = spawn(program, [...args, echo, 'serve'], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    await new Promise((resolve) => child.stdout?.once('data', resolve))
  }
  let host: HostNetworks = await open()
  const { networks } = host
  const before = listHost()
  try {
    await Promise.all([serve('world'), serve('host')])

    // The default network is there without being made, and starts by itself.
    const [first] = await networks.list()
    assert.equal(first?.name, 'default')
    assert.equal(first?.active, false)
    assert.deepEqual(first?.subnets, ['192.168.122.0/24'])
    const join1 = async (guest: string, network: string, number: number) => {
      const [link, mac] = [`vg${number}`, `52:54:00:00:00:0${number}`]
      makeGuest(guest, link, mac)
      const access = await host.guests.admit({ network, domain: guest, name: guest, driver: 'test', mac })
      plugGuest(guest, link, access.bridge ?? '')
      await access.join(link)
      return mac
    }
    await join1('web', 'default', 1)
    await join1('db', 'default', 2)
    const web = await askForAddress('web', folder)
    const db = await askForAddress('db', folder)
    assert.deepEqual([web, db], ['192.168.122.2', '192.168.122.3'])
    await Promise.all([serve('web'), serve('db')])
    const table = async (rows: readonly (readonly [string, string, boolean])[]) => {
      const packets: readonly Packet[] = ['icmp', 'tcp', 'udp']
      await Promise.all(
        rows.flatMap(([from, address, wanted]) =>
          packets.map(async (packet) =>
            assert.equal(
              await reaches(from, address, packet, wanted ? patience : 2),
              wanted,
              `${packet} from ${from} to ${address}`,
            ),
          ),
        ),
      )
    }
    await table([
      ['web', db, true],
      ['web', '192.168.122.1', true],
      ['host', web, true],
      ['web', '203.0.113.2', true],
    ])
    // Who is beyond does not even know a way, unless it is told one; then it is refused.
    inside('world', 'ip', 'route', 'add', '192.168.122.0/24', 'via', '203.0.113.1')
    await table([['world', web, false]])
    assert.match(
      inside('web', process.execPath, echo, 'ask', 'tcp', '203.0.113.2', '7', `${patience}`),
      /203\.0\.113\.1/u,
    )

    // Names: of guests, whole and short, and of the host.
    const resolve = (where: string, name: string) =>
      inside(
        where,
        process.execPath,
        '-e',
        `const r = new (require('node:dns').promises.Resolver)({ timeout: 2000, tries: 3 }); r.setServers(['192.168.122.1']); r.resolve4('${name}').then((all) => console.log(all.join()), (error) => console.log(error.code))`,
      ).trim()
    assert.equal(resolve('web', 'db.default.visor'), db)
    assert.equal(resolve('db', 'web'), web)
    assert.equal(resolve('web', 'nobody.default.visor'), 'ENOTFOUND')
    const leases = await networks.leases?.('default')
    assert.deepEqual(leases?.map(({ address, domain, mac }) => [address, domain, mac]).sort(), [
      [web, 'web', '52:54:00:00:00:01'],
      [db, 'db', '52:54:00:00:00:02'],
    ])
    assert.deepEqual((await host.guests.addressesOf('web'))[0]?.sources, ['lease', 'arp', 'reservation'])

    // Ports of the host lead to it: from beyond, from the host's addresses and its loopback, from its neighbour.
    const { publications } = host
    await publications.create?.({ domain: 'web', name: 'web', start: 8080, to: 7 })
    await publications.create?.({ domain: 'web', name: 'web', proto: 'udp', start: 8080, to: 7 })
    const address = '203.0.113.1'
    await publications.create?.({ domain: 'web', name: 'web', address, start: 9000, end: 9002, to: 5 })
    const asks = (from: string, to: string, port: number, packet = 'tcp') =>
      inside(from, process.execPath, echo, 'ask', packet, to, `${port}`, `${patience}`).trim()
    assert.match(asks('world', address, 8080), /hello .*203\.0\.113\.2/u)
    assert.match(asks('world', address, 8080, 'udp'), /hello/u)
    assert.match(asks('world', address, 9002), /hello/u)
    for (const from of ['host', 'db', 'web']) assert.match(asks(from, address, 8080), /hello/u, from)
    assert.match(asks('host', '127.0.0.1', 8080), /hello/u)
    assert.throws(() => asks('host', '127.0.0.1', 9002), 'only on the address that was named')
    const refused = (start: number) => publications.create?.({ domain: 'db', start }) ?? Promise.resolve()
    await assert.rejects(refused(8080), { code: 'busy', message: /leads to 'web' already/u })
    await assert.rejects(refused(7), { code: 'busy', message: /in use by '.*' \(process \d+\)/u })

    // A guest that says it is another is not heard.
    inside('web', 'ip', 'address', 'add', '192.168.122.77/24', 'dev', 'eth0')
    assert.throws(() => inside('web', 'ping', '-c', '1', '-W', '1', '-I', '192.168.122.77', db))
    inside('web', 'ip', 'address', 'delete', '192.168.122.77/24', 'dev', 'eth0')
    assert.equal(await reaches('web', db, 'icmp', patience), true)

    // Somebody else goes on with it: nothing is interrupted, and the address stays its owner's.
    await host.close()
    host = await open()
    await table([
      ['web', db, true],
      ['web', '203.0.113.2', true],
    ])
    await host.guests.leave('db')
    removeGuest('db')
    assert.deepEqual(
      (await host.networks.ports?.('default'))?.map(({ name }) => name),
      ['web'],
    )
    assert.match(asks('world', '203.0.113.1', 8080), /hello/u)
    await join1('db', 'default', 2)
    assert.equal(await askForAddress('db', folder), db)

    // DHCP and DNS end though nobody asked them to.
    const pid = Number(
      execFileSync('cat', [join(folder, 'run/networks', first?.uuid ?? '', 'dnsmasq.pid')], {
        encoding: 'utf8',
      }),
    )
    process.kill(pid, 'SIGKILL')
    const deadline = performance.now() + 60_000
    while (resolve('web', 'db') !== db) {
      assert.ok(performance.now() < deadline, 'no names any more')
      await new Promise((done) => setTimeout(done, 200))
    }

    await assert.rejects(host.networks.destroy?.('default') ?? Promise.resolve(), {
      code: 'invalid-state',
      message: /db, web|web, db/u,
    })
    for (const { id } of await host.publications.list()) await host.publications.remove?.(id)
    assert.throws(() => asks('world', '203.0.113.1', 8080))
    await host.guests.leave('web')
    await host.guests.leave('db')
    removeGuest('web')
    removeGuest('db')
    await host.networks.destroy?.('default')
    inside('world', 'ip', 'route', 'delete', '192.168.122.0/24')
    assert.deepEqual(listHost(), before)

    // One that the host is on, and one that it is not.
    const subnet = (n: number) => ({
      addresses: [
        {
          address: `10.9.${n}.1`,
          prefix: 24,
          dhcp: { ranges: [{ start: `10.9.${n}.10`, end: `10.9.${n}.20` }] },
        },
      ],
    })
    const defineNow = (definition: NetworkDefinitionInput) =>
      host.networks.define?.(parse(NetworkDefinition, definition))
    await defineNow({ name: 'alone', ...subnet(1) })
    await defineNow({ name: 'inner', forward: { mode: 'internal' }, ...subnet(2) })
    for (const [network, knowsHost] of [
      ['alone', true],
      ['inner', false],
    ] as const) {
      await host.networks.start?.(network)
      await join1('one', network, 3)
      await join1('two', network, 4)
      const one = await askForAddress('one', folder)
      const two = await askForAddress('two', folder)
      await Promise.all([serve('one'), serve('two')])
      const via = network === 'alone' ? '10.9.1.1' : '10.9.2.1'
      inside('one', 'ip', 'route', 'add', 'default', 'via', via)
      await table([
        ['one', two, true],
        ['one', '203.0.113.2', false],
        ['host', one, knowsHost],
        ['one', '203.0.113.1', knowsHost],
      ])
      await host.guests.leave('one')
      await host.guests.leave('two')
      removeGuest('one')
      removeGuest('two')
      await host.networks.destroy?.(network)
    }
    assert.deepEqual(listHost(), before)

    // What is in the way is told before anything is made.
    await defineNow({ name: 'taken', forward: {}, addresses: [{ address: '203.0.113.129', prefix: 25 }] })
    await assert.rejects(host.networks.start?.('taken') ?? Promise.resolve(), {
      code: 'invalid-state',
      message: /203\.0\.113\.0\/24 through 'uplink'/u,
    })
    assert.deepEqual(listHost(), before)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    for (const { name, active } of await host.networks.list())
      if (active) await host.networks.destroy?.(name, { force: true })
    await host.close()
    await rm(folder, { recursive: true, force: true })
  }
}

if (isOnTestHost()) {
  await runOnTestHost()
  process.exit(0)
} else
  test(
    'guests reach whom they should, by address and name, and nothing is left',
    {
      skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'udhcpc', 'ping', 'unshare']),
      timeout: 600_000,
    },
    () => onTestHost(import.meta.filename),
  )
