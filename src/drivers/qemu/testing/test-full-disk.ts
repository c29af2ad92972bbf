/**
 * For tests, in a mount namespace of its own: a domain whose overlays and copies are on a file system with next
 * to no room. Prints what came of it as JSON.
 */
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { runChecked } from '../../../host/index.ts'
import { toVisorError } from '../../../model/index.ts'
import { openDiskGround } from './test-disk-ground.ts'

export const fullDisk = import.meta.filename

async function fill(): Promise<void> {
  const ground = await openDiskGround()
  const { domains, snapshots, blocks } = ground.connection
  const small = join(ground.directory, 'small')
  await mkdir(small)
  await runChecked('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small])
  const uuid = await ground.define('raw')
  const guest = await ground.boot(uuid)
  for (const place of 'abcdefghijklmnopqrst') await guest.write(1, place, place)
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (error: unknown) => toVisorError(error).code,
    )
  const file = join(small, 'copy.qcow2')
  const copied = await codeOf(blocks.copy(uuid, { disk: 'vdb', file, pivot: true }))
  const backedUp = await codeOf(blocks.backup(uuid, { disks: [{ disk: 'vdb', file }] }))
  await runChecked('mount', ['--bind', small, join(ground.directory, 'state', 'qemu', 'snapshots')]).catch(
    async () => {
      await mkdir(join(ground.directory, 'state', 'qemu', 'snapshots'), { recursive: true })
      await runChecked('mount', ['--bind', small, join(ground.directory, 'state', 'qemu', 'snapshots')])
    },
  )
  await runChecked('dd', ['if=/dev/zero', `of=${join(small, 'ballast')}`, 'bs=1k', 'count=900'])
  const saved = await domains.save(uuid, { file: join(small, 'saved, state') }).then(
    () => 'done',
    (error: unknown) => toVisorError(error).message.replace(small, ''),
  )
  const dumped = await codeOf(domains.coreDump(uuid, { file: join(small, 'core') }))
  const taken = await codeOf(snapshots.create(uuid, { name: 'one' }))
  const { state } = await domains.get(uuid)
  const read = await guest.read(1, 't')
  const [now] = await ground.filesOf(uuid)
  const left = (await readdir(small, { recursive: true })).filter((name) =>
    /copy|state|core|saved/u.test(name),
  )
  const known = (await snapshots.list(uuid)).length + (await ground.overlays()).length
  await guest.close()
  await domains.destroy(uuid)
  process.stdout.write(
    `${JSON.stringify({ saved, copied, backedUp, dumped, taken, state, read, left, known, same: now?.endsWith('.raw') })}\n`,
  )
  for (const path of [join(ground.directory, 'state', 'qemu', 'snapshots'), small])
    await runChecked('umount', [path])
  await ground.close()
}

if (import.meta.main) await fill()
