/** DHCP and DNS of a network are killed in the middle of its changes: they are there again, and know who is who. */
import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
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
  plugGuest,
  removeGuest,
  setUpTestHost,
} from '../../test/fixtures/test-host.ts'
import { memoryStore, silentLog } from '../driver/index.ts'
import { NetworkDefinition, parse, VisorError } from '../model/index.ts'
import { openNetworks } from './index.ts'

const rounds = 16

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-killed-service-'))
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
  const seed = Number(process.env.VISOR_SEED ?? Math.floor(Math.random() * 2 ** 31))
  let state = seed
  const draw = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >>> 8) % below
  }

  async function services(): Promise<number[]> {
    const found: number[] = []
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/u.test(name))) {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      if (line.startsWith('dnsmasq') && line.includes(folder)) found.push(Number(pid))
    }
    return found
  }
  async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + 60_000
    while (!(await holds())) {
      assert.ok(performance.now() < deadline, `${what} (seed ${seed})`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const resolve = (kind: string, name: string) =>
    inside(
      'host',
      process.execPath,
      '-e',
      `const r = new (require('node:dns').promises.Resolver)({ timeout: 500, tries: 2 }); r.setServers(['10.9.1.1']); r.resolve${kind}('${name}').then((all) => console.log(JSON.stringify(all)), (error) => console.log(error.code))`,
    ).trim()
  const message = async () => (await networks.get('lab')).message

  function end(pid: number): void {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
  }

  /** Something changes while all that answers is killed; what fails by that is as before, and is done again. */
  async function changeAndKill(change: () => Promise<unknown>): Promise<void> {
    const killing = (async () => {
      await new Promise((done) => setTimeout(done, draw(60)))
      for (const pid of await services()) end(pid)
    })()
    const failure = await change().then(
      () => undefined,
      (error: unknown) => error,
    )
    await killing
    if (failure === undefined) return
    assert.ok(failure instanceof VisorError, String(failure))
    assert.match(failure.message, /did not start/u)
    await change()
  }

  try {
    await networks.define?.(
      parse(NetworkDefinition, {
        name: 'lab',
        forward: {},
        addresses: [
          { address: '10.9.1.1', prefix: 24, dhcp: { ranges: [{ start: '10.9.1.2', end: '10.9.1.9' }] } },
        ],
      }),
    )
    await networks.start?.('lab')
    makeGuest('web', 'vg1', '52:54:00:00:06:01')
    const guest = { network: 'lab', domain: 'web', driver: 'test', mac: '52:54:00:00:06:01' }
    for (let round = 0; round < rounds; round++) {
      const [name, text] = [`web${round % 4}`, `t${round}`]
      const element = { name: 'about', value: text }
      // What it is started with changes, which it ends for; then who is on it, which it reads anew for.
      await changeAndKill(async () => {
        await networks.update?.('lab', { command: 'delete', section: 'dns-txt', element }).catch(() => {})
        await networks.update?.('lab', { command: 'add-last', section: 'dns-txt', element })
      })
      await changeAndKill(async () => {
        const access = await guests.admit({ ...guest, name })
        plugGuest('web', 'vg1', access.bridge ?? '')
        await access.join('vg1')
      })
      const what = `round ${round}`
      await until(what, async () => (await services()).length === 1 && (await message()) === undefined)
      await until(`${what}: text`, async () => resolve('Txt', 'about').includes(`"${text}"`))
      await until(`${what}: name`, async () =>
        /^\["10\.9\.1\.\d"\]$/u.test(resolve('4', `${name}.lab.visor`)),
      )
      await guests.leave('web')
      await until(`${what}: no name`, async () => resolve('4', `${name}.lab.visor`) === 'ENOTFOUND')
      await networks.update?.('lab', { command: 'delete', section: 'dns-txt', element })
    }
    // What ends again and again is let be, and says so; a change of it starts it anew.
    for (let kills = 0; kills < 20 && (await message()) === undefined; kills++) {
      await until('one', async () => (await services()).length === 1 || (await message()) !== undefined)
      for (const pid of await services()) end(pid)
    }
    assert.match((await message()) ?? '', /again and again/u)
    const element = { name: 'about', value: 'anew' }
    await networks.update?.('lab', { command: 'add-last', section: 'dns-txt', element })
    await until('anew', async () => resolve('Txt', 'about').includes('anew'))
    assert.equal(await message(), undefined)
    await networks.destroy?.('lab')
    assert.deepEqual(await services(), [])
    removeGuest('web')
    assert.deepEqual(listHost(), before)
  } finally {
    await opened.close()
    await rm(folder, { recursive: true, force: true })
  }
  process.stdout.write(`${rounds} rounds, seed ${seed}\n`)
}

if (isOnTestHost()) await runOnTestHost()
else
  test('DHCP and DNS that are killed come back, with all they have to know', {
    skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'unshare']),
    timeout: 300_000,
  }, async () => {
    await onTestHost(import.meta.filename)
  })
