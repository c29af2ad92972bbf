/** Schedules over real machines: what they take can be gone back to, and what has expired is gone. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type HostSchedules, memoryStore, silentLog } from '../../driver/index.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../../drivers/qemu/testing/test-disk-ground.ts'
import { type ScheduleDefinitionInput, VisorError } from '../../model/index.ts'
import { openSchedules } from './open-schedules.ts'

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted
const day = 24 * 3_600_000

describe('schedules', { skip: await disksMissing() }, () => {
  let ground: DiskGround
  const store = memoryStore()
  let at = Date.parse('2026-11-24T12:00:00Z')
  let host: HostSchedules
  const open = () => openSchedules({ store, log: silentLog, now: () => new Date(at) })

  before(async () => {
    ground = await openDiskGround()
    host = await open()
    host.begin(ground.connection)
  })
  after(async () => {
    await host.close()
    await ground.close()
  })

  const define = (definition: ScheduleDefinitionInput) => host.schedules.define?.(definition) ?? assert.fail()
  const run = (name: string) => host.schedules.run?.(name) ?? assert.fail()
  const names = async (uuid: string) => (await ground.connection.snapshots.list(uuid)).map(({ name }) => name)

  test('a machine that runs and one that is off are kept, and taken back to the day before', async () => {
    const { domains, snapshots } = ground.connection
    const [running, off] = [await ground.define('qcow2'), await ground.define('qcow2')]
    const guest = await ground.boot(running)
    const keep = { last: 2 }
    const made = await define({
      name: 'nightly',
      domains: [running, off],
      cron: '30 3 * * *',
      timezone: 'UTC',
      keep,
    })
    assert.equal(made.nextAt, '2026-11-25T03:30:00.000Z')
    for (const what of ['1', '2', '3']) {
      await guest.write(1, 'a', what)
      const done = await run('nightly')
      assert.deepEqual([done.ok, done.results.map(({ message }) => message)], [true, [undefined, undefined]])
      // No agent answers there.
      assert.equal(done.results[0]?.quiesced, false)
      at += day
    }
    await guest.write(1, 'a', '4')
    for (const uuid of [running, off])
      assert.deepEqual(await names(uuid), ['nightly-20261125T120000Z', 'nightly-20261126T120000Z'])
    const { kept, lastRun } = await host.schedules.get('nightly')
    assert.equal(kept, 4)
    assert.deepEqual(lastRun?.results[0]?.removed, ['nightly-20261124T120000Z'])
    await guest.close()
    await domains.destroy(running)
    await snapshots.revert(running, 'nightly-20261125T120000Z', { running: true })
    const back = await ground.talk(running)
    await back.close()
    await domains.destroy(running)
    const again = await ground.boot(running)
    assert.equal(await again.read(1, 'a'), '2')
    await again.close()
    await domains.destroy(running)
  })

  test('what a person took is none of its business, and what a person removed is forgotten', async () => {
    const { snapshots } = ground.connection
    const uuid = await ground.define('qcow2')
    await define({ name: 'short', domains: [uuid], cron: '@hourly', keep: { last: 1 } })
    await snapshots.create(uuid, { name: 'mine' })
    await snapshots.create(uuid, { name: 'short-by-hand' })
    await run('short')
    const [, , taken = ''] = await names(uuid)
    await snapshots.remove(uuid, taken)
    at += day
    await run('short')
    at += day
    const { results } = await run('short')
    assert.equal(results[0]?.removed.length, 1)
    assert.deepEqual((await names(uuid)).slice(0, 2), ['mine', 'short-by-hand'])
    assert.equal((await names(uuid)).length, 3)
    await host.schedules.remove?.('short', { snapshots: true })
    assert.deepEqual(await names(uuid), ['mine', 'short-by-hand'])
    await assert.rejects(host.schedules.get('short'), code('not-found'))
    assert.deepEqual(await store.list('schedule/taken/short'), [])
  })

  test('what fails for one machine is told, and hinders no other', async () => {
    const uuid = await ground.define('qcow2')
    await define({
      name: 'mixed',
      domains: ['nobody', uuid],
      cron: '@daily',
      snapshot: { quiesce: 'required' },
    })
    const first = await run('mixed')
    assert.equal(first.ok, false)
    assert.match(first.results[0]?.message ?? '', /There is no domain 'nobody'/u)
    // It is off: there is nothing to freeze.
    assert.equal(first.results[1]?.message, undefined)
    const guest = await ground.boot(uuid)
    at += day
    const second = await run('mixed')
    assert.notEqual(second.results[1]?.message, undefined)
    assert.equal((await names(uuid)).length, 1)
    await guest.close()
    await ground.connection.domains.destroy(uuid)
    await host.schedules.remove?.('mixed')
    assert.equal((await names(uuid)).length, 1)
  })

  test('a time that passed while nobody looked is made up for once, unless it was said not to', async () => {
    const uuid = await ground.define('qcow2')
    await define({ name: 'late', domains: [uuid], cron: '0 * * * *' })
    await define({ name: 'lost', domains: [uuid], cron: '0 * * * *', catchUp: false })
    await define({ name: 'paused', domains: [uuid], cron: '0 * * * *', enabled: false })
    await host.close()
    at += 3 * day
    host = await open()
    host.begin(ground.connection)
    while (!(await host.schedules.get('late')).lastRun?.ok)
      await new Promise((resolve) => setTimeout(resolve, 50))
    assert.deepEqual((await names(uuid)).filter((name) => name.startsWith('late')).length, 1)
    assert.equal((await host.schedules.get('lost')).lastRun, undefined)
    assert.equal((await host.schedules.get('paused')).nextAt, undefined)
    await host.schedules.setEnabled?.('paused', { enabled: true })
    assert.ok((await host.schedules.get('paused')).nextAt)
  })
})
