/** Snapshots of machines that keep something beside their disks: variables of UEFI, a TPM. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { runChecked } from '../../../host/index.ts'
import { findFirmware } from '../board/firmware-descriptors.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'

const skip = !(await findProgram('qemu-system-x86_64'))
  ? 'qemu-system-x86_64 is not installed'
  : (await findFirmware()).length === 0
    ? 'no UEFI firmware is installed (ovmf)'
    : !(await findProgram('swtpm')) && 'swtpm is not installed'

describe('snapshots of machines with UEFI and a TPM', { skip }, () => {
  let directory = ''
  let connection: CompleteConnection
  let uuid = ''

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-firmware-'))
    connection = await openTestDriver(directory)
    const disk = join(directory, 'disk.qcow2')
    await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '8M'])
    const domain = await connection.domains.define({
      type: 'qemu',
      name: 'firm',
      memoryKiB: 128 * 1024,
      os: { firmware: 'efi' },
      features: { acpi: true, apic: true },
      devices: { disks: [{ target: 'vda', file: disk, format: 'qcow2' }], serials: [{}], tpms: [{}] },
    })
    uuid = domain.uuid
    await boot()
    await connection.domains.destroy(uuid)
  })
  after(async () => {
    await connection.domains.destroy(uuid).catch(() => {})
    await connection.domains.undefine(uuid, { snapshots: true }).catch(() => {})
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** Runs it until its firmware has come to its end: it has nothing to boot, and has written its variables. */
  async function boot(): Promise<void> {
    await connection.domains.start(uuid)
    for (let tries = 0; tries < 600; tries++) {
      const log = Buffer.from(await connection.domains.consoleLog(uuid)).toString('latin1')
      if (/Shell>|BdsDxe: No bootable|UEFI Interactive Shell|Press any key/u.test(log)) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    assert.fail('The firmware did not come to its end.')
  }

  const variables = () => join(directory, 'state', 'qemu', 'nvram', `${uuid}.qcow2`)
  const tpm = () => join(directory, 'state', 'qemu', 'tpm', uuid)
  async function state(): Promise<{ variables: string; tpm: string }> {
    const digest = async (path: string) =>
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex')
    const files = (await readdir(tpm())).filter((name) => !name.startsWith('.')).sort()
    const digests = await Promise.all(files.map(async (name) => `${name} ${await digest(join(tpm(), name))}`))
    return { variables: await digest(variables()), tpm: digests.join('\n') }
  }

  for (const kind of ['internal', 'external'] as const)
    test(`${kind}, off: both are as they were`, async () => {
      const before = await state()
      await connection.snapshots.create(uuid, { name: kind, kind })
      await writeFile(variables(), 'spoilt')
      await writeFile(join(tpm(), 'spoilt'), 'spoilt')
      assert.notDeepEqual(await state(), before)
      await connection.snapshots.revert(uuid, kind)
      assert.deepEqual(await state(), before)
      await boot()
      await connection.domains.destroy(uuid)
      await connection.snapshots.revert(uuid, kind)
      assert.deepEqual(await state(), before)
    })

  test('running, with memory: it goes on with both', async () => {
    await boot()
    await connection.snapshots.create(uuid, { name: 'alive' })
    await connection.domains.destroy(uuid)
    await connection.snapshots.revert(uuid, 'alive')
    const { state: now, message } = await connection.domains.get(uuid)
    assert.equal(now, 'running', message)
    await assert.rejects(connection.templates.create('early', { domain: uuid }), {
      code: 'invalid-state',
      message: /snapshots/u,
    })
    await connection.domains.destroy(uuid)
    await boot()
    await connection.domains.destroy(uuid)
  })

  test('what a removed snapshot had goes with it', async () => {
    for (const { name } of (await connection.snapshots.list(uuid)).toReversed())
      await connection.snapshots.remove(uuid, name)
    const left = await readdir(join(directory, 'state', 'qemu'), { recursive: true })
    assert.deepEqual(
      left.filter((name) => /\.firmware|\.visor-state/u.test(name)),
      [],
    )
    await boot()
  })

  test('live clones have copies of both, and the template goes on', async () => {
    await connection.templates.create('firm-gold', { domain: uuid })
    const [clone] = await connection.templates.clone('firm-gold', { name: 'firm-copy' })
    assert.ok(clone)
    assert.deepEqual((await connection.domains.list()).map(({ name, state }) => [name, state]).sort(), [
      ['firm', 'running'],
      ['firm-copy', 'running'],
    ])
    const { os } = await connection.domains.describe(clone.uuid)
    assert.equal(os.nvram, join(directory, 'state', 'qemu', 'clones', clone.uuid, 'variables'))
    const before = await readFile(variables())
    // Both hold what the firmware wrote; the sizes of the images may differ in nothing else.
    for (const file of [variables(), os.nvram ?? ''])
      await runChecked('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'raw', file, `${file}.raw`])
    assert.deepEqual(await readFile(`${os.nvram}.raw`), await readFile(`${variables()}.raw`))
    await rm(`${variables()}.raw`)
    assert.ok((await readdir(join(directory, 'state', 'qemu', 'tpm', clone.uuid))).length > 0)
    await connection.domains.destroy(clone.uuid)
    await connection.domains.undefine(clone.uuid)
    assert.deepEqual(await readFile(variables()), before)
    await connection.templates.remove('firm-gold')
    for (const folder of ['tpm', 'nvram', 'clones', 'templates'])
      assert.deepEqual(
        (await readdir(join(directory, 'state', 'qemu', folder))).filter((name) => !name.startsWith(uuid)),
        [],
      )
    await connection.domains.destroy(uuid)
  })
})
