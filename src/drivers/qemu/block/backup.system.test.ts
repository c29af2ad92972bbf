import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { run, runChecked } from '../../../host/index.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

const hex = (what: string) => `0x${what.charCodeAt(0).toString(16)}`

describe('backups', { skip: await disksMissing() }, () => {
  let ground: DiskGround

  before(async () => {
    ground = await openDiskGround()
  })
  after(() => ground.close())

  /** Whether the guest's places have these letters in an image; `.` for zeroes. */
  async function holds(image: readonly string[], places: string): Promise<boolean> {
    const reads = [...places].flatMap((what, index) => [
      '-c',
      `read -P ${what === '.' ? '0' : hex(what)} ${index * 128}k 512`,
    ])
    const { code, stdout } = await run('qemu-io', ['-r', ...reads, ...image])
    return code === 0 && !stdout.includes('Pattern verification failed')
  }

  test('full and incremental ones to files, over a stop and a snapshot, restore what was', async () => {
    const { blocks, checkpoints, domains, snapshots } = ground.connection
    const uuid = await ground.define('qcow2', 'qcow2')
    const path = (name: string) => join(ground.directory, `${name}.backup`)
    let guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await guest.write(2, 'a', '1')
    await blocks.backup(uuid, {
      disks: [
        { disk: 'vdb', file: path('full-b') },
        { disk: 'vdc', file: path('full-c') },
      ],
      checkpoint: 'c1',
    })
    assert.ok(await holds([path('full-b')], '1..'))
    assert.ok(await holds([path('full-c')], '1..'))
    await guest.write(1, 'b', '2')
    const [c1] = await checkpoints.list(uuid)
    assert.deepEqual(
      c1?.disks.map(({ name, dirtyBytes }) => [name, dirtyBytes]),
      [
        ['vdb', 65536],
        ['vdc', 0],
      ],
    )
    await guest.close()
    await domains.destroy(uuid)
    guest = await ground.boot(uuid)
    await guest.write(1, 'c', '3')
    await snapshots.create(uuid, { name: 'between', diskOnly: true })
    await guest.write(1, 'a', '4')
    await blocks.backup(uuid, {
      disks: [{ disk: 'vdb', file: path('inc') }],
      since: 'c1',
      checkpoint: 'c2',
    })
    const { stdout } = await runChecked('qemu-img', ['map', '--output=json', '-f', 'qcow2', path('inc')])
    const bytes = (JSON.parse(stdout) as { length: number; data: boolean }[]).reduce(
      (sum, one) => sum + (one.data ? one.length : 0),
      0,
    )
    assert.equal(bytes, 3 * 65536)
    await runChecked('qemu-img', [
      'rebase',
      '-u',
      '-f',
      'qcow2',
      '-b',
      path('full-b'),
      '-F',
      'qcow2',
      path('inc'),
    ])
    assert.ok(await holds([path('inc')], '423.'))

    // Joined again, it still knows what was written since.
    await guest.write(1, 'd', '5')
    await snapshots.remove(uuid, 'between')
    await blocks.backup(uuid, { disks: [{ disk: 'vdb', file: path('inc2') }], since: 'c2' })
    await runChecked('qemu-img', [
      'rebase',
      '-u',
      '-f',
      'qcow2',
      '-b',
      path('inc'),
      '-F',
      'qcow2',
      path('inc2'),
    ])
    assert.ok(await holds([path('inc2')], '4235'))
    await checkpoints.remove(uuid, 'c1')
    assert.deepEqual(
      (await checkpoints.list(uuid)).map(({ name, parent }) => [name, parent]),
      [['c2', undefined]],
    )
    await assert.rejects(blocks.backup(uuid, { disks: [{ disk: 'vdb', file: path('no') }], since: 'c1' }), {
      code: 'not-found',
    })
    assert.equal(existsSync(path('no')), false)
    await guest.close()
    await domains.destroy(uuid)
  })

  test('served by NBD, with what changed since a checkpoint, as it was at the beginning', async () => {
    const { blocks, checkpoints, domains } = ground.connection
    const uuid = await ground.define('qcow2')
    const guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await checkpoints.create(uuid, { name: 'c1' })
    await guest.write(1, 'c', '2')
    const server = join(ground.directory, 'nbd.sock')
    const abort = new AbortController()
    const serving = Promise.withResolvers<void>()
    const served = blocks.backup(uuid, {
      server,
      since: 'c1',
      signal: abort.signal,
      progress: () => serving.resolve(),
    })
    await Promise.race([serving.promise, served])
    await guest.write(1, 'a', '9')
    await guest.write(1, 'd', '9')
    const nbd = `driver=nbd,server.type=unix,server.path=${server},export=vdb`
    assert.ok(await holds(['--image-opts', nbd], '1.2.'))
    const map = await runChecked('qemu-img', [
      'map',
      '--output=json',
      '--image-opts',
      `${nbd},x-dirty-bitmap=qemu:dirty-bitmap:backup-vdb`,
    ])
    const dirty = (JSON.parse(map.stdout) as { start: number; length: number; data: boolean }[])
      .filter(({ data }) => !data)
      .map(({ start, length }) => [start, length])
    assert.deepEqual(dirty, [[2 * 131072, 65536]])
    abort.abort()
    await served
    assert.equal(existsSync(server), false)
    assert.deepEqual(await blocks.jobs(uuid), [])
    assert.equal(await guest.read(1, 'd'), '9')
    await guest.close()
    await domains.destroy(uuid)
  })

  test('what a checkpoint cannot be of is refused', async () => {
    const { checkpoints } = ground.connection
    const uuid = await ground.define('raw')
    await assert.rejects(checkpoints.create(uuid, { name: 'c' }), { code: 'unsupported-config' })
    await assert.rejects(checkpoints.create(uuid, { name: 'a/b' }), { code: 'invalid-argument' })
    await assert.rejects(checkpoints.remove(uuid, 'c'), { code: 'not-found' })
  })
})
