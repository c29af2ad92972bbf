/** Screens with passwords in a real QEMU, looked at by a small RFB client. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findProgram } from '../../emulator/emulator.ts'
import { isRecord, qmpClient } from '../../qmp/index.ts'
import { openTestDriver } from '../../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../../testing/test-guest.ts'
import { hasDes, logIn } from '../../testing/test-rfb.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'QEMU is not here: install qemu-system-x86'
const options = { skip, timeout: 300_000 }
let directory: string
let connection: Awaited<ReturnType<typeof openTestDriver>>
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-screens-'))
  await writeTestDisk(join(directory, 'disk.raw'))
  connection = await openTestDriver(directory)
})
after(async () => {
  await connection.close()
  await rm(directory, { recursive: true, force: true })
})

test(
  'who looks needs the password, which can be changed, and which no command line has',
  options,
  async (t) => {
    if (!hasDes) return t.skip('OpenSSL here has no DES')
    const { domains } = connection
    const [vnc, spice] = [join(directory, 'vnc.password'), join(directory, 'spice.password')]
    await writeFile(vnc, 'geheim42\n')
    await writeFile(spice, 'a much longer secret')
    const { uuid } = await domains.define(
      testDefinition('passwords', join(directory, 'disk.raw'), {
        graphics: [
          { type: 'vnc', port: -1, autoport: true, listen: '0.0.0.0', passwordFile: vnc },
          { type: 'spice', passwordFile: spice, passwordConnected: 'disconnect' },
        ],
      }),
    )
    try {
      await domains.start(uuid)
      const port = (await domains.describe(uuid)).devices.graphics[0]?.port ?? 0
      assert.equal(await logIn(port, 'geheim42'), true)
      assert.equal(await logIn(port, 'geheim43'), false)
      const { pid } = await domains.get(uuid)
      assert.doesNotMatch(await readFile(`/proc/${pid}/cmdline`, 'latin1'), /geheim|secret/u)
      assert.doesNotMatch(JSON.stringify(await domains.describe(uuid)), /geheim|longer/u)

      const monitor = qmpClient(
        createConnection(join(directory, 'run', 'qemu', uuid, 'io', 'monitor.sock')),
        { name: 'passwords' },
      )
      const told = await monitor.execute('query-spice').finally(() => monitor.close())
      assert.ok(isRecord(told) && told.auth === 'spice')

      const update = (device: object) =>
        domains.updateDevice(uuid, { device: { graphics: [device] }, live: true })
      await writeFile(vnc, 'another')
      await update({ type: 'vnc' })
      assert.equal(await logIn(port, 'another'), true)
      assert.equal(await logIn(port, 'geheim42'), false)
      await update({ type: 'spice', passwordValidTo: '2035-01-01T00:00:00' })
      await update({ type: 'vnc', passwordValidTo: '2020-01-01T00:00:00' })
      assert.equal(await logIn(port, 'another'), false)
      await writeFile(vnc, 'nine byte')
      await assert.rejects(update({ type: 'vnc' }), /longer than 8/u)

      await domains.save(uuid)
      await writeFile(vnc, 'restored')
      const { devices } = await domains.describe(uuid)
      assert.equal(devices.graphics[0]?.passwordFile, vnc)
      await domains.start(uuid)
      const next = (await domains.describe(uuid)).devices.graphics[0]?.port ?? 0
      assert.equal(await logIn(next, 'another'), false)
    } finally {
      await domains.destroy(uuid).catch(() => {})
      await domains.undefine(uuid)
    }
  },
)

test('a start fails that cannot have the password, and nothing is left', options, async () => {
  const { domains } = connection
  const { uuid } = await domains.define(
    testDefinition('no-password', join(directory, 'disk.raw'), {
      graphics: [{ type: 'vnc', passwordFile: join(directory, 'nowhere') }],
    }),
  )
  await assert.rejects(domains.start(uuid), /nowhere.*cannot be read/u)
  assert.equal((await domains.get(uuid)).state, 'shutoff')
  await domains.undefine(uuid)
})
