import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runChecked } from '../../../host/index.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

describe('work on disks', { skip: await disksMissing() }, () => {
  let ground: DiskGround

  before(async () => {
    ground = await openDiskGround()
  })
  after(() => ground.close())

  test('pull, commit and copy, while the guest goes on', async () => {
    const { snapshots, blocks, domains } = ground.connection
    const uuid = await ground.define('qcow2')
    const [original = ''] = await ground.filesOf(uuid)
    let guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await snapshots.create(uuid, { name: 'one', diskOnly: true })
    await guest.write(1, 'b', '2')
    await assert.rejects(blocks.commit(uuid, { disk: 'vdb' }), { code: 'invalid-state' })
    await assert.rejects(blocks.commit(uuid, { disk: 'vdz' }), { code: 'invalid-argument' })
    await snapshots.remove(uuid, 'one', { metadataOnly: true })
    const [overlay = ''] = await ground.filesOf(uuid)
    assert.notEqual(overlay, original)
    await blocks.commit(uuid, { disk: 'vdb' })
    assert.deepEqual(await ground.filesOf(uuid), [original])
    assert.deepEqual([await guest.read(1, 'a'), await guest.read(1, 'b')], ['1', '2'])

    await snapshots.create(uuid, { name: 'two', diskOnly: true })
    await guest.write(1, 'c', '3')
    await blocks.pull(uuid, { disk: 'vdb' })
    const [alone = ''] = await ground.filesOf(uuid)
    const { stdout } = await runChecked('qemu-img', ['info', '-U', '--output=json', alone])
    assert.equal(JSON.parse(stdout)['backing-filename'], undefined)

    const copy = join(ground.directory, 'copy, of it.raw')
    await blocks.copy(uuid, { disk: 'vdb', file: copy, format: 'raw' })
    assert.deepEqual(await ground.filesOf(uuid), [alone])
    await guest.write(1, 'd', '4')
    const other = join(ground.directory, 'pool', 'moved.qcow2')
    await blocks.copy(uuid, { disk: 'vdb', file: other, pivot: true })
    assert.deepEqual(await ground.filesOf(uuid), [other])
    await guest.write(1, 'e', '5')
    await assert.rejects(blocks.copy(uuid, { disk: 'vdb', file: copy }), { code: 'already-exists' })
    assert.deepEqual(await blocks.jobs(uuid), [])
    await guest.close()
    await domains.destroy(uuid)
    guest = await ground.boot(uuid)
    for (const [place, what] of [
      ['a', '1'],
      ['b', '2'],
      ['c', '3'],
      ['d', '4'],
      ['e', '5'],
    ] as const)
      assert.equal(await guest.read(1, place), what)
    await guest.close()
    await domains.destroy(uuid)
    const { stdout: bytes } = await runChecked('qemu-io', [
      '-r',
      '-f',
      'raw',
      '-c',
      'read -P 0x33 256k 512',
      '-c',
      'read -P 0 384k 512',
      copy,
    ])
    assert.doesNotMatch(bytes, /Pattern verification failed/u)
  })

  test('files below a template stay as they are, whatever is done to the machine it was made of', async () => {
    const { snapshots, blocks, domains, templates } = ground.connection
    const uuid = await ground.define('qcow2')
    const [bottom = ''] = await ground.filesOf(uuid)
    const guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await snapshots.create(uuid, { name: 'one', diskOnly: true })
    await guest.write(1, 'b', '2')
    await snapshots.remove(uuid, 'one', { metadataOnly: true })
    const [middle = ''] = await ground.filesOf(uuid)
    await templates.create('still', { domain: uuid })
    await guest.write(1, 'c', '3')
    const contents = () => Promise.all([bottom, middle].map(async (path) => hashOf(await readFile(path))))
    const before = await contents()
    await snapshots.create(uuid, { name: 'two', diskOnly: true })
    await guest.write(1, 'd', '4')
    await snapshots.remove(uuid, 'two')
    assert.deepEqual(await contents(), before)
    for (const base of [bottom, middle])
      await assert.rejects(blocks.commit(uuid, { disk: 'vdb', base }), {
        code: 'invalid-state',
        remedy: /visor template remove still/u,
      })
    await guest.close()
    await domains.destroy(uuid)
    await assert.rejects(blocks.commit(uuid, { disk: 'vdb' }), { code: 'invalid-state' })
    const { devices } = await domains.describe(uuid)
    const disks = [{ file: middle, format: 'qcow2' as const, target: 'vda' }]
    const rival = { type: 'qemu' as const, name: 'rival', memoryKiB: 32 * 1024, devices: { disks } }
    await domains.define(rival)
    for (const work of [
      () => snapshots.create('rival', { name: 'in', kind: 'internal' }),
      () => blocks.resize('rival', { disk: 'vda', sizeBytes: 64 * 2 ** 20 }),
      () => blocks.pull('rival', { disk: 'vda' }),
    ])
      await assert.rejects(work(), { code: 'invalid-state', message: /template 'still' is based on/u })
    await domains.undefine('rival')
    assert.deepEqual(await contents(), before)
    await templates.remove('still')
    // The overlays that it needed are joined with what is below them.
    assert.deepEqual(await ground.filesOf(uuid), [bottom])
    assert.notEqual(devices.disks[1]?.file, bottom)
    const again = await ground.boot(uuid)
    for (const [place, what] of ['a1', 'b2', 'c3', 'd4'].map((word) => [...word] as [string, string]))
      assert.equal(await again.read(1, place), what)
    await again.close()
    await domains.destroy(uuid)
  })

  test('a copy that is cancelled leaves nothing', async () => {
    const { blocks, jobs, domains } = ground.connection
    const uuid = await ground.define('raw')
    const guest = await ground.boot(uuid)
    for (const place of 'abcdefgh') await guest.write(1, place, 'x')
    const file = join(ground.directory, 'never.qcow2')
    const abort = new AbortController()
    const copied = blocks.copy(uuid, {
      disk: 'vdb',
      file,
      pivot: true,
      bandwidthBytes: 4096,
      signal: abort.signal,
      progress: () => abort.abort(),
    })
    await assert.rejects(copied, { code: 'cancelled' })
    assert.equal(existsSync(file), false)
    assert.deepEqual(await blocks.jobs(uuid), [])
    assert.ok((await jobs.list()).length > 0)
    assert.equal(await guest.read(1, 'a'), 'x')
    await guest.close()
    await domains.destroy(uuid)
  })

  test('commit and pull of a domain that is off', async () => {
    const { snapshots, blocks, domains } = ground.connection
    const uuid = await ground.define('raw')
    const [original = ''] = await ground.filesOf(uuid)
    let guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.create(uuid, { name: 'one' })
    guest = await ground.boot(uuid)
    await guest.write(1, 'b', '2')
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.remove(uuid, 'one', { metadataOnly: true })
    // Another domain reads what would change: it is refused by the name of that one.
    const other = join(ground.directory, 'other.qcow2')
    await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', original, '-F', 'raw', other])
    const { uuid: reader } = await domains.define({
      ...{ type: 'qemu', name: 'reader', memoryKiB: 65_536 },
      devices: { disks: [{ target: 'vda', file: other, format: 'qcow2' }] },
    })
    await assert.rejects(blocks.commit(uuid, { disk: 'vdb' }), {
      code: 'invalid-state',
      message: /'reader' has a disk that is based on/u,
      remedy: /visor block pull reader/u,
    })
    await domains.undefine(reader)
    await blocks.commit(uuid, { disk: 'vdb' })
    assert.deepEqual(await ground.filesOf(uuid), [original])
    await snapshots.create(uuid, { name: 'two', kind: 'external' })
    await blocks.pull(uuid, { disk: 'vdb' })
    await snapshots.remove(uuid, 'two', { metadataOnly: true })
    guest = await ground.boot(uuid)
    assert.deepEqual([await guest.read(1, 'a'), await guest.read(1, 'b')], ['1', '2'])
    await guest.close()
    await domains.destroy(uuid)
  })

  test('disks become larger, never smaller', async () => {
    const { blocks, domains } = ground.connection
    const uuid = await ground.define('raw', 'qcow2')
    const [raw = ''] = await ground.filesOf(uuid)
    await blocks.resize(uuid, { disk: 'vdb', sizeBytes: 20 * 2 ** 20 })
    assert.equal((await stat(raw)).size, 20 * 2 ** 20)
    await assert.rejects(blocks.resize(uuid, { disk: 'vdb', sizeBytes: 2 ** 20 }), {
      code: 'invalid-argument',
    })
    const guest = await ground.boot(uuid)
    await blocks.resize(uuid, { disk: 'vdc', sizeBytes: 24 * 2 ** 20 })
    await assert.rejects(blocks.resize(uuid, { disk: 'vdc', sizeBytes: 2 ** 20 }), {
      code: 'invalid-argument',
    })
    const [stats] = await domains.stats({ domains: [uuid] })
    assert.equal(stats?.blocks.find(({ name }) => name === 'vdc')?.capacityBytes, 24 * 2 ** 20)
    await guest.close()
    await domains.destroy(uuid)
  })
})

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
