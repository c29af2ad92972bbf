/** Guests on the LAN, whose addresses its own DHCP gives: they are known here, and told by their source. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
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
  setUpTestHost,
} from '../../test/fixtures/test-host.ts'
import { memoryStore, silentLog } from '../driver/index.ts'
import { NetworkDefinition, parse } from '../model/index.ts'
import { openNetworks } from './index.ts'

const mac = '52:54:00:00:06:01'

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-heard-'))
  await chmod(folder, 0o755)
  // The LAN: a router with DHCP behind a bridge that was there before, on which this host has no address.
  inside('host', 'ip', 'link', 'add', 'br-lan', 'type', 'bridge', 'forward_delay', '0')
  inside('host', 'ip', 'link', 'set', 'br-lan', 'addrgenmode', 'none', 'up')
  makeGuest('lan', 'to-lan', '52:54:00:00:06:ff')
  plugGuest('lan', 'to-lan', 'br-lan')
  inside('lan', 'ip', 'address', 'add', '192.0.2.1/24', 'dev', 'eth0')
  const dnsmasq = spawn(
    'ip',
    [
      ...['netns', 'exec', 'lan', 'dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--port=0'],
      ...[
        '--dhcp-range=192.0.2.50,192.0.2.99',
        '--dhcp-authoritative',
        '--interface=eth0',
        '--bind-interfaces',
      ],
      ...[`--dhcp-leasefile=${join(folder, 'leases')}`, `--pid-file=${join(folder, 'pid')}`, '--user=root'],
    ],
    { stdio: 'ignore' },
  )
  const store = memoryStore()
  const open = async () => {
    const opened = await openNetworks({
      ...{ stateDirectory: join(folder, 'state'), runtimeDirectory: join(folder, 'run'), store },
      log: silentLog,
    })
    assert.ok(opened)
    return opened
  }
  let host = await open()
  const before = listHost().filter((line) => line.startsWith('{"nftables"'))
  try {
    await host.networks.define?.(
      parse(NetworkDefinition, { name: 'lan', forward: { mode: 'bridge' }, bridge: 'br-lan' }),
    )
    await host.networks.start?.('lan')
    makeGuest('web', 'vg1', mac)
    const access = await host.guests.admit({
      network: 'lan',
      domain: 'web',
      name: 'web',
      driver: 'test',
      mac,
    })
    plugGuest('web', 'vg1', access.bridge ?? '')
    await access.join('vg1')
    // Its address for the link, which it gives itself, may be heard at any time.
    const known = async () =>
      (await host.guests.addressesOf('web')).flatMap((one) =>
        one.family === 'ipv4' ? [[one.address, one.mac, one.network, one.sources]] : [],
      )
    assert.deepEqual(await known(), [])
    const address = await askForAddress('web', folder)
    assert.match(address, /^192\.0\.2\./u)
    assert.ok(await reaches('web', '192.0.2.1', 'icmp', 40))
    assert.deepEqual(await known(), [[address, mac, 'lan', ['arp']]])

    // It is kept when others come, and over the end of the daemon.
    makeGuest('db', 'vg2', '52:54:00:00:06:02')
    const other = { network: 'lan', domain: 'db', name: 'db', driver: 'test', mac: '52:54:00:00:06:02' }
    const second = await host.guests.admit(other)
    plugGuest('db', 'vg2', second.bridge ?? '')
    await second.join('vg2')
    await host.close()
    host = await open()
    assert.deepEqual(await known(), [[address, mac, 'lan', ['arp']]])

    await host.guests.leave('web')
    await host.guests.leave('db')
    await host.networks.destroy?.('lan')
    assert.deepEqual(
      listHost().filter((line) => line.startsWith('{"nftables"')),
      before,
    )
  } finally {
    await host.close()
    dnsmasq.kill('SIGKILL')
    await once(dnsmasq, 'exit')
    await rm(folder, { recursive: true, force: true })
  }
}

if (isOnTestHost()) {
  await runOnTestHost()
  process.exit(0)
} else
  test(
    'addresses that the LAN gives are known by what guests say',
    {
      skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'udhcpc', 'ping', 'unshare']),
      timeout: 300_000,
    },
    () => onTestHost(import.meta.filename),
  )
