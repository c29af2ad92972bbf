/** What all work on the disks of domains shares: one thing at a time per domain, and how it is settled. */
import { rm, stat } from 'node:fs/promises'
import { unlessMissing } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Machine } from '../machine/machine.ts'
import type { Registry } from '../registry.ts'
import { type SnapshotTrees, withoutPending, withSnapshot } from '../snapshots/tree.ts'
import { type FileChange, recordFiles } from './change-disks.ts'
import { readChains, readGraph } from './graph.ts'
import { type DiskFile, fileOf, snapshotFile } from './image-files.ts'
import { endJobs, listJobs, ours } from './job.ts'
import { writeDownVolumes } from './write-down-volumes.ts'

export interface DiskWork {
  readonly context: Context
  readonly registry: Registry
  readonly trees: SnapshotTrees
  /** Does something that no other work on disks of this domain may come between; fails with `busy`. */
  exclusively<T>(uuid: string, what: string, work: () => Promise<T>): Promise<T>
}

export function diskWork(context: Context, registry: Registry, trees: SnapshotTrees): DiskWork {
  const underWay = new Map<string, string>()
  const shared: DiskWork = {
    context,
    registry,
    trees,
    async exclusively(uuid, what, work) {
      const { name } = registry.definition(uuid)
      const other = underWay.get(uuid)
      if (other !== undefined)
        throw new VisorError('busy', `The disks of domain '${name}' are busy with ${other}.`, {
          remedy: "Wait for it, or cancel it: 'visor jobs' shows it.",
          object: { kind: 'domain', name },
        })
      if (registry.isSaved(uuid))
        throw new VisorError(
          'invalid-state',
          `Domain '${name}' has a saved state, which fits only the disks as they are.`,
          { remedy: 'Start it to use the state up, or discard it, first.' },
        )
      underWay.set(uuid, what)
      try {
        // What could not be settled before, such as when QEMU did not answer, would be forgotten.
        if (trees.get(uuid).pending) await settle(shared, uuid)
        await writeDownVolumes(context, registry, uuid)
        return await work()
      } finally {
        underWay.delete(uuid)
      }
    },
  }
  return shared
}

/** The files that a domain has as its disks, now or at its next start. */
export function filesInUse(registry: Registry, uuid: string): Set<string> {
  const definitions = [registry.definition(uuid), registry.machine(uuid)?.details.definition]
  return new Set(
    definitions.flatMap((one) => one?.devices.disks.map((disk) => fileOf(disk)?.path ?? []) ?? []).flat(),
  )
}

/**
 * Brings definitions, snapshots and files together again after work on disks failed or was cut short: a machine
 * that runs says which files it has, and what was begun has happened or is undone accordingly.
 */
export async function settle(work: DiskWork, uuid: string): Promise<void> {
  const { registry, trees, context } = work
  const machine = registry.machine(uuid)
  if (machine) await recordFiles(registry, uuid, await findMoves(machine))
  const tree = trees.get(uuid)
  const { pending } = tree
  if (!pending) return
  const inUse = filesInUse(registry, uuid)
  const happened = pending.created.some((path) => inUse.has(path))
  const { created, beside = [], replaced = [], snapshot, current, internal } = pending
  if (internal)
    await removeInternal(machine, internal).catch((error) =>
      context.log.warn(
        { error: String(error) },
        'An internal snapshot that was cut short is left in its image.',
      ),
    )
  const made = happened ? [...tree.made, ...created.filter((path) => !beside.includes(path))] : tree.made
  let settled = withoutPending({
    ...tree,
    made: made.filter((path) => !(happened && replaced.includes(path))),
  })
  const isWhole = snapshot && (!snapshot.memoryFile || (await unlessMissing(stat(snapshot.memoryFile))))
  if (happened && snapshot && isWhole) settled = withSnapshot(settled, snapshot)
  if (happened && current !== undefined) settled = { ...settled, current }
  const useless = happened ? [...replaced, ...(snapshot && !isWhole ? beside : [])] : created
  // Forgotten last: who is killed here leaves them to the next.
  for (const path of useless) if (!inUse.has(path)) await rm(path, { recursive: true, force: true })
  await trees.put(uuid, settled)
}

/** Where a machine has other files open than its definition says. */
async function findMoves(machine: Machine): Promise<FileChange[]> {
  const chains = await readChains(machine)
  return machine.details.definition.devices.disks.flatMap((disk) => {
    const [image] = chains.get(disk.target) ?? []
    const from = fileOf(disk)
    // A transient disk has an overlay open that its definition never names.
    if (!image?.path || !from || image.path === from.path || disk.device !== 'disk' || disk.transient)
      return []
    const format = image.format === 'raw' ? 'raw' : 'qcow2'
    return [{ from: from.path, to: { type: 'file', path: image.path, format } satisfies DiskFile }]
  })
}

async function removeInternal(
  machine: Machine | undefined,
  { name, files }: { readonly name: string; readonly files: readonly string[] },
): Promise<void> {
  if (!machine) {
    for (const file of files) await snapshotFile('delete', name, file).catch(() => {})
    return
  }
  const chains = await readChains(machine)
  for (const [image] of chains.values())
    if (image.path !== undefined && files.includes(image.path))
      await machine.monitor.execute('blockdev-snapshot-delete-internal-sync', { device: image.node, name })
}

/** Settles what a daemon before left half done: jobs and nodes of ours are ended, machines that stood still go on. */
export async function settleAll(work: DiskWork): Promise<void> {
  const { registry, trees, context } = work
  for (const [uuid, machine] of registry.machines())
    await settleMachine(work, uuid, machine).catch(async (error: unknown) => {
      // One that ends meanwhile is settled below, as one that is off.
      const ends = machine.ended.then(() => true)
      if (await Promise.race([ends, new Promise((resolve) => setTimeout(resolve, 1_000))])) return
      context.log.error(
        { domain: machine.details.definition.name, error: String(error) },
        'Work on disks that was cut short could not be settled.',
      )
    })
  for (const [uuid, { pending }] of trees.all()) {
    if (!registry.defined.find(uuid))
      await trees.put(uuid, { snapshots: [], checkpoints: [], made: [], bases: [] })
    else if (pending && !registry.machine(uuid)) await settle(work, uuid)
  }
}

async function settleMachine(work: DiskWork, uuid: string, machine: Machine): Promise<void> {
  const jobs = (await listJobs(machine)).filter(({ id }) => id.startsWith(ours))
  const wasAtWork = jobs.length > 0 || machine.details.still || work.trees.get(uuid).pending
  if (!wasAtWork) return
  await endJobs(
    machine,
    jobs.map(({ id }) => id),
  )
  await settle(work, uuid)
  await removeNodes(machine, { stray: true })
  if (machine.details.still) {
    await machine.monitor.execute('cont')
    machine.setState({ state: 'running', reason: 'resumed' })
    await machine.record({ still: undefined })
  }
}

/**
 * Removes nodes that nothing uses: those of ours, and with `stray` all that hang on nothing. QEMU keeps those
 * that are in use.
 */
export async function removeNodes(
  machine: Machine,
  { only, stray = false }: { readonly only?: readonly string[]; readonly stray?: boolean } = {},
): Promise<void> {
  const names = only ?? (await listNodes(machine, stray))
  for (const name of names)
    await machine.monitor.execute('blockdev-del', { 'node-name': name }).catch(() => {})
}

async function listNodes({ monitor }: Machine, stray: boolean): Promise<string[]> {
  const { nodes, roots } = readGraph(await monitor.execute('x-debug-query-block-graph'))
  return nodes.filter(
    (name) => (name.startsWith(ours) && !name.endsWith('.file')) || (stray && roots.has(name)),
  )
}

/** The definition a domain has now: of the machine that runs, else of the next start. */
export function definitionNow(registry: Registry, uuid: string): CompleteDefinition {
  return registry.machine(uuid)?.details.definition ?? registry.definition(uuid)
}
