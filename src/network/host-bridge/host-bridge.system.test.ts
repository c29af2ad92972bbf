/** Bridges made from a network card: all moves at once, and all goes back whatever happens. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  inside,
  isOnTestHost,
  listHost,
  missingForTestHost,
  onTestHost,
  reaches,
  setUpTestHost,
} from '../../../test/fixtures/test-host.ts'
import { visorCommand } from '../../../test/fixtures/visor-command.ts'
import { startVisord } from '../../../test/fixtures/visord.ts'

const deadlineMs = 60_000

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, what)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** The host's links, without what the kernel counts by itself. */
const listing = () => listHost().map((line) => line.replace(/"expires":\d+,?/gu, ''))

/** A card with all that may have to move. */
function furnish(): void {
  const ip = (...args: string[]) => inside('host', 'ip', ...args)
  ip('address', 'add', '203.0.113.7/24', 'dev', 'uplink', 'label', 'uplink:1')
  ip('address', 'add', '198.51.100.1', 'peer', '198.51.100.2/32', 'dev', 'uplink')
  ip('address', 'add', '203.0.113.8/24', 'dev', 'uplink', 'valid_lft', '9000', 'preferred_lft', '8000')
  ip('address', 'add', '2001:db8::7/64', 'dev', 'uplink', 'nodad', 'valid_lft', '9000', 'preferred_lft', '0')
  ip('route', 'add', '192.0.2.0/24', 'via', '203.0.113.2', 'metric', '50', 'proto', 'static', 'mtu', '1400')
  ip('route', 'add', 'default', 'via', '203.0.113.2', 'table', '77')
  ip('-6', 'route', 'add', '2001:db8:5::/48', 'via', '2001:db8::2', 'metric', '9')
  ip('rule', 'add', 'iif', 'uplink', 'lookup', '77', 'priority', '50')
  ip('-6', 'rule', 'add', 'oif', 'uplink', 'lookup', '77', 'priority', '51')
}

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  furnish()
  const folder = await mkdtemp(join(tmpdir(), 'visor-host-bridge-'))
  await chmod(folder, 0o755)
  const resolver = join(folder, 'resolv.conf')
  writeFileSync(resolver, 'nameserver fe80::1%uplink\nnameserver 203.0.113.2\n')
  inside('host', 'mount', '--bind', resolver, '/etc/resolv.conf')
  const readResolver = () => inside('host', 'cat', '/etc/resolv.conf')
  const before = [listing(), readResolver()]
  const isAsBefore = () => {
    try {
      assert.deepEqual([listing(), readResolver()], before)
      return true
    } catch {
      return false
    }
  }
  const asBefore = async (what: string) => {
    await until(what, isAsBefore).catch(() => assert.deepEqual([listing(), readResolver()], before, what))
  }
  const reachable = async (what: string) => {
    assert.ok(await reaches('world', '203.0.113.1', 'icmp', 40), `${what}, by IPv4`)
    assert.ok(await reaches('world', '2001:db8::1', 'icmp', 40), `${what}, by IPv6`)
    assert.ok(await reaches('host', '203.0.113.2', 'icmp', 40), `${what}, from the host`)
  }
  const visord = await startVisord({ drivers: ['test'] })
  const command = visorCommand(visord.directories)
  const visor = (...args: string[]) => command(args)
  try {
    const { hostBridges } = await visord.connect()
    const wanted = { name: 'br0', nic: 'uplink' }

    // What would be done is said, and nothing is done.
    const plan = await hostBridges.create({ ...wanted, dryRun: true })
    assert.equal(plan.state, 'planned')
    assert.ok(plan.plan.some((line) => line.includes('route append unicast 0.0.0.0/0 via 203.0.113.2')))
    assert.match(plan.configuration ?? '', /br0/u)
    await asBefore('a dry run changes nothing')

    // What cannot be is refused.
    const refused = async (nic: string, name: string, code: string) =>
      assert.rejects(hostBridges.create({ nic, name }), { code }, `${name} from ${nic}`)
    await refused('lo', 'br0', 'unsupported-config')
    await refused('nobody', 'br0', 'not-found')
    await refused('uplink', 'uplink', 'already-exists')
    await refused('uplink', 'sixteen-letters-', 'invalid-argument')

    // Confirmed, it stays; who was reached is reached.
    const made = await visor('host-bridge', 'create', 'br0', '--from', 'uplink', '--seconds', '300')
    assert.equal(made.code, 0, made.stderr)
    await reachable('on the bridge')
    assert.equal((await hostBridges.get('br0')).state, 'active')
    assert.match(readResolver(), /fe80::1%br0/u)
    const routes = (link: string) => [
      inside('host', 'ip', '-4', 'route', 'show', 'table', 'all', 'dev', link),
      inside('host', 'ip', '-6', 'route', 'show', 'table', 'main', 'dev', link),
    ]
    assert.match(inside('host', 'ip', 'rule'), /50:\tfrom all iif br0 lookup 77/u)
    assert.match(inside('host', 'ip', '-6', 'rule'), /51:\tfrom all oif br0 lookup 77/u)
    assert.doesNotMatch(inside('host', 'ip', '-4', 'route', 'show', 'table', 'all'), /uplink/u)
    const onBridge = routes('br0')
    await refused('uplink', 'br1', 'unsupported-config')

    // The next daemon knows it; then the card has all back.
    await visord.kill()
    await visord.start()
    const next = await visord.connect()
    assert.equal((await next.hostBridges.get('br0')).state, 'active')
    const gone = await visor('host-bridge', 'remove', 'br0')
    assert.equal(gone.code, 0, gone.stderr)
    await asBefore('after its removal')
    assert.deepEqual(
      routes('uplink'),
      onBridge.map((text) => text.replaceAll('br0', 'uplink')),
    )

    // Not confirmed, it goes by itself; also when nobody is there any more.
    await next.hostBridges.create({ ...wanted, confirmSeconds: 1 })
    await asBefore('when nobody confirms')
    await until('it is forgotten', async () => (await next.hostBridges.list()).length === 0)
    await assert.rejects(next.hostBridges.confirm('br0'), { code: 'not-found' })
    await next.hostBridges.create({ ...wanted, confirmSeconds: 3 })
    await visord.kill()
    await asBefore('when the daemon is killed')
    await visord.start()
    const third = await visord.connect()

    // Cancelled, or who watches is killed.
    await third.hostBridges.create({ ...wanted, confirmSeconds: 300 })
    await third.hostBridges.cancel('br0')
    await asBefore('when it is cancelled')
    await third.hostBridges.create({ ...wanted, confirmSeconds: 300 })
    const watcher = inside('host', 'sh', '-c', "grep -lzx '.*/mover.ts' /proc/[0-9]*/cmdline || true")
    const ours = watcher
      .split('\n')
      .filter((file) => file !== '' && inside('host', 'cat', file).includes(visord.directories.runtime))
    assert.equal(ours.length, 1)
    process.kill(Number(ours[0]?.split('/')[2]), 'SIGKILL')
    await asBefore('when who watches over it is killed')

    // A step that fails, after most of it is done.
    inside('host', 'ip', 'rule', 'add', 'iif', 'br0', 'lookup', '77', 'priority', '50')
    await assert.rejects(third.hostBridges.create({ ...wanted, confirmSeconds: 300 }), { code: 'failed' })
    inside('host', 'sh', '-c', 'ip rule delete iif br0 lookup 77 priority 50 2>/dev/null || true')
    await asBefore('when a step fails')

    // A bridge that passes nothing: the command gives up, and all is as before.
    const block =
      'add table bridge broken; add chain bridge broken pass { type filter hook prerouting priority 0; }'
    inside('host', 'nft', `${block}; add rule bridge broken pass ether type arp drop`)
    const given = await visor('host-bridge', 'create', 'br0', '--from', 'uplink', '--seconds', '6')
    inside('host', 'nft', 'delete', 'table', 'bridge', 'broken')
    assert.notEqual(given.code, 0)
    assert.match(given.stderr, /taken back/u)
    await asBefore('when the gateway is not reached')
    await visord.stop()
    await reachable('in the end')
  } finally {
    await visord.dispose()
    await rm(folder, { recursive: true, force: true }).catch(() => {})
  }
}

if (isOnTestHost()) {
  await runOnTestHost()
  process.exit(0)
} else
  test(
    'a bridge from a network card moves all at once, and gives all back',
    { skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'ping', 'unshare']), timeout: 300_000 },
    () => onTestHost(import.meta.filename),
  )
