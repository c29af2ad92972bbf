/**
 * Gives a domain other images as its disks. The processors stand still from before QEMU changes over until the
 * definitions name the new files: whatever is killed at whatever moment, the definitions name files that have
 * all data, because nothing is written in between.
 */
import type { Machine } from '../machine/machine.ts'
import { isRecord, type QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { replaceFile } from '../snapshots/tree.ts'
import type { DiskFile } from './image-files.ts'

export interface FileChange {
  readonly from: string
  readonly to: DiskFile
}

/**
 * Does something while the processors stand still; a daemon that finds them so lets them go on. With `stops`,
 * the work itself makes them stand still.
 */
export async function whileStill<T>(
  machine: Machine,
  work: () => Promise<T>,
  { stops = false } = {},
): Promise<T> {
  if (machine.state.state !== 'running') return work().finally(() => stayPaused(machine))
  const { monitor } = machine
  const before = machine.state
  const intercept = ({ event }: QmpEvent) => event === 'STOP' || event === 'RESUME'
  await machine.record({ still: true })
  machine.interceptors.add(intercept)
  try {
    if (!stops) await monitor.execute('stop')
    return await work()
  } finally {
    await monitor
      .execute('cont', undefined, { timeoutMs: 60_000 })
      .then(() => machine.setState({ ...before, state: 'running' }))
      .catch(() => {})
    await machine.record({ still: undefined }).catch(() => {})
    machine.interceptors.delete(intercept)
  }
}

/**
 * A guest that was paused when its memory was written is paused as before: QEMU leaves it with its images given
 * away, and refuses to write its memory once more. It takes them back only by going on, so that the guest may run
 * for the moment between two commands that QEMU has both.
 */
export async function stayPaused(machine: Machine): Promise<void> {
  const { monitor, interceptors } = machine
  const answer = await monitor.execute('query-status')
  if (!isRecord(answer) || answer.status !== 'postmigrate') return
  const intercept = ({ event }: QmpEvent) => event === 'STOP' || event === 'RESUME'
  interceptors.add(intercept)
  try {
    await Promise.all([monitor.execute('cont'), monitor.execute('stop')])
  } finally {
    interceptors.delete(intercept)
  }
}

/** Writes the new files into the definitions: what the next start uses, and what runs. */
export async function recordFiles(
  registry: Registry,
  uuid: string,
  changes: readonly FileChange[],
): Promise<void> {
  if (changes.length === 0) return
  const entry = registry.defined.get(uuid)
  const change = (definition: typeof entry.definition) =>
    changes.reduce((done, { from, to }) => replaceFile(done, from, to), definition)
  await registry.defined.put({ ...entry, definition: change(entry.definition) })
  const machine = registry.machine(uuid)
  await machine?.record({ definition: change(machine.details.definition) })
  registry.tell(uuid, { type: 'changed', reason: 'disks' })
}
