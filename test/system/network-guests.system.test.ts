/** Real guests of different drivers on one network of a host of their own, by a visord that is killed meanwhile. */
import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { openTerminal, prompt, type Terminal } from '../../src/drivers/qemu/testing/test-terminal.ts'
import { type Image, kernelCommandLine } from '../../src/model/index.ts'
import { buildTestImage } from '../../src/storage/testing/test-images.ts'
import { greeting, writeBootSector } from '../fixtures/boot-sector.ts'
import { missing } from '../fixtures/machines.ts'
import {
  inside,
  isOnTestHost,
  missingForTestHost,
  onTestHost,
  reaches,
  setUpTestHost,
} from '../fixtures/test-host.ts'
import { startVisord } from '../fixtures/visord.ts'

type Images = Readonly<Record<'x86_64' | 'i686', Image>>

const guests = {
  qemu: { arch: 'x86_64', model: 'virtio', memoryKiB: 131_072 },
  v86: { arch: 'i686', model: 'ne2k_pci', memoryKiB: 131_072 },
} as const

async function runOnTestHost(images: Images): Promise<void> {
  setUpTestHost()
  const listing = () => [
    inside('host', 'ip', '-j', 'address').replace(/"(?:valid|preferred)_life_time":\d+,?/gu, ''),
    inside('host', 'ip', '-j', 'route', 'show', 'table', 'all'),
    inside('host', 'nft', '-j', 'list', 'ruleset'),
  ]
  const before = listing()
  const folders: string[] = []
  const visord = await startVisord({ drivers: ['qemu', 'v86'] })
  let connection: CompleteConnection = await visord.connect()

  async function boot(driver: 'qemu' | 'v86', name: string): Promise<{ uuid: string; terminal: Terminal }> {
    const { arch, model, memoryKiB } = guests[driver]
    const image = images[arch]
    const { uuid } = await connection.domains.define({
      type: driver,
      name,
      memoryKiB,
      os: {
        arch,
        kernel: image.kernel,
        initrd: image.initrd,
        commandLine: kernelCommandLine(image, name) ?? '',
      },
      features: { acpi: true },
      devices: { serials: [{}], interfaces: [{ type: 'network', network: 'default', model }] },
    })
    await connection.domains.start(uuid)
    return { uuid, terminal: await openShell(uuid) }
  }
  async function openShell(uuid: string, again = false): Promise<Terminal> {
    const terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback: !again }))
    if (!again) await terminal.until(prompt)
    return terminal
  }
  /** Whether a guest gets an answer; the other may still be asking for its address. */
  async function pings({ ask }: Terminal, whom: string): Promise<boolean> {
    const answer = await ask(`for i in $(seq 60); do ping -c 1 -W 1 ${whom} && break; sleep 1; done 2>&1`)
    return / 0% packet loss/u.test(answer)
  }

  try {
    const [web, small] = await Promise.all([boot('qemu', 'web'), boot('v86', 'small')])
    assert.ok(await pings(web.terminal, 'small'), 'a guest of QEMU finds the embedded machine by its name')
    assert.ok(await pings(small.terminal, 'web'), 'and it the other')
    assert.ok(await pings(small.terminal, '203.0.113.2'), 'and what is beyond this host')
    const { devices } = await connection.domains.describe(small.uuid)
    const [card] = devices.interfaces
    assert.match(
      await small.terminal.ask('cat /sys/class/net/eth0/address'),
      new RegExp(card?.mac ?? '-', 'u'),
    )

    await web.terminal.ask('(nc -ll -p 7 -e echo hello >/dev/null 2>&1 &)')
    await small.terminal.ask('(nc -ll -p 7 -e echo hello >/dev/null 2>&1 &)')
    await connection.publications.create({ domain: small.uuid, start: 7 })
    assert.ok(await reaches('host', '127.0.0.1', 'tcp', 40), 'a port of this host leads to it')

    // All goes on without visord, and is known to the next.
    await visord.kill()
    assert.ok(await reaches('world', '203.0.113.1', 'tcp', 40), 'from outside too, while no visord runs')
    await visord.start()
    connection = await visord.connect()
    const shell = await openShell(small.uuid, true)
    assert.ok(await pings(shell, 'web'))
    const [stats] = await connection.domains.stats({ domains: [small.uuid] })
    const [counted] = stats?.interfaces ?? []
    assert.equal(counted?.name, card?.target)
    assert.ok((counted?.rxPackets ?? 0) > 0 && (counted?.txPackets ?? 0) > 0)

    // Its address is part of what is saved.
    await connection.domains.save(small.uuid)
    await connection.domains.start(small.uuid)
    const restored = await openShell(small.uuid, true)
    assert.ok(await pings(restored, 'web'))

    // A guest without a disk boots what the network offers.
    const offered = await mkdtemp(join(tmpdir(), 'visor-tftp-'))
    folders.push(offered)
    await chmod(offered, 0o755)
    const program = join(offered, 'boot.0')
    // No disk but its first sector: what PXE loads is small, and begins at the same address.
    await truncate(await writeBootSector(program), 512)
    await connection.networks.define({
      name: 'pxe',
      addresses: [
        {
          address: '10.99.0.1',
          prefix: 24,
          tftp: { root: offered },
          dhcp: { ranges: [{ start: '10.99.0.10', end: '10.99.0.20' }], bootServers: [{ file: 'boot.0' }] },
        },
      ],
    })
    await connection.networks.start('pxe')
    const diskless = await connection.domains.define({
      type: 'qemu',
      name: 'diskless',
      memoryKiB: 65_536,
      os: { arch: 'x86_64', boot: ['network'] },
      devices: { serials: [{}], interfaces: [{ type: 'network', network: 'pxe', model: 'virtio' }] },
    })
    await connection.domains.start(diskless.uuid)
    const serial = openTerminal(await connection.domains.openConsole(diskless.uuid, { scrollback: true }))
    await serial.until(greeting)

    for (const { uuid } of [web, small, diskless]) {
      await connection.domains.destroy(uuid)
      await connection.domains.undefine(uuid)
    }
    await connection.networks.destroy('default')
    await connection.networks.destroy('pxe')
    assert.deepEqual(listing(), before)
  } finally {
    for (const { uuid, state } of await connection.domains.list().catch(() => []))
      if (state !== 'shutoff') await connection.domains.destroy(uuid).catch(() => {})
    await visord.dispose()
    for (const folder of folders) await rm(folder, { recursive: true })
  }
}

const skip =
  missingForTestHost(['unshare', 'ip', 'nft', 'dnsmasq', 'ping', 'mount']) ||
  missing('v86') ||
  missing('qemu')

if (isOnTestHost()) {
  await runOnTestHost(JSON.parse(process.argv[3] ?? '') as Images)
  // Guests that were killed may leave timers behind; there is nothing more to wait for.
  process.exit(0)
} else
  test('guests of QEMU and the embedded machine see each other, also without visord', { skip }, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'visor-network-guests-'))
    try {
      const build = async (arch: string) => [arch, await buildTestImage(directory, arch)]
      const built = Object.fromEntries([await build('x86_64'), await build('i686')])
      await onTestHost(import.meta.filename, JSON.stringify(built))
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
