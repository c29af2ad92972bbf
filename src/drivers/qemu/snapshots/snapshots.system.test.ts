import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { access, copyFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { snapshotRequest } from '../../../driver/index.ts'
import { runChecked } from '../../../host/index.ts'
import { formatSnapshot, parseSnapshot, type VisorError } from '../../../model/index.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'
import { talkTo } from '../testing/test-disk-guest.ts'
import { fullDisk } from '../testing/test-full-disk.ts'

const noLoop = await loopMissing()

describe('snapshots', { skip: await disksMissing() }, () => {
  let ground: DiskGround

  before(async () => {
    ground = await openDiskGround()
  })
  after(() => ground.close())

  test('external, of a running guest with its memory: back and forth, and gone', async () => {
    const { snapshots, domains } = ground.connection
    const uuid = await ground.define('qcow2', 'raw')
    const files = await ground.filesOf(uuid)
    let guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await guest.write(2, 'a', '1')
    await guest.remember('1')
    const first = await snapshots.create(uuid, { name: 'first', description: 'the beginning' })
    assert.equal(first.state, 'running')
    assert.equal(first.memory, 'external')
    assert.ok(existsSync(first.memoryFile ?? ''))
    assert.deepEqual(
      first.disks.map(({ snapshot }) => snapshot),
      ['no', 'external', 'external'],
    )
    assert.equal((await domains.get(uuid)).state, 'running')
    await guest.write(1, 'a', '2')
    await guest.write(2, 'b', '2')
    await guest.remember('2')
    await snapshots.create(uuid, { name: 'second', live: true })
    await guest.write(1, 'a', '3')
    await guest.remember('3')
    assert.deepEqual(
      (await snapshots.list(uuid)).map(({ name, parent, current }) => [name, parent, current]),
      [
        ['first', undefined, false],
        ['second', 'first', true],
      ],
    )
    await guest.close()

    await snapshots.revert(uuid, 'first')
    guest = await ground.talk(uuid)
    assert.equal(await guest.recall(), '1')
    assert.deepEqual(
      [await guest.read(1, 'a'), await guest.read(2, 'a'), await guest.read(2, 'b')],
      ['1', '1', '.'],
    )
    await guest.write(1, 'a', '4')
    await guest.close()
    assert.equal((await snapshots.get(uuid, 'first')).current, true)

    await snapshots.revert(uuid, 'second')
    guest = await ground.talk(uuid)
    assert.equal(await guest.recall(), '2')
    assert.deepEqual([await guest.read(1, 'a'), await guest.read(2, 'b')], ['2', '2'])
    await guest.write(1, 'c', '5')

    // Below what is in use, and then what is in use itself.
    await snapshots.remove(uuid, 'first')
    assert.deepEqual(
      [await guest.read(1, 'a'), await guest.read(2, 'a'), await guest.read(1, 'c')],
      ['2', '1', '5'],
    )
    assert.deepEqual(
      (await snapshots.list(uuid)).map(({ name, parent }) => [name, parent]),
      [['second', undefined]],
    )
    await snapshots.remove(uuid, 'second')
    assert.deepEqual(await ground.filesOf(uuid), files)
    assert.deepEqual(await ground.overlays(), [])
    assert.deepEqual(
      [await guest.read(1, 'a'), await guest.read(2, 'b'), await guest.read(1, 'c')],
      ['2', '2', '5'],
    )
    await guest.write(1, 'd', '6')
    await guest.close()
    await domains.destroy(uuid)
    guest = await ground.boot(uuid)
    assert.deepEqual(
      [await guest.read(1, 'a'), await guest.read(1, 'd'), await guest.read(2, 'a')],
      ['2', '6', '1'],
    )
    await guest.close()
    await domains.destroy(uuid)
  })

  test('internal, of a running guest with its memory', async () => {
    const { snapshots, domains } = ground.connection
    const uuid = await ground.define('qcow2', 'qcow2')
    let guest = await ground.boot(uuid)
    await guest.write(2, 'a', '1')
    await guest.remember('1')
    const taken = await snapshots.create(uuid, { name: '1', kind: 'internal' })
    assert.equal(taken.memory, 'internal')
    await guest.write(2, 'a', '2')
    await guest.remember('2')
    await snapshots.revert(uuid, '1')
    assert.equal(await guest.recall(), '1')
    assert.equal(await guest.read(2, 'a'), '1')
    await guest.write(2, 'a', '3')
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.revert(uuid, '1', { paused: true })
    assert.equal((await domains.get(uuid)).state, 'paused')
    await domains.resume(uuid)
    guest = await ground.talk(uuid)
    assert.equal(await guest.recall(), '1')
    assert.equal(await guest.read(2, 'a'), '1')
    await guest.close()
    await snapshots.remove(uuid, '1')
    assert.deepEqual(await snapshots.list(uuid), [])
    await domains.destroy(uuid)
  })

  test('of a domain that is off: internal by itself, external where asked', async () => {
    const { snapshots, domains } = ground.connection
    const uuid = await ground.define('qcow2')
    let guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await guest.close()
    await domains.destroy(uuid)
    const inside = await snapshots.create(uuid, { name: 'inside' })
    assert.deepEqual([inside.state, inside.memory, inside.disks[1]?.snapshot], ['shutoff', 'no', 'internal'])
    guest = await ground.boot(uuid)
    await guest.write(1, 'a', '2')
    await guest.close()
    await domains.destroy(uuid)
    const below = await snapshots.create(uuid, { name: 'below', kind: 'external' })
    assert.equal(below.disks[1]?.snapshot, 'external')
    await assert.rejects(snapshots.revert(uuid, 'inside'), { code: 'invalid-state' })
    guest = await ground.boot(uuid)
    await guest.write(1, 'a', '3')
    await guest.close()
    await snapshots.revert(uuid, 'below')
    assert.equal((await domains.get(uuid)).state, 'shutoff')
    guest = await ground.boot(uuid)
    assert.equal(await guest.read(1, 'a'), '2')
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.remove(uuid, 'below')
    // What is within the image below is not lost by joining what is above with it.
    await snapshots.revert(uuid, 'inside', { running: true })
    guest = await talkTo(ground.connection, uuid, { booting: true })
    assert.equal(await guest.read(1, 'a'), '1')
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.remove(uuid, 'inside')
    assert.deepEqual(await ground.overlays(), [])
  })

  test('as XML asks for it, with files of its own, and as XML it is told', async () => {
    const { snapshots, domains, checkpoints } = ground.connection
    const uuid = await ground.define('raw', 'qcow2')
    const guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    const file = (name: string) => join(ground.directory, name)
    const wanted = parseSnapshot(`<domainsnapshot><name>asked</name>
      <memory snapshot='external' file='${file('its, memory')}'/>
      <disks><disk name='vdb' snapshot='external'><source file='${file('its, overlay')}'/></disk></disks>
      </domainsnapshot>`)
    const options = snapshotRequest(wanted, await domains.describe(uuid))
    await snapshots.create(uuid, options)
    const [first, second = ''] = await ground.filesOf(uuid)
    assert.equal(first, file('its, overlay'))
    assert.match(second, /\.asked\.overlay$/u)
    assert.ok(existsSync(file('its, memory')))
    await guest.write(1, 'a', '2')
    // Files that are there stay as they are, whatever they are asked for.
    for (const overlays of [[{ disk: 'vdb', file: second }], [{ disk: 'vdz', file: file('new') }]])
      await assert.rejects(snapshots.create(uuid, { overlays }), { code: /already-exists|invalid-argument/u })
    await assert.rejects(snapshots.create(uuid, { memoryFile: file('its, memory') }), {
      code: 'already-exists',
    })
    assert.ok(existsSync(second) && existsSync(file('its, memory')))
    const told = formatSnapshot(await snapshots.describe(uuid, 'asked'), 'xml')
    assert.match(told, /<disk name='vdb' snapshot='external' type='file'>\n\s*<driver type='qcow2'\/>\n/u)
    assert.match(told, /<memory snapshot='external' file='[^']*its, memory'\/>/u)
    assert.equal(formatSnapshot(parseSnapshot(told), 'xml'), told)
    await guest.close()
    await snapshots.revert(uuid, 'asked')
    const again = await ground.talk(uuid)
    assert.equal(await again.read(1, 'a'), '1')
    await checkpoints.create(uuid, { name: 'point', disks: ['vdc'] })
    const point = await checkpoints.describe(uuid, 'point')
    assert.deepEqual(
      point.disks.map(({ name, checkpoint }) => [name, checkpoint]),
      [
        ['vda', 'no'],
        ['vdb', 'no'],
        ['vdc', 'bitmap'],
      ],
    )
    await again.close()
    await snapshots.remove(uuid, 'asked')
    assert.equal(existsSync(file('its, memory')), false)
    await domains.destroy(uuid)
  })

  test('disks that differ only in the endings of their names go on in files of their own', async () => {
    const { snapshots, domains } = ground.connection
    const disks: { file: string; format: 'raw' | 'qcow2'; target: string }[] = [
      { file: join(ground.directory, 'twin.raw'), format: 'raw', target: 'vdb' },
      { file: join(ground.directory, 'twin.qcow2'), format: 'qcow2', target: 'vdc' },
    ]
    for (const { file, format } of disks)
      await runChecked('qemu-img', ['create', '-q', '-f', format, file, '1M'])
    const { uuid } = await domains.define({
      type: 'qemu',
      name: 'twins',
      memoryKiB: 32_768,
      devices: { disks },
    })
    await snapshots.create(uuid, { name: 'one', kind: 'external' })
    await snapshots.revert(uuid, 'one')
    const { devices } = await domains.describe(uuid)
    assert.equal(new Set(devices.disks.map(({ file }) => file)).size, 2)
    await snapshots.remove(uuid, 'one')
    assert.deepEqual(
      (await domains.describe(uuid)).devices.disks.map(({ file }) => file),
      disks.map(({ file }) => file),
    )
    await domains.undefine(uuid)
  })

  test('of a guest that is paused, which stays so; its definition comes back as well', async () => {
    const { snapshots, domains, blocks } = ground.connection
    const uuid = await ground.define('qcow2')
    const guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await domains.suspend(uuid)
    await snapshots.create(uuid, { name: 'one' })
    // QEMU would write no memory twice, and work on no image, had it not taken them back.
    await snapshots.create(uuid, { name: 'two' })
    await blocks.copy(uuid, { disk: 'vdb', file: join(ground.directory, 'paused.qcow2') })
    const { state, reason } = await domains.get(uuid)
    assert.deepEqual([state, reason], ['paused', 'user'])
    await domains.resume(uuid)
    await guest.write(1, 'a', '2')
    await guest.close()
    const definition = await domains.describe(uuid, { inactive: true })
    await domains.define({ ...definition, memoryKiB: 65_536, currentMemoryKiB: 65_536 })
    await snapshots.revert(uuid, 'one')
    assert.equal((await domains.get(uuid)).state, 'paused')
    assert.equal((await domains.describe(uuid, { inactive: true })).memoryKiB, 32_768)
    const again = await ground.talk(uuid)
    await domains.resume(uuid)
    assert.equal(await again.read(1, 'a'), '1')
    await again.close()
    await assert.rejects(snapshots.create(uuid, { diskOnly: true, quiesce: true }), (error: VisorError) => {
      assert.match(error.code, /^(unavailable|invalid-state)$/u)
      assert.match(error.message, /agent/u)
      return error.remedy !== undefined
    })
    assert.deepEqual((await domains.get(uuid)).state, 'running')
    await domains.destroy(uuid)
    await domains.undefine(uuid, { snapshots: true })
    for (const name of await ground.overlays()) await rm(join(ground.directory, name))
  })

  test('disks that others write to, that are transient or left out are passed over; named, they are refused', async () => {
    const { snapshots, blocks, domains, checkpoints } = ground.connection
    const disk = async (target: string, format: 'raw' | 'qcow2' = 'raw') => {
      const file = join(ground.directory, `passed-${target}`)
      await runChecked('qemu-img', ['create', '-q', '-f', format, file, '1M'])
      return { file, target, format }
    }
    const disks = [
      { file: join(ground.directory, 'boot.raw'), target: 'vda', readonly: true },
      await disk('vdb'),
      { ...(await disk('vdc')), shareable: true },
      { ...(await disk('vdd', 'qcow2')), transient: true },
      { ...(await disk('vde')), unknown: [{ path: '@snapshot', xml: "snapshot='no'" }] },
    ]
    const { uuid } = await domains.define({
      type: 'qemu',
      name: 'passed',
      memoryKiB: 32_768,
      devices: { disks, serials: [{}] },
    })
    const kept = async () =>
      (await snapshots.get(uuid, 'one')).disks
        .filter(({ snapshot }) => snapshot !== 'no')
        .map(({ name }) => name)
    await snapshots.create(uuid, { name: 'one' })
    assert.deepEqual(await kept(), ['vdb'])
    await snapshots.remove(uuid, 'one')
    const guest = await ground.boot(uuid)
    const refused = { code: 'unsupported-config', message: /no snapshot can be taken/u }
    for (const target of ['vdc', 'vdd'])
      await assert.rejects(snapshots.create(uuid, { diskOnly: true, disks: [target] }), refused)
    await assert.rejects(snapshots.create(uuid), { code: 'invalid-state', message: /'vdd'/u })
    await snapshots.create(uuid, { name: 'one', diskOnly: true })
    assert.deepEqual(await kept(), ['vdb'])
    const file = join(ground.directory, 'passed-copy')
    for (const work of [
      () => blocks.copy(uuid, { disk: 'vdd', file }),
      () => blocks.resize(uuid, { disk: 'vdd', sizeBytes: 2 ** 21 }),
    ])
      await assert.rejects(work(), { code: 'invalid-state', message: /ends with the machine/u })
    await assert.rejects(checkpoints.create(uuid, { disks: ['vdd'] }), { code: 'invalid-argument' })
    // Work that failed leaves the definition's files as they were: the overlay of the machine's run is in none.
    assert.equal((await domains.describe(uuid)).devices.disks[3]?.file, disks[3]?.file)
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.remove(uuid, 'one')
    await domains.undefine(uuid)
    const key = join(ground.directory, 'key')
    await writeFile(key, 'sesame')
    const encryption = { format: 'luks', secrets: [{ type: 'passphrase', file: key }] } as const
    const secret = { ...(await disk('vdb')), encryption }
    const other = { ...(await disk('vdc', 'qcow2')) }
    const devices = {
      disks: [{ ...secret, encryption: { ...encryption, secrets: [...encryption.secrets] } }, other],
    }
    const { uuid: locked } = await domains.define({
      type: 'qemu',
      name: 'locked',
      memoryKiB: 32_768,
      devices,
    })
    await assert.rejects(snapshots.create(locked), { code: 'unsupported-config', message: /encrypted/u })
    await snapshots.create(locked, { name: 'one', disks: ['vdc'] })
    await domains.undefine(locked, { snapshots: true })
  })

  test('of a device of the host, which becomes the lower end', { skip: noLoop }, async () => {
    const { snapshots, domains } = ground.connection
    const file = join(ground.directory, 'device.raw')
    await runChecked('qemu-img', ['create', '-q', '-f', 'raw', file, '4M'])
    const block = (await runChecked('losetup', ['--find', '--show', file])).stdout.trim()
    try {
      const disks = [
        { file: join(ground.directory, 'boot.raw'), target: 'vda', readonly: true },
        { type: 'block', block, target: 'vdb' } as const,
      ]
      const { uuid } = await domains.define({
        type: 'qemu',
        name: 'device',
        memoryKiB: 32_768,
        devices: { disks, serials: [{}] },
      })
      let guest = await ground.boot(uuid)
      await guest.write(1, 'a', '1')
      await snapshots.create(uuid, { name: 'one' })
      await guest.write(1, 'a', '2')
      await guest.write(1, 'b', '2')
      await guest.close()
      await snapshots.revert(uuid, 'one')
      guest = await ground.talk(uuid)
      assert.deepEqual([await guest.read(1, 'a'), await guest.read(1, 'b')], ['1', '.'])
      await guest.write(1, 'c', '3')
      await snapshots.remove(uuid, 'one')
      assert.equal((await domains.describe(uuid)).devices.disks[1]?.block, block)
      assert.deepEqual([await guest.read(1, 'a'), await guest.read(1, 'c')], ['1', '3'])
      await guest.close()
      await domains.destroy(uuid)
      guest = await ground.boot(uuid)
      assert.deepEqual([await guest.read(1, 'a'), await guest.read(1, 'c')], ['1', '3'])
      await guest.close()
      await domains.destroy(uuid)
      await domains.undefine(uuid)
    } finally {
      await runChecked('losetup', ['--detach', block])
    }
  })

  test('a domain is not forgotten without its snapshots', async () => {
    const { snapshots, domains } = ground.connection
    const uuid = await ground.define('raw')
    const [file = ''] = await ground.filesOf(uuid)
    await snapshots.create(uuid, { name: 'one' })
    await assert.rejects(snapshots.create(uuid, { name: 'one' }), { code: 'already-exists' })
    await assert.rejects(snapshots.get(uuid, 'two'), { code: 'not-found' })
    await assert.rejects(domains.undefine(uuid), { code: 'invalid-state' })
    await domains.undefine(uuid, { snapshots: true })
    // Its disk stays, as that of every domain does: the overlay and what it is based on.
    assert.equal((await ground.overlays()).length, 1)
    assert.ok(existsSync(file))
    for (const name of await ground.overlays()) await rm(join(ground.directory, name))
  })

  test('a raw disk whose content looks like qcow2 is not believed', async () => {
    const { snapshots, domains } = ground.connection
    const uuid = await ground.define('raw')
    const [file = ''] = await ground.filesOf(uuid)
    const fake = join(ground.directory, 'fake.qcow2')
    await runChecked('qemu-img', [
      'create',
      '-q',
      '-u',
      '-f',
      'qcow2',
      '-b',
      '/etc/passwd',
      '-F',
      'raw',
      fake,
      '16M',
    ])
    await copyFile(fake, file)
    await truncate(file, 16 * 2 ** 20)
    let guest = await ground.boot(uuid)
    await snapshots.create(uuid, { name: 'one' })
    assert.equal(await guest.read(1, 'a'), 'Q')
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.revert(uuid, 'one')
    guest = await ground.talk(uuid)
    assert.equal(await guest.read(1, 'a'), 'Q')
    await guest.write(1, 'b', '1')
    await snapshots.remove(uuid, 'one')
    assert.deepEqual([await guest.read(1, 'a'), await guest.read(1, 'b')], ['Q', '1'])
    assert.deepEqual(await ground.filesOf(uuid), [file])
    await guest.close()
    await domains.destroy(uuid)
  })

  const noRoom = process.getuid?.() === 0 ? false : 'only root can mount a small file system'
  test('a full disk fails the work, and harms nothing', { skip: noRoom }, async () => {
    const { stdout } = await runChecked('unshare', ['--mount', process.execPath, fullDisk], {
      timeoutMs: 120_000,
    })
    const said = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
    assert.deepEqual(said, {
      saved: "The state of the machine cannot be written to '/saved, state': no space is left there.",
      copied: 'failed',
      backedUp: 'failed',
      dumped: 'failed',
      taken: 'failed',
      state: 'running',
      read: 't',
      left: [],
      known: 0,
      same: true,
    })
  })
})

/** Why no file can be made a device here, or false. */
async function loopMissing(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'only root can make a file a device'
  return access('/dev/loop-control')
    .then(() => runChecked('losetup', ['--find']).then(() => false as const))
    .catch((error: unknown) => `no file can be made a device here: ${String(error)}`)
}
