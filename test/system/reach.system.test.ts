/** A machine's addresses, and waiting for it, as a user has them: a real guest, on a test host of its own. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { buildTestImage } from '../../src/storage/testing/test-images.ts'
import { inside, isOnTestHost, missingForTestHost, onTestHost, setUpTestHost } from '../fixtures/test-host.ts'
import { visorCommand } from '../fixtures/visor-command.ts'
import { startVisord } from '../fixtures/visord.ts'

async function runOnTestHost(kernel: string, initrd: string): Promise<void> {
  setUpTestHost()
  const visord = await startVisord({ drivers: ['qemu'] })
  const visor = visorCommand(visord.directories)
  const succeed = async (...args: string[]) => {
    const result = await visor(args)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  const connection = await visord.connect()
  const { domains, reach } = connection
  const ended = new AbortController()
  const given: unknown[] = []
  void (async () => {
    for await (const { kind, type, data } of connection.events({ signal: ended.signal }))
      if (kind === 'network' && type === 'lease-given') given.push(data)
  })().catch(() => {})
  try {
    const mac = '52:54:00:00:22:01'
    const { uuid } = await domains.define({
      ...{ type: 'qemu', name: 'web', memoryKiB: 128 * 1024 },
      os: { kernel, initrd, commandLine: 'console=ttyS0 quiet no_timer_check' },
      devices: {
        interfaces: [{ type: 'network', network: 'default', mac, model: 'virtio' }],
        serials: [{}],
      },
    })

    // Why it is not so yet.
    const off = await visor(['wait', 'web', '--for', 'ip', '--timeout', '1'])
    assert.equal(off.code, 8, off.stderr)
    assert.match(off.stderr, /'web' does not run: it is shutoff/u)
    assert.match((await visor(['wait', 'web', '--for', 'tea'])).stderr, /ip, ssh, agent, booted or tcp:PORT/u)
    assert.match((await succeed('domifaddr', 'web')).stderr, /No address of web is known/u)

    await domains.start(uuid)
    const early = await reach.wait(uuid, { for: 'ip' })
    assert.match(
      early.reached ? 'has not taken the address 192.168.122.2 ' : early.message,
      /has not taken the address 192\.168\.122\.2 /u,
    )
    const waited = await succeed('wait', 'web', '-q', '--for', 'ip')
    assert.equal(waited.stdout, '192.168.122.2\n')
    const booted = await reach.wait('web', { for: 'booted' })
    assert.equal(booted.reached, true, booted.message)
    assert.deepEqual(
      given.map((lease) => {
        const { domain, address, mac: of } = lease as Record<string, unknown>
        return [domain, address, of]
      }),
      [[uuid, '192.168.122.2', mac]],
    )

    // Who it is known from; the host has heard of it once it has talked to it.
    inside('host', 'ping', '-c', '1', '-w', '60', '192.168.122.2')
    const [first] = await reach.addresses('web')
    assert.deepEqual(
      [first?.address, first?.prefix, first?.mac, first?.network, first?.sources],
      ['192.168.122.2', 24, mac, 'default', ['lease', 'arp', 'reservation']],
    )
    assert.deepEqual(await reach.addresses('web', { source: 'agent' }), [])
    assert.match(
      (await succeed('domifaddr', 'web')).stdout,
      /vnet0 +52:54:00:00:22:01 +192\.168\.122\.2\/24 +default +lease, arp, reservation/u,
    )

    const closed = await reach.wait('web', { for: 'ssh', timeoutMs: 10 })
    assert.equal(closed.message, "'web' is there (192.168.122.2), but nothing listens on port 22.")
    const noAgent = await visor(['wait', 'web', '--for', 'agent', '--timeout', '1'])
    assert.equal(noAgent.code, 8)
    assert.match(noAgent.stderr, /not ready \(agent\) within 1: .*no channel for a guest agent/u)
    // A shell may not have heard what was typed while it started; a server that runs is not started twice.
    const console = await domains.openConsole(uuid)
    const type = () => void console.write(Buffer.from('\nbusybox httpd -p 8080 -h /\n')).catch(() => {})
    const typing = setInterval(type, 2000)
    type()
    const open = await succeed('wait', 'web', '--for', 'tcp:8080', '--timeout', '1m').finally(async () => {
      clearInterval(typing)
      await console.close()
    })
    assert.match(open.stderr, /'web' answers on 192\.168\.122\.2, port 8080/u)
    const other = await reach.wait('web', { for: 'tcp:8081', timeoutMs: 1 })
    assert.match(other.message, /nothing listens on port 8081/u)
    say('a guest was waited for')
  } finally {
    ended.abort()
    await domains.destroy('web').catch(() => {})
    await connection.networks.destroy('default', { force: true }).catch(() => {})
    await connection.close()
    await visord.dispose()
  }
}

const say = (text: string) => process.stdout.write(`${text}\n`)

if (isOnTestHost()) {
  const [kernel = '', initrd = ''] = process.argv.slice(3)
  await runOnTestHost(kernel, initrd)
  process.exit(0)
} else
  test("a machine's address is known, and waited for", {
    skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'ping', 'unshare', 'qemu-system-x86_64']),
    timeout: 600_000,
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'visor-reach-'))
    try {
      const image = await buildTestImage(folder)
      await onTestHost(import.meta.filename, image?.kernel ?? '', image?.initrd ?? '')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
