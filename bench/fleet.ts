import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { CompleteConnection } from '../src/index.ts'
import { guestNames, makeGuest, visorDefinition } from './guest.ts'
import type { Workbench } from './harness.ts'
import { openVisord, type Visord } from './ours/visord.ts'

/** A visord with so many machines that run, each with a disk of its own, and do nothing. */
export async function openFleet(bench: Workbench, count: number): Promise<Visord> {
  const visord = await openVisord(bench, 'fleet')
  bench.defer(() => destroyAll(visord.connection))
  await startMore(bench, visord.connection, count)
  return visord
}

/** Starts so many more. */
export async function startMore(
  bench: Workbench,
  { domains }: CompleteConnection,
  count: number,
): Promise<void> {
  const there = (await domains.list()).length
  for (const name of guestNames(there + count).slice(there)) {
    const directory = join(bench.directory, name)
    await mkdir(directory)
    const { disk } = await makeGuest(directory)
    const { uuid } = await domains.define({ ...visorDefinition({ name, disk }), memoryKiB: 64 * 1024 })
    await domains.start(uuid)
  }
}

async function destroyAll({ domains }: CompleteConnection): Promise<void> {
  for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
}
