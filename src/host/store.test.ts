import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, it } from 'node:test'
import { openStore, storeMigrations } from './store.ts'

const code = (expected: string, message?: RegExp) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, expected)
  if (message) assert.match((error as Error).message, message)
  assert.ok(expected === 'conflict' || (error as { remedy?: string }).remedy, 'says what to do')
  return true
}

describe('store', () => {
  let directory: string
  let number = 0
  const fresh = () => join(directory, `${++number}`, 'store.db')
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-store-'))
  })
  after(() => rm(directory, { recursive: true }))

  it('keeps what was written, over a reopening', async () => {
    const file = fresh()
    const first = await openStore(file)
    await first.write([
      { key: 'qemu/domain/a', value: { name: 'a', list: [1, null, 'ü'] } },
      { key: 'qemu/domain/b', value: 2 },
      { key: 'qemu/domainx', value: 3 },
    ])
    await first.write([{ key: 'qemu/domain/b', value: undefined }])
    await first.close()
    const second = await openStore(file)
    assert.deepEqual((await second.get('qemu/domain/a'))?.value, { name: 'a', list: [1, null, 'ü'] })
    assert.equal(await second.get('qemu/domain/b'), undefined)
    assert.deepEqual(
      (await second.list('qemu/domain')).map(({ key }) => key),
      ['qemu/domain/a', 'qemu/domainx'],
    )
    assert.deepEqual(
      (await second.list('qemu/domain/')).map(({ key }) => key),
      ['qemu/domain/a'],
    )
    await second.close()
    await second.close()
  })

  it('writes all or nothing, and only what is expected', async () => {
    const store = await openStore(fresh())
    await store.write([{ key: 'a', value: 1, expect: 0 }])
    const { revision = 0 } = (await store.get('a')) ?? {}
    await assert.rejects(
      store.write([
        { key: 'b', value: 1 },
        { key: 'a', value: 2, expect: revision + 1 },
      ]),
      code('conflict'),
    )
    assert.equal(await store.get('b'), undefined)
    await assert.rejects(
      store.write([
        { key: 'b', value: 1 },
        { key: 'c', value: 1n },
      ]),
      TypeError,
    )
    assert.equal(await store.get('b'), undefined)
    await store.write([{ key: 'a', value: 2, expect: revision }])
    assert.equal((await store.get('a'))?.value, 2)
    await store.write([{ key: 'a', value: undefined }])
    await store.write([{ key: 'a', value: 3 }])
    await assert.rejects(store.write([{ key: 'a', value: 4, expect: revision }]), code('conflict'))
    await store.close()
  })

  it('is readable by its owner only, and durable in its settings', async () => {
    const file = fresh()
    const store = await openStore(file)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    await store.close()
    const raw = new DatabaseSync(file)
    assert.deepEqual({ ...raw.prepare('PRAGMA journal_mode').get() }, { journal_mode: 'wal' })
    raw.close()
  })

  it('has one owner, named to the second, and is free when it closed', async () => {
    const file = fresh()
    const store = await openStore(file)
    await assert.rejects(openStore(file), code('busy', new RegExp(`in use by the process ${process.pid}`)))
    await store.close()
    await (await openStore(file)).close()
  })

  it('brings an older schema up to date and keeps its entries', async () => {
    const file = fresh()
    const old = await openStore(file)
    await old.write([{ key: 'a', value: 1 }])
    await old.close()
    const migrations = [...storeMigrations, 'ALTER TABLE entry ADD COLUMN note TEXT']
    const store = await openStore(file, { migrations })
    assert.equal((await store.get('a'))?.value, 1)
    await store.close()
    await assert.rejects(
      openStore(file),
      code('unavailable', /has schema version 2; this visor knows up to 1/),
    )
  })

  it('is as before when a migration fails', async () => {
    const file = fresh()
    await (await openStore(file)).close()
    await assert.rejects(
      openStore(file, { migrations: [...storeMigrations, 'CREATE TABLE extra (x)', 'nonsense'] }),
    )
    await (await openStore(file)).close()
  })

  it('refuses what is not a store, and what is damaged, with a remedy', async () => {
    const text = fresh()
    await (await openStore(text)).close()
    await writeFile(text, 'this is no database, it is a long enough text. '.repeat(50))
    await assert.rejects(openStore(text), code('failed', /is damaged/))

    const foreign = join(directory, 'foreign.db')
    const raw = new DatabaseSync(foreign)
    raw.exec('CREATE TABLE theirs (x); PRAGMA user_version=7')
    raw.close()
    await assert.rejects(openStore(foreign), code('unavailable', /not a store of visor/))

    const torn = fresh()
    const store = await openStore(torn)
    await store.write(Array.from({ length: 500 }, (_, i) => ({ key: `k${i}`, value: 'x'.repeat(200) })))
    await store.close()
    const bytes = await readFile(torn)
    bytes.fill(0xff, 8192, 8192 + 4096)
    await writeFile(torn, bytes)
    await assert.rejects(openStore(torn), code('failed', /is damaged/))
  })

  it('says where it cannot be', async () => {
    await writeFile(join(directory, 'plain'), '')
    await assert.rejects(openStore(join(directory, 'plain', 'store.db')), code('unavailable'))
  })

  it('loses nothing acknowledged when its process is killed', async () => {
    const file = fresh()
    for (let round = 0; round < 4; round++) {
      const acknowledged = await writeUntilKilled(file, round, 100 + round * 37)
      const store = await openStore(file)
      const kept = new Set((await store.list(`${round}/`)).map(({ key }) => key))
      for (const key of acknowledged) assert.ok(kept.has(key), `${key} was acknowledged`)
      await store.close()
    }
  })
})

/** Starts a writer, kills it after `count` acknowledged commits, and gives what it acknowledged. */
async function writeUntilKilled(file: string, round: number, count: number): Promise<string[]> {
  const source = `
    const { openStore } = await import(${JSON.stringify(join(import.meta.dirname, 'store.ts'))})
    const store = await openStore(${JSON.stringify(file)})
    const { writeSync } = await import('node:fs')
    for (let i = 0; ; i++) {
      await store.write([{ key: '${round}/' + i, value: { i } }])
      writeSync(1, '${round}/' + i + '\\n')
    }`
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const acknowledged: string[] = []
  const ended = once(child, 'exit')
  assert.ok(child.stdout)
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(line)
    if (acknowledged.length === count) child.kill('SIGKILL')
  }
  await ended
  assert.ok(acknowledged.length >= count)
  return acknowledged
}
