/** Disks on real servers on loopback, each booted from by a guest. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { run } from '../../../host/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

const missing = async () =>
  (await disksMissing()) ||
  ((await findProgram('tgtd')) && (await findProgram('tgtadm')) ? false : 'tgt is not installed')

describe('disks on servers', { skip: await missing() }, () => {
  test('a guest boots from iSCSI, and what it writes there is kept', async () => {
    const ground = await openDiskGround()
    const folder = await mkdtemp(join(tmpdir(), 'visor-tgt-'))
    const port = await freePort()
    const env = { ...process.env, TGT_IPC_SOCKET: join(folder, 'control') }
    const server = spawn('tgtd', ['-f', '--iscsi', `portal=127.0.0.1:${port}`], { env, stdio: 'ignore' })
    try {
      const [boot, data] = [join(folder, 'boot'), join(folder, 'data')]
      await copyFile(join(ground.directory, 'boot.raw'), boot)
      await copyFile(join(ground.directory, 'boot.raw'), data)
      const name = 'iqn.2026-01.org.example:disk'
      const ask = async (...words: string[]) => {
        const { code } = await run('tgtadm', ['--lld', 'iscsi', ...words], { timeoutMs: 10_000, env })
        return code === 0
      }
      await until(server, () => ask('--op', 'new', '--mode', 'target', '--tid', '1', '-T', name))
      for (const [lun, file] of [boot, data].entries()) {
        const made = ['--op', 'new', '--mode', 'logicalunit', '--tid', '1', '--lun', `${lun + 1}`, '-b', file]
        assert.ok(await ask(...made))
      }
      assert.ok(await ask('--op', 'bind', '--mode', 'target', '--tid', '1', '-I', 'ALL'))
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
      // It waits for its sessions when it is asked to end.
      server.kill('SIGKILL')
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
      await rm(folder, { recursive: true, force: true })
    }
  })
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

/** Resolves when it holds; fails when the server has ended. */
async function until(server: ChildProcess, holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await holds()) return
    assert.equal(server.exitCode, null, 'The server has ended.')
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  assert.fail('The server does not answer.')
}
