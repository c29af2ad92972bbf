import assert from 'node:assert/strict'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { run } from '../../../host/index.ts'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'

describe('the disks of running machines', { skip }, () => {
  let directory = ''

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-qemu-stats-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))

  test('have the size the guest sees and the size on the host, also for the next daemon', async () => {
    const [disk, drive] = [join(directory, 'disk.raw'), join(directory, 'drive.qcow2')]
    await writeTestDisk(disk)
    assert.equal((await run('qemu-img', ['create', '-q', '-f', 'qcow2', drive, '8M'])).code, 0)
    const devices: DomainDefinitionInput['devices'] = {
      disks: [
        { file: disk, target: 'vda', readonly: true },
        { file: drive, target: 'vdb', format: 'qcow2' },
        { target: 'sda', device: 'cdrom', bus: 'sata' },
      ],
    }
    const sizes = async () => {
      const [stats] = await connection.domains.stats({ domains: [uuid] })
      return stats?.blocks.map(({ name, capacityBytes, physicalBytes }) => [
        name,
        capacityBytes,
        physicalBytes,
      ])
    }
    const onHost = async (path: string) => (await stat(path)).blocks * 512
    let connection = await openTestDriver(directory)
    const { uuid } = await connection.domains.define({ ...testDefinition('sized', disk), devices })
    try {
      await connection.domains.start(uuid)
      const expected = [
        ['vda', Math.ceil((await stat(disk)).size / 512) * 512, await onHost(disk)],
        ['vdb', 8 * 2 ** 20, await onHost(drive)],
        ['sda', undefined, undefined],
      ]
      assert.deepEqual(await sizes(), expected)
      assert.deepEqual(await sizes(), expected)
      await connection.close()
      connection = await openTestDriver(directory)
      assert.deepEqual(await sizes(), expected)
    } finally {
      await connection.domains.destroy(uuid)
      await connection.close()
    }
  })

  test('are counted under the name they have, whatever comes and goes', async () => {
    const disk = join(directory, 'counted.raw')
    await writeTestDisk(disk)
    const connection = await openTestDriver(directory)
    const { uuid } = await connection.domains.define(testDefinition('counted', disk))
    try {
      await connection.domains.start(uuid)
      let [stats] = await connection.domains.stats({ domains: [uuid] })
      for (let tries = 0; tries < 600 && !stats?.blocks[0]?.readRequests; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        ;[stats] = await connection.domains.stats({ domains: [uuid] })
      }
      const [block] = stats?.blocks ?? []
      assert.equal(block?.readErrors, 0)
      assert.ok((block?.readBytes ?? 0) >= 512)
      assert.ok((stats?.residentKiB ?? 0) > 10_000, `${stats?.residentKiB}`)
      assert.ok((stats?.cpuTimeNs ?? 0) >= (stats?.vcpus[0]?.timeNs ?? Number.MAX_VALUE) * 0.5)
      assert.equal(typeof stats?.vcpus[0]?.delayNs, 'number')
      assert.equal(stats?.memoryKiB, 32 * 1024)
      assert.equal(stats?.guestMemory, undefined)
    } finally {
      await connection.domains.destroy(uuid)
      await connection.close()
    }
  })
})
