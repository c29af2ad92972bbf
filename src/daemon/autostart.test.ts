import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { guard, memoryStore, silentLog } from '../driver/index.ts'
import { loadDriver } from '../drivers/index.ts'
import { autostart } from './autostart.ts'

describe('autostart', () => {
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-autostart-'))
  })
  after(() => rm(directory, { recursive: true }))

  it('starts what is marked, once per boot of the host, and goes on when one fails', async () => {
    const driver = await loadDriver('test')
    const place = {
      stateDirectory: directory,
      runtimeDirectory: directory,
      store: memoryStore(),
      log: silentLog,
    }
    const connection = guard(await driver.open(new URL('test:///empty'), place))
    for (const name of ['a', 'b', 'c', 'd'])
      await connection.domains.define({ type: 'test', name, memoryKiB: 1024 })
    for (const name of ['a', 'b', 'c']) await connection.domains.setAutostart(name, { enabled: true })
    const running = async () =>
      (await connection.domains.list({ states: ['running'] })).map(({ name }) => name)
    const failures: string[] = []
    const log = { ...silentLog, error: (_: object, message: string) => void failures.push(message) }
    const boot = (bootId: string) => {
      const signal = new AbortController().signal
      return autostart({ connection, runtimeDirectory: directory, log, signal, bootId })
    }

    await boot('one')
    assert.deepEqual(await running(), ['a', 'b', 'c'])
    await connection.domains.destroy('b')
    await boot('one')
    assert.deepEqual(await running(), ['a', 'c'], 'what its user stopped stays stopped')
    await boot('two')
    assert.deepEqual(await running(), ['a', 'b', 'c'])
    assert.deepEqual(failures, [])

    for (const name of ['a', 'b', 'c']) await connection.domains.destroy(name)
    const { start } = connection.domains
    const first = (await connection.domains.get('a')).uuid
    const domains = {
      ...connection.domains,
      start: async (uuid: string) => (uuid === first ? Promise.reject(new Error('no memory')) : start(uuid)),
    }
    const signal = new AbortController().signal
    await autostart({
      connection: { ...connection, domains },
      runtimeDirectory: directory,
      log,
      signal,
      bootId: 'three',
    })
    assert.deepEqual(await running(), ['b', 'c'])
    assert.deepEqual(failures, ["The domain 'a' did not start with the host."])
    await connection.close()
  })
})
