import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
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

  test('what is encrypted stays so, in files and in what is kept while it is served', async () => {
    const { blocks, domains } = ground.connection
    const [key, file] = [join(ground.directory, 'key, of it'), join(ground.directory, 'secret.qcow2')]
    await writeFile(key, 'sesame', { mode: 0o600 })
    const secret = `secret,id=s,file=${key.replace(',', ',,')}`
    const luks = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100'
    await again(() =>
      runChecked('qemu-img', ['create', '-q', '--object', secret, '-f', 'qcow2', '-o', luks, file, '16M']),
    )
    const secrets = [{ type: 'passphrase' as const, file: key }]
    const disks = [
      { file: join(ground.directory, 'boot.raw'), target: 'vda', readonly: true },
      { file, format: 'qcow2' as const, target: 'vdb', encryption: { format: 'luks' as const, secrets } },
    ]
    const devices = { disks, serials: [{}] }
    const { uuid } = await domains.define({ type: 'qemu', name: 'secret', memoryKiB: 32_768, devices })
    const guest = await ground.boot(uuid)
    await guest.write(1, 'a', 'z')
    const backup = join(ground.directory, 'secret.backup')
    await blocks.backup(uuid, { disks: [{ disk: 'vdb', file: backup }] })
    const plain = Buffer.alloc(512, 'z')
    assert.equal((await readFile(backup)).includes(plain), false)
    const options = `driver=qcow2,encrypt.key-secret=s,file.filename=${backup}`
    assert.ok(await holds(['--object', secret, '--image-opts', options], 'z.'))
    const network = blocks.backup(uuid, { server: '127.0.0.1:1' })
    await assert.rejects(network, { code: 'unsupported-config', message: /encrypted/u })

    const abort = new AbortController()
    const serving = Promise.withResolvers<void>()
    const call = { signal: abort.signal, progress: () => serving.resolve() }
    const server = join(ground.directory, 'secret.sock')
    const served = blocks.backup(uuid, { server, disks: [{ disk: 'vdb' }], ...call })
    await Promise.race([serving.promise, served])
    await guest.write(1, 'a', 'y')
    const nbd = `driver=nbd,server.type=unix,server.path=${server},export=vdb`
    assert.ok(await holds(['--image-opts', nbd], 'z.'))
    const state = join(ground.directory, 'state')
    const names = (await readdir(state, { recursive: true })).filter((name) => name.includes('visor-scratch'))
    assert.equal(names.length, 1)
    for (const name of names) assert.equal((await readFile(join(state, name))).includes(plain), false)
    abort.abort()
    await served
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

/** A busy host may not tell how much processor time a key takes. */
async function again(work: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++)
    try {
      await work()
      return
    } catch (error) {
      if (tries === 50 || !/accurate CPU usage/u.test(String(error))) throw error
    }
}
