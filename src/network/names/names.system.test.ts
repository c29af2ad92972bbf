/** Programs of a host whose resolver asks visord find guests by name, for as long as they are there. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  insideMeanwhile,
  isOnTestHost,
  listHost,
  makeGuest,
  missingForTestHost,
  onTestHost,
  plugGuest,
  removeGuest,
  setUpTestHost,
} from '../../../test/fixtures/test-host.ts'
import { type HostNetworks, memoryStore, silentLog } from '../../driver/index.ts'
import { NetworkDefinition, type NetworkDefinitionInput, parse } from '../../model/index.ts'
import { openNetworks } from '../index.ts'

const names = { address: '127.0.0.83', port: 53 }

/** What programs of the host are told, by the host's own C library; its exit code where there is nothing. */
async function getent(...args: string[]): Promise<string> {
  return insideMeanwhile('host', 'getent', ...args).then(
    (said) => said.trim().replace(/\s+/gu, ' '),
    ({ code }: { readonly code: number }) => `code ${code}`,
  )
}

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-names-'))
  chmodSync(folder, 0o755)
  // A host whose other name server never answers: who asks it waits for longer than anything here may take.
  const put = (path: string, text: string) => {
    const own = join(folder, path.replaceAll('/', '_'))
    writeFileSync(own, text)
    execFileSync('mount', ['--bind', own, path])
  }
  put(
    '/etc/resolv.conf',
    `nameserver ${names.address}\nnameserver 203.0.113.9\noptions timeout:30 attempts:5\n`,
  )
  put('/etc/nsswitch.conf', 'hosts: files dns\n')
  const store = memoryStore()
  const open = async (): Promise<HostNetworks> => {
    const opened = await openNetworks({
      stateDirectory: join(folder, 'state'),
      runtimeDirectory: join(folder, 'run'),
      ...{ store, names, log: silentLog },
    })
    assert.ok(opened)
    return opened
  }
  let host = await open()
  const before = listHost()
  const define = (definition: NetworkDefinitionInput) =>
    host.networks.define?.(parse(NetworkDefinition, definition))
  const plug = async (guest: string, network: string, number: number) => {
    const [link, mac] = [`vg${number}`, `52:54:00:00:06:0${number}`]
    makeGuest(guest, link, mac)
    const access = await host.guests.admit({ network, domain: guest, name: guest, driver: 'test', mac })
    plugGuest(guest, link, access.bridge ?? '')
    await access.join(link)
  }
  try {
    assert.deepEqual(host.names, names)
    const dhcp = { ranges: [{ start: '10.9.6.2', end: '10.9.6.9' }] }
    await define({
      name: 'lab',
      forward: {},
      addresses: [
        { address: '10.9.6.1', prefix: 24, dhcp },
        { address: 'fd09:6::1', prefix: 64, dhcp: { ranges: [{ start: 'fd09:6::2', end: 'fd09:6::9' }] } },
      ],
    })
    await define({
      name: 'shop',
      domain: 'shop.example',
      domainLocalOnly: true,
      addresses: [
        { address: '10.9.7.1', prefix: 24, dhcp: { ranges: [{ start: '10.9.7.2', end: '10.9.7.9' }] } },
      ],
    })
    for (const network of ['lab', 'shop']) await host.networks.start?.(network)
    await plug('web', 'lab', 1)
    await plug('till', 'shop', 2)
    assert.equal(
      await getent('ahostsv4', 'web.lab.visor'),
      '10.9.6.2 STREAM web.lab.visor 10.9.6.2 DGRAM 10.9.6.2 RAW',
    )
    assert.equal(await getent('hosts', 'web.lab.visor'), 'fd09:6::2 web.lab.visor')
    assert.equal(await getent('hosts', 'till.shop.example'), '10.9.7.2 till.shop.example')
    assert.equal(await getent('hosts', 'host.lab.visor'), 'fd09:6::1 host.lab.visor')
    assert.equal(await getent('hosts', '10.9.6.2'), '10.9.6.2 web.lab.visor')
    assert.equal(await getent('hosts', 'fd09:6::2'), 'fd09:6::2 web.lab.visor')
    // At once: the other server, which would be waited for until this test ends, is not asked.
    for (const name of ['nobody.lab.visor', 'nobody.visor', 'db.shop.example', '10.9.6.77'])
      assert.equal(await getent('hosts', name), 'code 2', name)
    assert.deepEqual(await host.networks.resolve?.({ name: 'web' }), [
      { name: 'web.lab.visor', network: 'lab', guest: 'web', addresses: ['10.9.6.2', 'fd09:6::2'] },
    ])

    // Somebody else goes on with it; while nobody answers, who asks is told so by the kernel.
    await host.close()
    const others = await openNetworks({
      stateDirectory: join(folder, 'other'),
      runtimeDirectory: join(folder, 'other'),
      ...{ store: memoryStore(), names, log: silentLog },
    })
    host = await open()
    assert.match(host.names?.problem ?? '', /port 53 of 127\.0\.0\.83 is in use by '.+' \(process \d+\)/u)
    assert.match(host.names?.remedy ?? '', /names/u)
    await others?.close()
    await host.close()
    host = await open()
    assert.equal(await getent('hosts', 'web.lab.visor'), 'fd09:6::2 web.lab.visor')

    // A guest that leaves is known no more, and known again when it is back.
    await host.guests.leave('web')
    removeGuest('web')
    assert.equal(await getent('hosts', 'web.lab.visor'), 'code 2')
    assert.equal(await getent('hosts', '10.9.6.2'), 'code 2')
    await assert.rejects(host.networks.resolve?.({ name: 'web' }) ?? Promise.resolve(), {
      code: 'not-found',
      message: /'web' is not on network 'lab' now/u,
    })
    await plug('web', 'lab', 1)
    assert.equal(await getent('ahostsv4', 'web.lab.visor').then((said) => said.split(' ')[0]), '10.9.6.2')
    await host.guests.leave('web')
    await host.guests.leave('till')
    removeGuest('web')
    removeGuest('till')
    for (const network of ['lab', 'shop']) await host.networks.destroy?.(network)
    assert.equal(await getent('hosts', 'host.lab.visor'), 'code 2')
    assert.deepEqual(listHost(), before)
  } finally {
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
    'programs of the host find guests by name',
    { skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'getent', 'unshare']), timeout: 600_000 },
    () => onTestHost(import.meta.filename),
  )
