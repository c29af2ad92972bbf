import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { runChecked } from '../../../host/index.ts'
import { diskDaemon } from '../testing/test-disk-daemon.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

describe('work on disks that is cut short', { skip: await disksMissing() }, () => {
  let ground: DiskGround

  before(async () => {
    ground = await openDiskGround()
  })
  after(() => ground.close())

  /** Lets a daemon work on the disks, and kills it (and the guest with it) some time after it has begun. */
  async function killedDaemon(uuid: string, delayMs: number, withGuest: boolean): Promise<string> {
    const daemon = spawn(process.execPath, [diskDaemon, ground.directory, uuid], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    daemon.stdout.on('data', (chunk) => {
      said += String(chunk)
    })
    const gone = new Promise((resolve) => daemon.once('close', resolve))
    while (!said.includes('begin') && daemon.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, delayMs))
    daemon.kill('SIGKILL')
    await gone
    if (withGuest) for (const pid of await guestsIn(ground.directory)) process.kill(pid, 'SIGKILL')
    // One that is dying still may answer the next daemon once more.
    while (withGuest && (await guestsIn(ground.directory)).length > 0)
      await new Promise((resolve) => setTimeout(resolve, 5))
    return said.trim().split('\n').slice(-2).join(', ')
  }

  test('definitions name files with all data, whatever is killed and whenever', async () => {
    const uuid = await ground.define('qcow2')
    let guest = await ground.boot(uuid)
    await guest.write(1, 'a', '1')
    await guest.remember('m')
    await guest.close()
    for (let round = 0; round < 10; round++) {
      const withGuest = round % 3 === 2
      await ground.connection.close()
      const last = await killedDaemon(uuid, (round * 137) % 1100, withGuest)
      await ground.reopen()
      const { domains, snapshots, blocks } = ground.connection
      const context = `killed ${withGuest ? 'with the guest ' : ''}after '${last}'`
      const [file = ''] = await ground.filesOf(uuid)
      assert.ok(existsSync(file), context)
      const before = await domains.get(uuid)
      if (before.state === 'shutoff') {
        await runChecked('qemu-img', ['check', '-q', '-r', 'leaks', '-f', 'qcow2', file])
        guest = await ground.boot(uuid)
        await guest.remember('m')
      } else {
        assert.equal(before.state, 'running', context)
        assert.deepEqual(await blocks.jobs(uuid), [], context)
        guest = await ground.talk(uuid)
        assert.equal(await guest.recall(), 'm', context)
      }
      assert.equal(await guest.read(1, 'a'), '1', context)
      // What is there can be gone back to, and all of it can be removed.
      for (const { name } of await snapshots.list(uuid)) {
        await guest.close()
        await snapshots.revert(uuid, name, { running: true })
        guest = await ground.talk(uuid)
        if ((await snapshots.get(uuid, name)).memory === 'no') await guest.write(1, 'z', 'z')
        assert.equal(await guest.read(1, 'a'), '1', `${context}, back at ${name}`)
      }
      // Images whose joining was cut short are joined with the next.
      await snapshots.create(uuid, { name: 'last', diskOnly: true })
      for (const { name } of await snapshots.list(uuid)) await snapshots.remove(uuid, name)
      assert.equal(await guest.read(1, 'a'), '1', context)
      await guest.remember('m')
      await guest.close()
      const [now] = await ground.filesOf(uuid)
      assert.deepEqual(await ground.overlays(), [], `${context}: ${now}`)
    }
  })
})

async function guestsIn(directory: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/u.test(pid)) continue
    const line = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')
    if (line.includes('qemu-system') && line.includes(`${directory}/run`)) found.push(Number(pid))
  }
  return found
}
