/** A daemon that is killed while it changes a machine: the next one finds everything in agreement. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { startVisord, type Visord } from '../../../../test/fixtures/visord.ts'
import type { CompleteConnection } from '../../../driver/index.ts'
import type { DevicesInput } from '../../../model/index.ts'
import { driverPaths } from '../paths.ts'
import { isRecord, qmpClient } from '../qmp/index.ts'

const skip = spawnSync('qemu-system-x86_64', ['--version']).error && 'qemu-system-x86_64 is not installed'

describe('a daemon is killed in the middle of a change', { skip }, () => {
  let visord: Visord
  let connection: CompleteConnection
  let directory = ''
  let uuid = ''

  before(async () => {
    visord = await startVisord({ drivers: ['qemu'] })
    directory = await mkdtemp(join(tmpdir(), 'visor-kill-'))
    for (const name of ['disk', 'stick', 'one', 'two']) await writeFile(at(name), Buffer.alloc(2 ** 20))
    connection = await visord.connect()
    const defined = await connection.domains.define({
      type: 'qemu',
      name: 'killed',
      memoryKiB: 65_536,
      os: { machine: 'q35' },
      features: { acpi: true, apic: true },
      devices: {
        disks: [
          { target: 'vda', file: at('disk') },
          { target: 'sda', device: 'cdrom', bus: 'sata' },
        ],
        controllers: [{ type: 'usb', model: 'qemu-xhci' }],
      },
    })
    uuid = defined.uuid
    await connection.domains.start(uuid)
  })
  after(async () => {
    await connection?.domains.destroy(uuid).catch(() => {})
    await connection?.close()
    await visord?.dispose()
    await rm(directory, { recursive: true, force: true })
  })
  const at = (name: string) => join(directory, `${name}.raw`)

  const seen = async (inactive: boolean) => {
    const { devices } = await connection.domains.describe(uuid, { inactive })
    return devices.disks.map(({ target, file, throttle }) => [target, file, throttle?.totalIopsSec])
  }

  /** What is in QEMU, asked while no daemon runs. */
  async function inQemu(): Promise<unknown[][]> {
    const { state, runtime } = visord.directories
    const paths = driverPaths(state, runtime)
    const monitor = qmpClient(connect(paths.of(uuid).monitor), { name: 'killed' })
    try {
      await monitor.greeting
      const blocks = await monitor.execute('query-block')
      return (Array.isArray(blocks) ? blocks.filter(isRecord) : []).map(({ qdev, inserted }) => {
        const medium = isRecord(inserted) ? inserted : {}
        return [String(qdev), medium.file, Number(medium.iops) || undefined]
      })
    } finally {
      monitor.close()
    }
  }

  const both = { live: true, config: true }
  let turn = 0
  /** Media, limits, and a stick that comes and goes, in turn. */
  function change(hasStick: boolean): Promise<unknown> {
    const { attachDevice, detachDevice, updateDevice } = connection.domains
    const update = (device: DevicesInput) => updateDevice(uuid, { device, ...both })
    turn++
    const file = at(turn % 2 === 0 ? 'one' : 'two')
    if (turn % 3 === 0) return update({ disks: [{ target: 'sda', device: 'cdrom', bus: 'sata', file }] })
    if (turn % 3 === 1)
      return update({ disks: [{ target: 'vda', file: at('disk'), throttle: { totalIopsSec: 100 + turn } }] })
    const device: DevicesInput = { disks: [{ target: 'sdb', bus: 'usb', file: at('stick') }] }
    return hasStick ? detachDevice(uuid, { device, ...both }) : attachDevice(uuid, { device, ...both })
  }

  test('definition, live definition and QEMU agree afterwards', async () => {
    const deadline = performance.now() + 15_000
    let rounds = 0
    while (rounds < 3 || (performance.now() < deadline && rounds < 12)) {
      const hasStick = (await seen(false)).some(([target]) => target === 'sdb')
      const changing = change(hasStick).catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 80))
      await visord.kill()
      await changing
      await connection.close()
      await visord.start()
      connection = await visord.connect()
      rounds++
      const live = await seen(false)
      assert.deepEqual(await seen(true), live, `round ${rounds}, change ${turn}`)
      await connection.close()
      await visord.kill()
      const monitor = await inQemu()
      await visord.start()
      connection = await visord.connect()
      for (const [target, file, limit] of live) {
        const expected = file === undefined ? undefined : [file, limit]
        const found = monitor.some((one) => one[1] === file && one[2] === limit)
        assert.ok(expected === undefined || found, `${target}: ${JSON.stringify([live, monitor])}`)
      }
      const media = monitor.filter((one) => one[1] !== undefined).length
      assert.equal(media, live.filter((one) => one[1] !== undefined).length, JSON.stringify(monitor))
    }
    assert.equal((await connection.domains.get(uuid)).state, 'running')
  })
})
