import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Connection, guard, memoryStore, silentLog } from '../../driver/index.ts'
import type { VisorError } from '../../model/index.ts'
import { driver, faultsOf } from './index.ts'

function open(uri: string): Promise<Connection> {
  const directory = '/nonexistent'
  const options = { stateDirectory: directory, runtimeDirectory: directory, store: memoryStore() }
  return driver.open(new URL(uri), { ...options, log: silentLog })
}

const code = (expected: string) => (error: VisorError) => {
  assert.equal(error.code, expected, error.stack)
  return true
}

test('test:///default has a running domain, test:///empty none; domains= adds some', async () => {
  const list = async (uri: string) =>
    (await (await open(uri)).domains.list()).map(({ name, state }) => `${name} ${state}`)
  assert.deepEqual(await list('test:///default'), ['test running'])
  assert.deepEqual(await list('test:///empty'), [])
  assert.deepEqual(await list('test:///empty?domains=2&running=1'), [
    'guest-0001 running',
    'guest-0002 shutoff',
  ])
})

test('two connections share nothing unless they keep', async () => {
  const [first, second] = [await open('test:///default'), await open('test:///default')]
  await first.domains.destroy?.((await first.domains.list())[0]?.uuid ?? '')
  assert.equal((await second.domains.list())[0]?.state, 'running')
})

test('a URI that is wrong is refused with the remedy', async () => {
  const wrong = [
    'test:///other',
    'test:///empty?nonsense=1',
    'test:///empty?fail=domains.nonsense:failed',
    'test:///empty?fail=domains.start:nonsense',
    'test:///empty?delayMs=soon',
    'test:///empty?domains=-1',
  ]
  for (const uri of wrong) await assert.rejects(open(uri), code('invalid-argument'), uri)
})

test('fail: so many times, or always, and only the operation named', async () => {
  const connection = guard(await open('test:///default?fail=domains.suspend:busy:2&fail=domains.save:failed'))
  await assert.rejects(connection.domains.suspend('test'), code('busy'))
  await assert.rejects(connection.domains.suspend('test'), code('busy'))
  await connection.domains.suspend('test')
  await assert.rejects(connection.domains.save('test'), code('failed'))
  await assert.rejects(connection.domains.save('test'), code('failed'))
  assert.equal((await connection.domains.get('test')).state, 'paused')
})

test('hang: until aborted, or cleared', async () => {
  const raw = await open('test:///default?hang=domains.suspend')
  const connection = guard(raw)
  const abort = new AbortController()
  const given = connection.domains.suspend('test', { signal: abort.signal })
  setImmediate(() => abort.abort())
  await assert.rejects(given, code('cancelled'))
  const waiting = connection.domains.suspend('test')
  setImmediate(() => faultsOf(raw).clear('domains.suspend'))
  await waiting
  assert.equal((await connection.domains.get('test')).state, 'paused')
})

test('delay: can be given up meanwhile', async () => {
  const connection = await open('test:///default?delay=domains.suspend:3600000')
  const uuid = (await connection.domains.list())[0]?.uuid ?? ''
  const abort = new AbortController()
  const given = connection.domains.suspend?.(uuid, { signal: abort.signal }) ?? assert.fail()
  setImmediate(() => abort.abort())
  await assert.rejects(given, code('cancelled'))
})

test('lose: every call is unavailable, also those under way; events fail and consoles end', async () => {
  const raw = await open('test:///default?hang=domains.suspend')
  const connection = guard(raw)
  const console = await connection.domains.openConsole('test')
  const events = (async () => {
    for await (const _ of raw.events());
  })()
  const waiting = connection.domains.suspend('test')
  setImmediate(() => faultsOf(raw).lose())
  await assert.rejects(waiting, code('unavailable'))
  await assert.rejects(events, code('unavailable'))
  for await (const _ of console);
  await assert.rejects(connection.domains.list(), code('unavailable'))
  await assert.rejects(connection.host.info(), code('unavailable'))
  await connection.close()
})

test('a guest crashes as its definition says, and by a command on its console', async () => {
  const raw = await open('test:///empty')
  const connection = guard(raw)
  const outcomes: Record<string, string> = {}
  for (const onCrash of ['destroy', 'restart', 'preserve'] as const) {
    await connection.domains.define({ type: 'test', name: onCrash, memoryKiB: 1024, onCrash })
    await connection.domains.start(onCrash)
    faultsOf(raw).crash(onCrash)
    const { state, reason } = await connection.domains.get(onCrash)
    outcomes[onCrash] = `${state} ${reason}`
  }
  const expected = { destroy: 'shutoff crashed', restart: 'running booted', preserve: 'crashed crashed' }
  assert.deepEqual(outcomes, expected)
  await connection.domains.destroy('preserve')
  const console = await connection.domains.openConsole('restart')
  const events = connection.events()[Symbol.asyncIterator]()
  await console.write(Buffer.from('crash\n'))
  for (let next = await events.next(); next.value?.type !== 'crashed'; next = await events.next());
})

test('deaf guests do not follow their power button', async () => {
  const connection = guard(await open('test:///default?deaf=1'))
  await connection.domains.shutdown('test')
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
  assert.equal((await connection.domains.get('test')).state, 'running')
})

test('a flood of events asks slow listeners to resync; a flood on the console drops the oldest', async () => {
  const raw = await open('test:///default')
  const events = raw.events()[Symbol.asyncIterator]()
  const first = events.next()
  await new Promise(setImmediate)
  faultsOf(raw).floodEvents('test', 30_000)
  assert.equal((await first).value?.type, 'resync')
  const connection = guard(raw)
  const console = await connection.domains.openConsole('test')
  await faultsOf(raw).floodConsole('test', 4 * 2 ** 20)
  await console.close()
  let bytes = 0
  for await (const chunk of console) bytes += chunk.length
  assert.ok(bytes > 0 && bytes <= 2 ** 20, `${bytes} bytes were kept`)
  assert.ok((await connection.domains.consoleLog('test')).length <= 64 * 1024)
})
