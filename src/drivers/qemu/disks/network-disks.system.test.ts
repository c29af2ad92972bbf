/** Disks on real servers on loopback, each booted from by a guest. */
import assert from 'node:assert/strict'
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { noIscsiTarget, serveIscsi } from '../../../../test/fixtures/iscsi-target.ts'
import { disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

const missing = async () => (await disksMissing()) || noIscsiTarget

describe('disks on servers', { skip: await missing() }, () => {
  test('a guest boots from iSCSI, and what it writes there is kept', async () => {
    const ground = await openDiskGround()
    const [boot, data] = [join(ground.directory, 'boot'), join(ground.directory, 'data')]
    await copyFile(join(ground.directory, 'boot.raw'), boot)
    await copyFile(join(ground.directory, 'boot.raw'), data)
    const server = await serveIscsi([boot, data])
    const { name, port } = server
    try {
      const { domains } = ground.connection
      const disks = [1, 2].map((lun) => ({
        type: 'network' as const,
        protocol: 'iscsi' as const,
        name: `${name}/${lun}`,
        hosts: [{ name: '127.0.0.1', port }],
        target: lun === 1 ? 'vda' : 'vdb',
        bootOrder: lun,
      }))
      const { uuid } = await domains.define({
        type: 'qemu',
        name: 'iscsi',
        memoryKiB: 32_768,
        devices: {
          ...{ disks, serials: [{}] },
          // The second one again, as it is.
          hostdevs: [
            {
              ...{ type: 'scsi', protocol: 'iscsi', name: `${name}/2`, shareable: true },
              hosts: [{ name: '127.0.0.1', port }],
            },
          ],
        },
      })
      let guest = await ground.boot(uuid)
      await guest.write(1, 'a', '1')
      await guest.close()
      await domains.destroy(uuid)
      guest = await ground.boot(uuid)
      assert.equal(await guest.read(1, 'a'), '1')
      await guest.close()
      await domains.destroy(uuid)
    } finally {
      await ground.close()
      await server.close()
    }
  })
})
