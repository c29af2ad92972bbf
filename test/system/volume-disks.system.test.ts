/** Disks that are volumes of pools, and the work that is done on disks: nothing of what a guest wrote gets lost. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { talkTo, writeDiskGuest } from '../../src/drivers/qemu/testing/test-disk-guest.ts'
import { findProgram } from '../../src/host/index.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const missing = ['qemu-system-x86_64', 'qemu-img'].map(async (program) =>
  (await findProgram(program)) ? [] : [program],
)
const skip = (await Promise.all(missing)).flat().join(', ')

describe('work on disks that are volumes', { skip: skip !== '' && `not installed: ${skip}` }, () => {
  let visord: Visord
  let connection: CompleteConnection
  let boot = ''

  before(async () => {
    visord = await startVisord({ drivers: ['qemu'] })
    connection = await visord.connect()
    boot = join(visord.directories.state, '../boot.raw')
    await writeDiskGuest(boot)
  })
  after(async () => {
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    await visord.dispose()
  })

  /** A machine whose second disk is a volume. */
  async function define(name: string): Promise<string> {
    const volume = `${name}.qcow2`
    await connection.volumes.create('default', { name: volume, capacityBytes: 2 ** 24 })
    const disks = [
      { file: boot, target: 'vda', readonly: true },
      { type: 'volume' as const, pool: 'default', volume, format: 'qcow2' as const, target: 'vdb' },
    ]
    const devices = { disks, serials: [{}] }
    return (await connection.domains.define({ type: 'qemu', name, memoryKiB: 32_768, devices })).uuid
  }

  /** What the guest finds at a place after a power cut and a new start. */
  async function afterRestart(uuid: string, place: string): Promise<string> {
    await connection.domains.destroy(uuid).catch(() => {})
    await connection.domains.start(uuid)
    const guest = await talkTo(connection, uuid, { booting: true })
    const found = await guest.read(1, place)
    await guest.close()
    return found
  }

  test('a snapshot while it runs: it starts again with what was written since', async () => {
    const { domains, snapshots } = connection
    const uuid = await define('running')
    await domains.start(uuid)
    const guest = await talkTo(connection, uuid, { booting: true })
    await guest.write(1, 'a', '1')
    await snapshots.create(uuid, { name: 'one', diskOnly: true })
    await guest.write(1, 'a', '2')
    await guest.close()
    assert.equal(await afterRestart(uuid, 'a'), '2')
    await domains.destroy(uuid)
    await snapshots.revert(uuid, 'one')
    assert.equal(await afterRestart(uuid, 'a'), '1')
    await snapshots.remove(uuid, 'one')
    assert.equal(await afterRestart(uuid, 'a'), '1')
    await domains.destroy(uuid)
  })

  test('snapshots while it is off: in the image, and below an overlay', async () => {
    const { domains, snapshots } = connection
    const uuid = await define('off')
    assert.equal(await afterRestart(uuid, 'a'), '.')
    await domains.destroy(uuid)
    await snapshots.create(uuid, { name: 'inside' })
    await snapshots.create(uuid, { name: 'below', kind: 'external' })
    await domains.start(uuid)
    const guest = await talkTo(connection, uuid, { booting: true })
    await guest.write(1, 'a', '1')
    await guest.close()
    assert.equal(await afterRestart(uuid, 'a'), '1')
    await domains.destroy(uuid)
    await snapshots.revert(uuid, 'below')
    assert.equal(await afterRestart(uuid, 'a'), '.')
    await domains.destroy(uuid)
    for (const name of ['below', 'inside']) await snapshots.remove(uuid, name)
    assert.equal(await afterRestart(uuid, 'a'), '.')
    await domains.destroy(uuid)
  })

  test('it is copied, and goes on in a copy', async () => {
    const { domains, blocks } = connection
    const uuid = await define('moved')
    await domains.start(uuid)
    const guest = await talkTo(connection, uuid, { booting: true })
    await guest.write(1, 'a', '1')
    const file = join(visord.directories.state, '../moved-to.qcow2')
    await blocks.copy(uuid, { disk: 'vdb', file, pivot: true })
    await guest.write(1, 'a', '2')
    await guest.close()
    assert.equal(await afterRestart(uuid, 'a'), '2')
    await domains.destroy(uuid)
    const copy = await domains.clone(uuid, { name: 'copied' })
    assert.equal(await afterRestart(copy.uuid, 'a'), '2')
    await domains.destroy(copy.uuid)
    const other = await define('whole')
    const second = await domains.clone(other, { name: 'whole-copy' })
    assert.equal(await afterRestart(second.uuid, 'a'), '.')
    // What a machine has stays, by whichever name.
    await assert.rejects(connection.volumes.remove('default', 'whole.qcow2'), /belongs to 'whole'/u)
    await domains.destroy(second.uuid)
  })
})
