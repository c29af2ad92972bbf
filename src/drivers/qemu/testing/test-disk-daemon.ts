/**
 * A daemon for tests, to be killed: works on the disks of a domain that runs, one thing after another for ever,
 * and says on stdout what it begins and what is done.
 */
import { join } from 'node:path'
import { openTestDriver } from './test-daemon.ts'

export const diskDaemon = import.meta.filename

async function live(directory: string, uuid: string): Promise<void> {
  const { snapshots, blocks, domains } = await openTestDriver(directory)
  const act = async (what: string, work: () => Promise<unknown>) => {
    process.stdout.write(`begin ${what}\n`)
    await work()
    process.stdout.write(`done ${what}\n`)
  }
  for (const { name } of await snapshots.list(uuid)) await snapshots.remove(uuid, name)
  if ((await domains.get(uuid)).state === 'shutoff') await domains.start(uuid)
  for (let round = 0; ; round++) {
    const file = join(directory, `moved-${process.pid}-${round}.qcow2`)
    await act('create one', () => snapshots.create(uuid, { name: 'one' }))
    await act('create two', () => snapshots.create(uuid, { name: 'two', diskOnly: true }))
    await act('revert', () => snapshots.revert(uuid, 'one'))
    await act('remove', () => snapshots.remove(uuid, 'one', { children: true }))
    await act('inside', () => snapshots.create(uuid, { name: 'in', kind: 'internal' }))
    await act('remove inside', () => snapshots.remove(uuid, 'in'))
    await act('copy', () => blocks.copy(uuid, { disk: 'vdb', file, pivot: true }))
  }
}

const [, , directory, uuid] = process.argv
if (import.meta.main && directory && uuid) await live(directory, uuid)
