/** Ports of the host lead to a guest by both families of addresses. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
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
import { NetworkDefinition, parse } from '../model/index.ts'
import { openNetworks } from './index.ts'

const echo = join(import.meta.dirname, '../../test/fixtures/echo.ts')
const mac = '52:54:00:00:08:01'

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-publish-'))
  await chmod(folder, 0o755)
  const opened = await openNetworks({
    stateDirectory: join(folder, 'state'),
    runtimeDirectory: join(folder, 'run'),
    store: memoryStore(),
    log: silentLog,
  })
  assert.ok(opened)
  const { networks, guests, publications } = opened
  const children: ChildProcess[] = []
  const before = listHost()
  const asks = (from: string, address: string, port: number, patience = 60) =>
    insideMeanwhile(from, process.execPath, echo, 'ask', 'tcp', address, `${port}`, `${patience}`)
  try {
    const range = (start: string, end: string) => ({ dhcp: { ranges: [{ start, end }] } })
    await networks.define?.(
      parse(NetworkDefinition, {
        name: 'both',
        forward: {},
        addresses: [
          { address: '10.9.1.1', prefix: 24, ...range('10.9.1.2', '10.9.1.9') },
          { address: 'fd09:1::1', prefix: 64, ...range('fd09:1::10', 'fd09:1::99') },
        ],
      }),
    )
    await networks.start?.('both')
    makeGuest('web', 'vg1', mac)
    const guest = { network: 'both', domain: 'web', name: 'web', driver: 'test', mac }
    const access = await guests.admit(guest)
    plugGuest('web', 'vg1', access.bridge ?? '')
    await access.join('vg1')
    const [port] = (await networks.ports?.('both')) ?? []
    const [ipv4 = '', ipv6 = ''] = port?.addresses ?? []
    assert.deepEqual([ipv4.startsWith('10.9.1.'), ipv6.startsWith('fd09:1::')], [true, true])
    inside('web', 'ip', 'address', 'add', `${ipv4}/24`, 'dev', 'eth0')
    inside('web', 'ip', 'route', 'add', 'default', 'via', '10.9.1.1')
    inside('web', 'ip', '-6', 'address', 'add', `${ipv6}/64`, 'dev', 'eth0', 'nodad')
    inside('web', 'ip', '-6', 'route', 'replace', 'default', 'via', 'fd09:1::1')
    const child = spawn('ip', ['netns', 'exec', 'web', process.execPath, echo, 'serve'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    await once(child.stdout, 'data')

    const all = await publications.create?.({ domain: 'web', name: 'web', start: 8080, to: 7 })
    assert.deepEqual([all?.state, all?.target], ['active', ipv4])
    await publications.create?.({ domain: 'web', name: 'web', address: '2001:db8::1', start: 9090, to: 7 })
    for (const from of ['world', 'host', 'web'])
      for (const address of ['203.0.113.1', '2001:db8::1'])
        assert.match(await asks(from, address, 8080), /hello/u, `${from} to ${address}`)
    assert.match(await asks('world', '2001:db8::1', 9090), /hello .*2001:db8::2/u)
    await assert.rejects(asks('world', '203.0.113.1', 9090, 2), 'only on the address that was named')
    // Who tries this host by its name takes the other family after that.
    await assert.rejects(asks('host', '::1', 8080, 2), 'the kernel has no way')
    assert.match(await asks('host', '127.0.0.1', 8080), /hello/u)
    assert.match(await asks('host', 'localhost', 8080), /hello/u)

    for (const { id } of await publications.list()) await publications.remove?.(id)
    await assert.rejects(asks('world', '2001:db8::1', 8080, 2))
    await guests.leave('web')
    removeGuest('web')
    await networks.destroy?.('both')
    assert.deepEqual(listHost(), before)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await opened.close()
    await rm(folder, { recursive: true, force: true })
  }
}

if (isOnTestHost()) await runOnTestHost()
else
  test('ports of the host lead to a guest by IPv4 and by IPv6', {
    skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'unshare']),
    timeout: 300_000,
  }, async () => {
    await onTestHost(import.meta.filename)
  })
