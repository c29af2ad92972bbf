/** Networks of macvtaps: each guest on the card that fewest have, and all is let go of when it ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  inside,
  isOnTestHost,
  missingForTestHost,
  onTestHost,
  setUpTestHost,
} from '../../../../test/fixtures/test-host.ts'
import { startVisord } from '../../../../test/fixtures/visord.ts'
import type { CompleteConnection } from '../../../driver/index.ts'

/** Macvtaps there are, by the card they are on. */
function listLinks(): Record<string, string[]> {
  const listed = JSON.parse(inside('host', 'ip', '-d', '-j', 'link', 'show', 'type', 'macvtap') || '[]') as {
    link: string
    address: string
    linkinfo: { info_data: { mode: string } }
  }[]
  const found: Record<string, string[]> = {}
  for (const { link, linkinfo } of listed.filter(({ link: card }) => card))
    found[link] = [...(found[link] ?? []), linkinfo.info_data.mode]
  return found
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, what)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  for (const card of ['card1', 'card2']) {
    inside('host', 'ip', 'link', 'add', card, 'type', 'veth', 'peer', 'name', `p${card}`)
    inside('host', 'ip', 'link', 'set', card, 'up')
  }
  const cards = () =>
    ['card1', 'card2'].map((card) => inside('host', 'cat', `/sys/class/net/${card}/address`))
  const addresses = cards()
  const visord = await startVisord({ drivers: ['qemu'] })
  let connection: CompleteConnection = await visord.connect()
  const define = (name: string, network: string, card: object = {}) =>
    connection.domains.define({
      type: 'qemu',
      name,
      memoryKiB: 65_536,
      os: { machine: 'pc' },
      devices: { interfaces: [{ type: 'network', network, ...card }] },
    })
  const makeNetwork = async (name: string, mode: 'bridge' | 'passthrough') => {
    await connection.networks.define({
      name,
      forward: { mode, links: [{ dev: 'card1' }, { dev: 'card2' }] },
      portGroups: [{ name: 'slow', bandwidth: { inbound: { average: 1000 } } }],
    })
    await connection.networks.start(name)
    await connection.networks.setAutostart(name, { enabled: true })
  }
  try {
    await makeNetwork('shared', 'bridge')
    await makeNetwork('own', 'passthrough')
    const [a, b, c] = [await define('a', 'shared'), await define('b', 'shared'), await define('c', 'own')]

    // Those that share are spread.
    await connection.domains.start(a.uuid)
    await connection.domains.start(b.uuid)
    assert.deepEqual(listLinks(), { card1: ['bridge'], card2: ['bridge'] })
    assert.equal((await connection.networks.ports('shared')).length, 2)
    await assert.rejects(connection.domains.start(c.uuid), { code: 'busy', message: /card1, card2/u })
    await connection.domains.destroy(a.uuid)
    await connection.domains.destroy(b.uuid)
    await until('nothing stays', () => Object.keys(listLinks()).length === 0)

    // One each, and no more.
    const [d, e] = [await define('d', 'own'), await define('e', 'own')]
    await connection.domains.start(c.uuid)
    await connection.domains.start(d.uuid)
    assert.deepEqual(listLinks(), { card1: ['passthru'], card2: ['passthru'] })
    await assert.rejects(connection.domains.start(e.uuid), { code: 'busy', message: /'c', 'd'/u })

    // A guest that ends while no visord is there gives its card back; the other keeps its own.
    const { pid } = await connection.domains.get(c.uuid)
    assert.ok(pid)
    await visord.kill()
    process.kill(pid, 'SIGKILL')
    await visord.start()
    connection = await visord.connect()
    await until('its card is free', () => JSON.stringify(listLinks()) === '{"card2":["passthru"]}')
    assert.deepEqual(
      (await connection.networks.ports('own')).map(({ name }) => name),
      ['d'],
    )
    await connection.domains.start(e.uuid)
    assert.deepEqual(listLinks(), { card2: ['passthru'], card1: ['passthru'] })

    // What only a bridge can do is refused.
    const f = await define('f', 'shared', { isolated: true })
    await connection.domains.destroy(d.uuid)
    await connection.domains.destroy(e.uuid)
    await until('all is free', () => Object.keys(listLinks()).length === 0)
    await assert.rejects(connection.domains.start(f.uuid), {
      code: 'unsupported-config',
      message: /isolated/u,
    })
    const g = await define('g', 'shared', { portGroup: 'slow' })
    await assert.rejects(connection.domains.start(g.uuid), {
      code: 'unsupported-config',
      message: /bandwidth.*'slow'/u,
    })
    assert.deepEqual(listLinks(), {})
    assert.deepEqual(cards(), addresses, 'the cards have their own addresses again')
  } finally {
    for (const { uuid, state } of await connection.domains.list().catch(() => []))
      if (state !== 'shutoff') await connection.domains.destroy(uuid).catch(() => {})
    await visord.dispose()
  }
}

if (isOnTestHost()) {
  await runOnTestHost()
  process.exit(0)
} else
  test(
    'guests of a network of macvtaps are spread over its cards, and let go of them',
    { skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'qemu-system-x86_64', 'unshare']), timeout: 300_000 },
    () => onTestHost(import.meta.filename),
  )
