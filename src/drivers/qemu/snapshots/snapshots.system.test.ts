import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { runChecked } from '../../../host/index.ts'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { findProgram } from '../emulator.ts'
import { openTestDriver } from '../test-daemon.ts'
import { type DiskGuest, talkTo, writeDiskGuest } from '../test-disk-guest.ts'

const programs = ['qemu-system-x86_64', 'qemu-img']
const missing: string[] = []
for (const program of programs) if (!(await findProgram(program))) missing.push(program)
const skip = missing.length > 0 ? `${missing.join(', ')} is not installed` : false

describe('snapshots', { skip }, () => {
  let directory = ''
  let connection: CompleteConnection
  let number = 0

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-snap-'))
    await writeDiskGuest(join(directory, 'boot.raw'))
    connection = await openTestDriver(directory)
  })
  after(async () => {
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** A domain with a disk of each of these formats. */
  async function define(...formats: ('raw' | 'qcow2')[]): Promise<string> {
    const name = `guest-${++number}`
    const files = await Promise.all(
      formats.map(async (format, index) => {
        const file = join(directory, `${name}, disk ${index}.${format}`)
        await runChecked('qemu-img', ['create', '-q', '-f', format, file, '16M'])
        return { file, format, target: `vd${'bcd'[index]}` }
      }),
    )
    const definition: DomainDefinitionInput = {
      type: 'qemu',
      name,
      memoryKiB: 32 * 1024,
      devices: {
        disks: [{ file: join(directory, 'boot.raw'), target: 'vda', readonly: true }, ...files],
        serials: [{}],
      },
    }
    return (await connection.domains.define(definition)).uuid
  }

  async function boot(uuid: string): Promise<DiskGuest> {
    await connection.domains.start(uuid)
    return talkTo(connection, uuid, { booting: true })
  }

  async function filesOf(uuid: string): Promise<(string | undefined)[]> {
    const [live, inactive] = await Promise.all(
      [false, true].map(async (which) => {
        const { devices } = await connection.domains.describe(uuid, { inactive: which })
        return devices.disks.slice(1).map(({ file }) => file)
      }),
    )
    assert.deepEqual(live, inactive)
    return live ?? []
  }

  const overlays = async () => (await readdir(directory)).filter((name) => name.endsWith('.overlay'))
  const noOverlays = async () => assert.deepEqual(await overlays(), [])

  test('external, of a running guest with its memory: back and forth, and gone', async () => {
    const { snapshots, domains } = connection
    const uuid = await define('qcow2', 'raw')
    const files = await filesOf(uuid)
    let guest = await boot(uuid)
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
    guest = await talkTo(connection, uuid)
    assert.equal(await guest.recall(), '1')
    assert.deepEqual(
      [await guest.read(1, 'a'), await guest.read(2, 'a'), await guest.read(2, 'b')],
      ['1', '1', '.'],
    )
    await guest.write(1, 'a', '4')
    await guest.close()
    assert.equal((await snapshots.get(uuid, 'first')).current, true)

    await snapshots.revert(uuid, 'second')
    guest = await talkTo(connection, uuid)
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
    assert.deepEqual(await filesOf(uuid), files)
    await noOverlays()
    assert.deepEqual(
      [await guest.read(1, 'a'), await guest.read(2, 'b'), await guest.read(1, 'c')],
      ['2', '2', '5'],
    )
    await guest.write(1, 'd', '6')
    await guest.close()
    await domains.destroy(uuid)
    guest = await boot(uuid)
    assert.deepEqual(
      [await guest.read(1, 'a'), await guest.read(1, 'd'), await guest.read(2, 'a')],
      ['2', '6', '1'],
    )
    await guest.close()
    await domains.destroy(uuid)
  })

  test('internal, of a running guest with its memory', async () => {
    const { snapshots, domains } = connection
    const uuid = await define('qcow2', 'qcow2')
    let guest = await boot(uuid)
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
    guest = await talkTo(connection, uuid)
    assert.equal(await guest.recall(), '1')
    assert.equal(await guest.read(2, 'a'), '1')
    await guest.close()
    await snapshots.remove(uuid, '1')
    assert.deepEqual(await snapshots.list(uuid), [])
    await domains.destroy(uuid)
  })

  test('of a domain that is off: internal by itself, external where asked', async () => {
    const { snapshots, domains } = connection
    const uuid = await define('qcow2')
    let guest = await boot(uuid)
    await guest.write(1, 'a', '1')
    await guest.close()
    await domains.destroy(uuid)
    const inside = await snapshots.create(uuid, { name: 'inside' })
    assert.deepEqual([inside.state, inside.memory, inside.disks[1]?.snapshot], ['shutoff', 'no', 'internal'])
    guest = await boot(uuid)
    await guest.write(1, 'a', '2')
    await guest.close()
    await domains.destroy(uuid)
    const below = await snapshots.create(uuid, { name: 'below', kind: 'external' })
    assert.equal(below.disks[1]?.snapshot, 'external')
    await assert.rejects(snapshots.revert(uuid, 'inside'), { code: 'invalid-state' })
    guest = await boot(uuid)
    await guest.write(1, 'a', '3')
    await guest.close()
    await snapshots.revert(uuid, 'below')
    assert.equal((await domains.get(uuid)).state, 'shutoff')
    guest = await boot(uuid)
    assert.equal(await guest.read(1, 'a'), '2')
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.remove(uuid, 'below')
    // What is within the image below is not lost by joining what is above with it.
    await snapshots.revert(uuid, 'inside', { running: true })
    guest = await talkTo(connection, uuid, { booting: true })
    assert.equal(await guest.read(1, 'a'), '1')
    await guest.close()
    await domains.destroy(uuid)
    await snapshots.remove(uuid, 'inside')
    await noOverlays()
  })

  test('a domain is not forgotten without its snapshots', async () => {
    const { snapshots, domains } = connection
    const uuid = await define('raw')
    const [file = ''] = await filesOf(uuid)
    await snapshots.create(uuid, { name: 'one' })
    await assert.rejects(snapshots.create(uuid, { name: 'one' }), { code: 'already-exists' })
    await assert.rejects(snapshots.get(uuid, 'two'), { code: 'not-found' })
    await assert.rejects(domains.undefine(uuid), { code: 'invalid-state' })
    await domains.undefine(uuid, { snapshots: true })
    // Its disk stays, as that of every domain does: the overlay and what it is based on.
    assert.equal((await overlays()).length, 1)
    assert.ok(existsSync(file))
    for (const name of await overlays()) await rm(join(directory, name))
  })
})
