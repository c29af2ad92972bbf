/** Copies of machines that are off, with real guests. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { link, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { openStore, runChecked } from '../../../host/index.ts'
import type { Progress } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

const noFirmware =
  (!(await findProgram('swtpm')) && 'swtpm is not installed') ||
  (!existsSync('/usr/share/qemu/firmware') && 'there is no UEFI firmware')

describe('copies of machines that are off', { skip: await disksMissing() }, () => {
  let ground: DiskGround

  before(async () => {
    ground = await openDiskGround()
  })
  after(() => ground.close())

  test('a copy has all of its own, boots, and has disks that nobody else writes to', async () => {
    const { domains } = ground.connection
    const uuid = await ground.define('qcow2', 'raw')
    const { name, ...rest } = await domains.describe(uuid)
    const devices = { ...rest.devices, interfaces: [{ type: 'user' as const }] }
    await domains.define({ ...rest, name, genid: crypto.randomUUID(), devices })
    let guest = await ground.boot(uuid)
    await guest.write(1, 'a', 'q')
    await guest.write(2, 'a', 'r')
    await assert.rejects(domains.clone(uuid, { name: 'copy' }), {
      code: 'invalid-state',
      remedy: /visor template create/u,
    })
    await guest.close()
    await domains.destroy(uuid)
    const told: Progress[] = []
    const copy = await domains.clone(uuid, { name: 'copy', progress: (one) => told.push(one) })
    assert.deepEqual([copy.name, copy.state], ['copy', 'shutoff'])
    assert.ok(told.some(({ phase, total = 0 }) => phase === 'copying vdb' && total > 0))
    const [before, after] = await Promise.all([uuid, copy.uuid].map((one) => domains.describe(one)))
    assert.notEqual(after?.uuid, before?.uuid)
    assert.notEqual(after?.genid, before?.genid)
    assert.notEqual(after?.devices.interfaces[0]?.mac, before?.devices.interfaces[0]?.mac)
    assert.deepEqual(
      after?.devices.disks.map(({ file }) => file),
      ['boot.raw', 'copy, disk 0.qcow2', 'copy, disk 1.raw'].map((file) => join(ground.directory, file)),
    )
    // Both run at once.
    guest = await ground.boot(uuid)
    const other = await ground.boot(copy.uuid)
    for (const disk of [1, 2]) {
      assert.equal(await other.read(disk, 'a'), disk === 1 ? 'q' : 'r')
      await other.write(disk, 'a', 'c')
      await guest.write(disk, 'b', 's')
      assert.equal(await other.read(disk, 'b'), '.')
      assert.notEqual(await guest.read(disk, 'a'), 'c')
    }
    for (const one of [guest, other]) await one.close()
    for (const one of [uuid, copy.uuid]) await domains.destroy(one)
    await assert.rejects(domains.clone(uuid, { name: 'copy' }), { code: 'already-exists' })
    await domains.undefine(copy.uuid)
    await assert.rejects(domains.clone(uuid, { name: 'copy' }), {
      code: 'already-exists',
      message: /copy, disk 0\.qcow2/u,
    })
  })

  test('a copy of a disk with overlays stands alone', async () => {
    const { domains, snapshots } = ground.connection
    const uuid = await ground.define('raw')
    await snapshots.create(uuid, { name: 'one', kind: 'external' })
    const guest = await ground.boot(uuid)
    await guest.write(1, 'a', 'o')
    await guest.close()
    await domains.destroy(uuid)
    const copy = await domains.clone(uuid, { name: 'alone' })
    const [, disk] = (await domains.describe(copy.uuid)).devices.disks
    const { stdout } = await runChecked('qemu-img', ['info', '--output=json', disk?.file ?? ''])
    assert.equal(JSON.parse(stdout)['backing-filename'], undefined)
    const other = await ground.boot(copy.uuid)
    assert.equal(await other.read(1, 'a'), 'o')
    await other.close()
    await domains.destroy(copy.uuid)
  })

  test('a linked copy takes next to nothing, and its source stays as it is until it is made whole', async () => {
    const uuid = await ground.define('raw')
    const guest = await ground.boot(uuid)
    await guest.write(1, 'a', 's')
    await guest.close()
    await ground.connection.domains.destroy(uuid)
    const [base = ''] = await ground.filesOf(uuid)
    const copy = await ground.connection.domains.clone(uuid, { name: 'linked', linked: true })
    const [overlay = ''] = await ground.filesOf(copy.uuid)
    assert.match(overlay, /linked, disk 0\.qcow2$/u)
    const bytes = await readFile(base)
    // A later daemon knows it too.
    await ground.reopen()
    const { domains, blocks } = ground.connection
    const refused = { code: 'invalid-state', message: /'linked', a linked clone, is based on/u }
    await assert.rejects(domains.start(uuid), refused)
    await assert.rejects(domains.undefine(uuid), refused)
    const other = await ground.boot(copy.uuid)
    assert.equal(await other.read(1, 'a'), 's')
    await other.write(1, 'a', 'c')
    assert.ok(bytes.equals(await readFile(base)))
    await blocks.pull(copy.uuid, { disk: 'vdb' })
    const again = await ground.boot(uuid)
    assert.equal(await again.read(1, 'a'), 's')
    assert.equal(await other.read(1, 'a'), 'c')
    for (const one of [again, other]) await one.close()
    for (const one of [uuid, copy.uuid]) await domains.destroy(one)
  })

  test('one that is given up, or cut off with its daemon, leaves nothing', async () => {
    const uuid = await ground.define('qcow2', 'raw')
    const before = await readdir(ground.directory)
    const abort = new AbortController()
    const progress = ({ phase }: Progress) => {
      if (phase === 'copying vdc') abort.abort()
    }
    const { domains } = ground.connection
    const call = { name: 'given-up', progress, signal: abort.signal }
    await assert.rejects(domains.clone(uuid, call), { code: 'cancelled' })
    assert.deepEqual(await readdir(ground.directory), before)
    await assert.rejects(domains.get('given-up'), { code: 'not-found' })

    const half = crypto.randomUUID()
    const files = ['made', 'taken'].map((name) => ({
      partial: join(ground.directory, `.new-${name}`),
      path: join(ground.directory, `${name}.raw`),
    }))
    for (const { partial } of files) await writeFile(partial, 'half')
    const [made, taken] = files
    await link(made?.partial ?? '', made?.path ?? '')
    await writeFile(taken?.path ?? '', "somebody's")
    await ground.reopen(async (directory) => {
      const own = await openStore(join(directory, 'store.db'))
      await own.write([{ key: `qemu/clone/${half}`, value: { files, bases: [] } }])
      await own.close()
    })
    const there = await readdir(ground.directory)
    assert.deepEqual(
      there.filter((name) => /made|taken/u.test(name)),
      ['taken.raw'],
    )
  })

  test('what the firmware and the TPM keep is copied', { skip: noFirmware }, async () => {
    const { domains } = ground.connection
    const definition = {
      ...{ type: 'qemu' as const, name: 'efi', memoryKiB: 64 * 1024 },
      os: { machine: 'q35', firmware: 'efi' as const },
      devices: { tpms: [{ backend: 'emulator' as const }] },
    }
    const { uuid } = await domains.define(definition)
    const state = join(ground.directory, 'state', 'qemu')
    await mkdir(join(state, 'nvram'), { recursive: true })
    await mkdir(join(state, 'tpm', uuid), { recursive: true })
    await writeFile(join(state, 'nvram', `${uuid}.qcow2`), 'variables')
    await writeFile(join(state, 'tpm', uuid, 'tpm2-00.permall'), 'keys')
    const copy = await domains.clone(uuid, { name: 'efi-2' })
    assert.equal(await readFile(join(state, 'nvram', `${copy.uuid}.qcow2`), 'utf8'), 'variables')
    assert.equal(await readFile(join(state, 'tpm', copy.uuid, 'tpm2-00.permall'), 'utf8'), 'keys')
    await domains.undefine(copy.uuid)
    assert.ok(!existsSync(join(state, 'nvram', `${copy.uuid}.qcow2`)))
    assert.ok(!existsSync(join(state, 'tpm', copy.uuid)))
  })
})
