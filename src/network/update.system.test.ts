/** Networks are changed while guests are on them. */
import assert from 'node:assert/strict'
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
  plugGuest,
  reaches,
  removeGuest,
  setUpTestHost,
} from '../../test/fixtures/test-host.ts'
import { memoryStore, silentLog, type UpdateNetworkOptions } from '../driver/index.ts'
import { NetworkDefinition, type NetworkSection, parse, parseNetworkElement } from '../model/index.ts'
import { openNetworks } from './index.ts'

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-update-'))
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
  async function add(guest: string): Promise<void> {
    const number = names.push(guest)
    const [link, mac] = [`vg${number}`, `52:54:00:00:04:0${number}`]
    makeGuest(guest, link, mac)
    const access = await guests.admit({ network: 'lab', domain: guest, name: guest, driver: 'test', mac })
    plugGuest(guest, link, access.bridge ?? '')
    await access.join(link)
  }
  const update = (
    command: UpdateNetworkOptions['command'],
    section: NetworkSection,
    xml: string,
    more: Partial<UpdateNetworkOptions> = {},
  ) =>
    networks.update?.('lab', { command, section, element: parseNetworkElement(section, xml), ...more }) ??
    Promise.resolve()
  const ask = (kind: string, name: string) =>
    inside(
      'web',
      process.execPath,
      '-e',
      `const r = new (require('node:dns').promises.Resolver)({ timeout: 2000, tries: 10 }); r.setServers(['10.9.1.1']); r.resolve${kind}('${name}').then((all) => console.log(JSON.stringify(all)), (error) => console.log(error.code))`,
    ).trim()
  /** dnsmasq reads its tables a moment after it was told to. */
  async function answers(kind: string, name: string, wanted: string): Promise<void> {
    const deadline = performance.now() + 60_000
    for (let said = ''; said !== wanted; ) {
      assert.ok(performance.now() < deadline, `${name}: ${said}, not ${wanted}`)
      said = ask(kind, name)
    }
  }
  try {
    await networks.define?.(
      parse(NetworkDefinition, {
        name: 'lab',
        forward: {},
        addresses: [
          { address: '10.9.1.1', prefix: 24, dhcp: { ranges: [{ start: '10.9.1.2', end: '10.9.1.3' }] } },
        ],
      }),
    )
    await networks.start?.('lab')
    await add('web')
    assert.equal(await askForAddress('web', folder), '10.9.1.2')

    // An address that is kept, and names: nothing is restarted for them.
    await update('add-last', 'ip-dhcp-host', "<host mac='52:54:00:00:04:02' ip='10.9.1.50' name='db'/>")
    await update('add-last', 'dns-host', "<host ip='10.9.1.60'><hostname>printer</hostname></host>")
    await answers('4', 'printer', '["10.9.1.60"]')
    await add('db')
    assert.equal(await askForAddress('db', folder), '10.9.1.50')
    assert.equal(await reaches('web', '10.9.1.50', 'icmp', 40), true)
    await update('delete', 'dns-host', "<host ip='10.9.1.60'/>")
    await answers('4', 'printer', '"ENOTFOUND"'.replaceAll('"', ''))

    // Only of what is there; the definition for the next start is as it was, until it is changed too.
    const inactive = async () => (await networks.describe('lab', { inactive: true })).addresses[0]?.dhcp
    assert.deepEqual((await inactive())?.hosts, [])
    await update('add-last', 'ip-dhcp-host', "<host name='later' ip='10.9.1.70'/>", { config: true })
    assert.deepEqual(
      (await inactive())?.hosts.map(({ name }) => name),
      ['later'],
    )
    assert.deepEqual(
      (await networks.describe('lab')).addresses[0]?.dhcp?.hosts.map(({ name }) => name),
      ['db'],
    )

    // What dnsmasq reads at its start only: it is another one, with the same leases; guests notice nothing.
    await update('add-last', 'dns-txt', "<txt name='about' value='a lab'/>")
    await answers('Txt', 'about', '[["a lab"]]')
    await update('add-last', 'ip-dhcp-range', "<range start='10.9.1.100' end='10.9.1.110'/>", {
      live: true,
      config: true,
    })
    await update('delete', 'ip-dhcp-range', "<range start='10.9.1.2' end='10.9.1.3'/>")
    await add('more')
    assert.equal(await askForAddress('more', folder), '10.9.1.100')
    assert.deepEqual((await networks.leases?.('lab'))?.map(({ address }) => address).sort(), [
      '10.9.1.100',
      '10.9.1.2',
      '10.9.1.50',
    ])
    assert.equal(await reaches('web', '10.9.1.50', 'icmp', 40), true)
    assert.equal((await networks.get('lab')).message, undefined)

    // A guest that runs gets another address: both are its own until it is plugged in anew.
    await update('add-last', 'ip-dhcp-host', "<host mac='52:54:00:00:04:01' ip='10.9.1.90'/>")
    assert.equal(await reaches('web', '10.9.1.50', 'icmp', 40), true)
    inside('web', 'ip', 'address', 'flush', 'dev', 'eth0')
    assert.equal(await askForAddress('web', folder), '10.9.1.90')
    assert.equal(await reaches('web', '10.9.1.50', 'icmp', 40), true)

    // Who flushes all rules there are takes ours away for a moment only.
    const tables = inside('host', 'nft', 'list', 'tables')
    inside('host', 'nft', 'flush', 'ruleset')
    const deadline = performance.now() + 60_000
    while (inside('host', 'nft', 'list', 'tables') !== tables) {
      assert.ok(performance.now() < deadline, 'The rules did not come back.')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.equal(await reaches('web', '10.9.1.50', 'icmp', 40), true)

    // What does not fit is refused, and nothing is changed.
    const now = JSON.stringify(await networks.describe('lab'))
    const refused: readonly (readonly [Promise<void>, string, RegExp])[] = [
      [
        update('add-last', 'ip-dhcp-host', "<host name='x' ip='10.8.0.1'/>"),
        'invalid-definition',
        /not in the subnet/u,
      ],
      [
        update('add-last', 'ip-dhcp-host', "<host name='x' ip='10.9.1.100'/>"),
        'invalid-state',
        /'more' has the address/u,
      ],
      [
        update('add-last', 'ip-dhcp-range', "<range start='10.9.1.105' end='10.9.1.120'/>"),
        'invalid-definition',
        /overlaps/u,
      ],
      [update('delete', 'dns-txt', "<txt name='nothing' value=''/>"), 'not-found', /no dns-txt/u],
      [
        update('add-last', 'dns-host', "<host ip='10.9.1.61'/>", { live: true, parentIndex: 9 }).then(() =>
          update('delete', 'dns-host', "<host ip='10.9.1.62'/>"),
        ),
        'not-found',
        /no dns-host/u,
      ],
    ]
    for (const [work, code, message] of refused) await assert.rejects(work, { code, message })
    await update('delete', 'dns-host', "<host ip='10.9.1.61'/>")
    assert.equal(JSON.stringify(await networks.describe('lab')), now)
    console.log('a network was changed under its guests')
  } finally {
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
    'a network is changed while guests are on it',
    {
      skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'udhcpc', 'ping', 'unshare']),
      timeout: 600_000,
    },
    () => onTestHost(import.meta.filename),
  )
