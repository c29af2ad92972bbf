/** Filters with real packets: what passes, what does not, changes while guests run, and what is left. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
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
} from '../../../test/fixtures/test-host.ts'
import { type HostNetworks, memoryStore, silentLog } from '../../driver/index.ts'
import { parseNwfilterDefinition } from '../../model/index.ts'
import { openNetworks } from '../index.ts'

/** Seconds for an answer that comes, which a busy host may be slow with. */
const patience = 40
const echo = join(import.meta.dirname, '../../../test/fixtures/echo.ts')

const rule = (action: string, direction: string, match: string, priority = 500) =>
  `<rule action='${action}' direction='${direction}' priority='${priority}'>${match}</rule>`
const serverOnly = (more = '') =>
  `<filter name='server-only'><filterref filter='clean-traffic'/>
    ${rule('accept', 'in', "<tcp dstportstart='$PORTS[@1]'/>")}${more}
    ${rule('drop', 'inout', '<all/>', 1000)}</filter>`

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-filters-'))
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
  let host: HostNetworks = await open()
  const before = listHost()
  const define = (text: string) =>
    host.nwfilters.define?.(parseNwfilterDefinition(text)) ?? assert.fail('no filters')
  const serve = async (where: string) => {
    const child = spawn('ip', ['netns', 'exec', where, process.execPath, echo, 'serve'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    await new Promise((resolve) => child.stdout?.once('data', resolve))
  }
  const joinNetwork = async (guest: string, number: number, filter?: string, ports: string[] = []) => {
    const [link, mac] = [`vf${number}`, `52:54:00:00:00:0${number}`]
    makeGuest(guest, link, mac)
    const access = await host.guests.admit({
      ...{ network: 'default', domain: guest, name: guest, driver: 'test', mac, filter },
      filterParameters: ports.map((value) => ({ name: 'PORTS', value })),
    })
    plugGuest(guest, link, access.bridge ?? '')
    await access.join(link)
    const found = (await host.networks.ports?.('default'))?.find(({ name }) => name === guest)
    const address = found?.addresses[0] ?? ''
    inside(guest, 'ip', 'address', 'add', `${address}/24`, 'dev', 'eth0')
    return address
  }
  const table = async (rows: readonly (readonly [string, string, Packet, boolean])[]) => {
    await Promise.all(
      rows.map(async ([from, address, packet, wanted]) =>
        assert.equal(
          await reaches(from, address, packet, wanted ? patience : 1),
          wanted,
          `${packet} from ${from} to ${address}`,
        ),
      ),
    )
  }
  try {
    assert.equal((await define(serverOnly())).builtIn, false)
    const web = await joinNetwork('web', 1, 'server-only', ['7', '9'])
    const db = await joinNetwork('db', 2)
    await Promise.all([serve('web'), serve('db')])
    await table([
      ['db', web, 'tcp', true],
      ['host', web, 'tcp', true],
      ['db', web, 'udp', false],
      ['db', web, 'icmp', false],
      ['web', db, 'tcp', false],
      ['web', db, 'icmp', false],
    ])
    assert.deepEqual((await host.nwfilters.get('no-mac-spoofing')).usedBy, ['web'])
    // Of frames, only ARP and IPv4: without the filter its neighbour answers.
    const neighbour = /inet6 (fe80::[0-9a-f:]+)/u.exec(
      inside('db', 'ip', '-6', 'address', 'show', 'dev', 'eth0'),
    )
    const linkLocal = `${neighbour?.[1]}%eth0`
    assert.equal(await reaches('web', linkLocal, 'icmp', 1), false)

    // More is let through while the guest is there; what was remembered is not forgotten.
    const flows = () => {
      const tables = JSON.parse(inside('host', 'nft', '-j', 'list', 'sets', 'bridge')) as {
        nftables: { set?: { name: string; elem?: unknown[] } }[]
      }
      return tables.nftables.find(({ set }) => set?.name === 'tcp4')?.set?.elem?.length ?? 0
    }
    assert.ok(flows() > 0)
    await define(serverOnly(`${rule('accept', 'out', '<tcp/>')}${rule('accept', 'inout', '<icmp/>')}`))
    assert.ok(flows() > 0)
    const after = [
      ['db', web, 'tcp', true],
      ['web', db, 'tcp', true],
      ['db', web, 'icmp', true],
      ['web', db, 'icmp', true],
      ['db', web, 'udp', false],
      ['web', db, 'udp', false],
    ] as const
    await table(after)

    // What cannot be is refused, and changes nothing.
    await assert.rejects(define(serverOnly(rule('drop', 'in', "<arp gratuitous='true'/>"))), {
      code: 'unsupported-config',
      message: /'server-only', entries\[2\]\.rule\.arp\.gratuitous/u,
    })
    await assert.rejects(define("<filter name='clean-traffic'><filterref filter='server-only'/></filter>"), {
      code: 'invalid-definition',
    })
    const undefine = (name: string) => host.nwfilters.undefine?.(name) ?? Promise.resolve()
    await assert.rejects(undefine('server-only'), { code: 'invalid-state', message: /in use by: web/u })
    await assert.rejects(undefine('clean-traffic'), { code: 'invalid-state' })
    await assert.rejects(joinNetwork('odd', 3, 'nothing'), { code: 'unsupported-config' })
    await assert.rejects(
      host.guests
        .admit({
          network: 'default',
          domain: 'odd',
          name: 'odd',
          driver: 'test',
          mac: '52:54:00:00:00:03',
          filter: 'server-only',
        })
        .then((access) => access.join('vf3')),
      { code: 'unsupported-config', message: /'PORTS' has no value/u },
    )
    removeGuest('odd')
    assert.deepEqual((await host.networks.ports?.('default'))?.map(({ name }) => name).sort(), ['db', 'web'])

    // Another daemon goes on with it.
    await host.close()
    host = await open()
    await table(after)

    // What visor brings can be changed, and is as before when that is taken back.
    await define("<filter name='no-other-l2-traffic'/>")
    assert.equal(await reaches('web', linkLocal, 'icmp', patience), true)
    await undefine('no-other-l2-traffic')
    assert.equal(await reaches('web', linkLocal, 'icmp', 1), false)

    // Another filter, and none, for a guest that runs.
    const mac = '52:54:00:00:00:01'
    await assert.rejects(host.guests.setFilter('web', mac, { filter: 'server-only' }), {
      code: 'unsupported-config',
    })
    await host.guests.setFilter('web', mac, { filter: 'no-other-l2-traffic' })
    assert.equal(await reaches('db', web, 'tcp', 1), false)
    await host.guests.setFilter('web', mac, {})
    await table([['db', web, 'udp', true]])
    await host.guests.setFilter('web', mac, {
      filter: 'server-only',
      filterParameters: [{ name: 'PORTS', value: '7' }],
    })
    await table([['db', web, 'udp', false]])

    // Groups: nobody gets in but whom they let in, beside what the filter says; who belongs to none is free.
    const { groups } = host
    await host.guests.setFilter('web', mac, {})
    await groups.create?.('servers')
    await groups.create?.('clients')
    await groups.join?.('servers', { domain: 'web', name: 'web' })
    await table([
      ['db', web, 'tcp', false],
      ['db', web, 'icmp', false],
      ['web', db, 'tcp', true],
      ['web', db, 'udp', true],
      ['web', db, 'icmp', true],
    ])
    const allowed = await groups.allow?.('servers', { proto: 'tcp', start: 7, peer: 'clients' })
    await table([['db', web, 'tcp', false]])
    await groups.join?.('clients', { domain: 'db', name: 'db' })
    await host.close()
    host = await open()
    await table([
      ['db', web, 'tcp', true],
      ['db', web, 'udp', false],
      ['web', db, 'tcp', false],
    ])
    // A filter and a group must both let it pass.
    await host.guests.setFilter('web', mac, { filter: 'no-other-l2-traffic' })
    await table([['db', web, 'tcp', false]])
    await host.guests.setFilter('web', mac, {})
    // What goes out is what a group says, once it says anything.
    await host.groups.allow?.('servers', { direction: 'out', proto: 'udp', peer: '192.168.122.0/24' })
    await host.groups.allow?.('clients', { proto: 'any', peer: web })
    await table([
      ['web', db, 'udp', true],
      ['web', db, 'tcp', false],
      ['db', web, 'tcp', true],
    ])
    await host.groups.revoke?.('servers', { rule: allowed?.rules[0]?.id ?? '' })
    await table([['db', web, 'tcp', false]])
    const removeGroup = (name: string) => host.groups.remove?.(name) ?? Promise.resolve()
    await assert.rejects(removeGroup('servers'), { code: 'invalid-state', message: /belong to group/u })
    await host.groups.leave?.('servers', { domain: 'web' })
    await host.groups.leave?.('clients', { domain: 'db' })
    await table([['db', web, 'udp', true]])
    await removeGroup('servers')
    await removeGroup('clients')
    assert.deepEqual(await host.groups.list(), [])

    await host.guests.leave('web')
    await undefine('server-only')
    await host.guests.leave('db')
    removeGuest('web')
    removeGuest('db')
    await host.networks.destroy?.('default')
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
    'filters let through what they say, at once and after a restart, and leave nothing',
    { skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'ping', 'unshare']), timeout: 600_000 },
    () => onTestHost(import.meta.filename),
  )
