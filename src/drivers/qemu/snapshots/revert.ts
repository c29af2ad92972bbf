/**
 * Takes a domain back to a snapshot. The files of a snapshot are never written to: an external one is gone back
 * to in new overlays, an internal one only while nothing is based on its image.
 */
import { dirname } from 'node:path'
import type { RevertSnapshotOptions } from '../../../driver/index.ts'
import { VisorError } from '../../../model/index.ts'
import { type DiskWork, filesInUse, settle } from '../block/disk-work.ts'
import { readChains } from '../block/graph.ts'
import { type DiskFile, freePath, inspectImage, makeImage, snapshotFile } from '../block/image-files.ts'
import { refuseFrozenFiles } from '../block/refuse-frozen.ts'
import { newGeneration, withGeneration } from '../board/generation-id.ts'
import { type CompleteDefinition, completeDefinition } from '../definition/definition.ts'
import { readDiskImage } from '../disks/disk-image.ts'
import { launch } from '../machine/launch.ts'
import type { Machine } from '../machine/machine.ts'
import { openSavedState } from '../machine/saved-state.ts'
import { dropCheckpoints } from './checkpoints.ts'
import { restoreFirmware } from './firmware-state.ts'
import { runSnapshotJob, tagOf } from './internal.ts'
import { snapshotDirectory } from './keep.ts'
import { collapse, refuseUsedElsewhere } from './merge.ts'
import { findSnapshot, type KeptSnapshot, keptFile, replaceFile, withoutPending } from './tree.ts'

export function snapshotReversion(work: DiskWork) {
  const { registry, trees } = work

  return async function revert(
    uuid: string,
    name: string,
    options: RevertSnapshotOptions = {},
  ): Promise<void> {
    return work.exclusively(uuid, 'going back to a snapshot', async () => {
      const kept = findSnapshot(trees.get(uuid), name)
      const plan = await prepare(work, uuid, kept)
      const before = registry.defined.get(uuid)
      try {
        await goBack(work, uuid, kept, plan, options)
      } catch (error) {
        if (!registry.machine(uuid)) await registry.defined.put(before).catch(() => {})
        await settle(work, uuid)
        throw error
      }
      registry.tell(uuid, { type: 'changed', reason: 'snapshot' })
      await collapse(work, uuid, { ...(options.signal ? { signal: options.signal } : {}) })
    })
  }
}

interface Way {
  readonly definition: CompleteDefinition
  readonly inactive: CompleteDefinition
  /** New overlays, and the files of the snapshot below them. */
  readonly overlays: readonly { readonly path: string; readonly base: DiskFile; readonly sizeBytes: number }[]
  /** Images that are taken back within themselves. */
  readonly internal: readonly DiskFile[]
}

/** Checks all that could stand in the way, before anything is lost; makes nothing. */
async function prepare(work: DiskWork, uuid: string, kept: KeptSnapshot): Promise<Way> {
  const { registry, context } = work
  const { name } = registry.definition(uuid)
  const generation = newGeneration()
  let definition = withGeneration({ ...kept.definition, name }, generation)
  let inactive = withGeneration({ ...kept.inactive, name }, generation)
  const overlays: { path: string; base: DiskFile; sizeBytes: number }[] = []
  const internal: DiskFile[] = []
  for (const { name: target, snapshot } of kept.disks) {
    const file = keptFile(kept, target)
    if (!file) {
      checkUntouched(work, uuid, kept, target)
      continue
    }
    await readDiskImage(file.path, file.format)
    if (snapshot === 'internal') {
      refuseFrozenFiles(context, [file])
      await refuseUsedElsewhere(work, uuid, file.path)
      await checkInternal(work, uuid, kept, file)
      internal.push(file)
      continue
    }
    const { sizeBytes } = await inspectImage(file, { shared: true })
    const directory = file.type === 'file' ? dirname(file.path) : snapshotDirectory(work, uuid)
    const taken = new Set(overlays.map((one) => one.path))
    const path = await freePath(directory, file.path, kept.name, taken)
    overlays.push({ path, base: file, sizeBytes })
    const to = { type: 'file', path, format: 'qcow2' } as const
    definition = replaceFile(definition, file.path, to)
    inactive = replaceFile(inactive, file.path, to)
  }
  await completeDefinition(structuredClone(definition), context).catch((cause: unknown) => {
    throw new VisorError(
      'unsupported-config',
      `The machine of the snapshot '${kept.name}' cannot be had here any more: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    )
  })
  if (kept.memoryFile !== undefined) await (await openSavedState(kept.memoryFile)).file.close()
  return { definition, inactive, overlays, internal }
}

/** A disk that the snapshot has not, as its definition names it, must not be what others are based on. */
function checkUntouched({ trees }: DiskWork, uuid: string, kept: KeptSnapshot, target: string): void {
  const disk = kept.definition.devices.disks.find((one) => one.target === target)
  const path = disk?.file ?? disk?.block
  if (path === undefined || disk?.readonly || disk?.device !== 'disk') return
  const owners = trees
    .get(uuid)
    .snapshots.filter((one) => keptFile(one, target)?.path === path)
    .map((one) => one.name)
  if (owners.length > 0)
    throw new VisorError(
      'invalid-state',
      `The snapshot '${kept.name}' has nothing of the disk '${target}', whose file belongs to the snapshot '${owners[0]}' now.`,
      { remedy: `Remove the snapshot '${owners[0]}' first.` },
    )
}

async function checkInternal(
  work: DiskWork,
  uuid: string,
  kept: KeptSnapshot,
  file: DiskFile,
): Promise<void> {
  const { made, snapshots } = work.trees.get(uuid)
  const facts = await inspectImage(file, { shared: true })
  if (!facts.internalSnapshots.includes(tagOf(kept.name)))
    throw new VisorError('failed', `The image '${file.path}' has no snapshot '${kept.name}' in it any more.`)
  for (const path of made) {
    if (path === file.path) continue
    const { backing } = await inspectImage({ path, format: 'qcow2' }, { shared: true }).catch(() => ({
      backing: undefined,
    }))
    if (backing === file.path)
      throw new VisorError(
        'invalid-state',
        `'${path}' is based on '${file.path}', which the snapshot '${kept.name}' is in.`,
        {
          remedy: `Remove the snapshots that were made after it first: ${snapshots
            .filter((one) => one.disks.some(({ snapshot }) => snapshot === 'external'))
            .map((one) => one.name)
            .join(', ')}.`,
        },
      )
  }
}

async function goBack(
  work: DiskWork,
  uuid: string,
  kept: KeptSnapshot,
  way: Way,
  { running, paused, signal, progress }: RevertSnapshotOptions,
): Promise<void> {
  const { registry, trees } = work
  const call = { ...(signal ? { signal } : {}), ...(progress ? { progress } : {}) }
  const machine = registry.machine(uuid)
  const wanted = running
    ? 'running'
    : paused
      ? 'paused'
      : kept.state === 'disk-snapshot'
        ? 'shutoff'
        : kept.state
  if (machine && (await loadInPlace(work, machine, kept, way, wanted === 'running', call))) return
  const created = way.overlays.map(({ path }) => path)
  const replaced = trees
    .get(uuid)
    .made.filter((path) => filesInUse(registry, uuid).has(path) && !isOwned(work, uuid, path))
    .filter((path) => !work.context.frozen.has(path))
  await trees.put(uuid, { ...trees.get(uuid), pending: { created, replaced, current: kept.name } })
  for (const { path, base, sizeBytes } of way.overlays)
    await makeImage(path, { format: 'qcow2', sizeBytes, backing: base })
  await machine?.kill('destroyed')
  await restoreFirmware(way.definition, work.context.paths.of(uuid), kept)
  await dropCheckpoints(work, uuid)
  if (kept.memory !== 'internal')
    for (const { path } of way.internal) await snapshotFile('apply', tagOf(kept.name), path)
  await registry.defined.put({ ...registry.defined.get(uuid), definition: way.inactive })
  if (wanted !== 'shutoff') await startFrom(work, uuid, kept, way, wanted, call)
  else if (kept.memory === 'internal')
    for (const { path } of way.internal) await snapshotFile('apply', tagOf(kept.name), path)
  await settle(work, uuid)
  if (way.overlays.length === 0)
    await trees.put(uuid, { ...withoutPending(trees.get(uuid)), current: kept.name })
}

function isOwned({ trees }: DiskWork, uuid: string, path: string): boolean {
  return trees
    .get(uuid)
    .snapshots.some((one) => one.disks.some(({ name }) => keptFile(one, name)?.path === path))
}

type Call = Pick<RevertSnapshotOptions, 'signal' | 'progress'>

/** Loads an internal snapshot into the machine that runs, when it is the same machine; false when it is not. */
async function loadInPlace(
  work: DiskWork,
  machine: Machine,
  kept: KeptSnapshot,
  { definition, internal }: Way,
  go: boolean,
  call: Call,
): Promise<boolean> {
  const { uuid } = definition
  // A QEMU that runs tells its guest no other generation.
  if (kept.memory !== 'internal' || definition.genid !== undefined) return false
  if (JSON.stringify(machine.details.definition.devices) !== JSON.stringify(definition.devices)) return false
  await dropCheckpoints(work, uuid)
  await machine.monitor.execute('stop')
  await loadState(machine, kept, internal, call)
  const { registry, trees } = work
  await registry.defined.put({
    ...registry.defined.get(uuid),
    definition: { ...kept.inactive, name: definition.name },
  })
  await trees.put(uuid, { ...trees.get(uuid), current: kept.name })
  if (go) await machine.monitor.execute('cont')
  machine.setState(go ? { state: 'running', reason: 'restored' } : { state: 'paused', reason: 'user' })
  await machine.record({ paused: !go })
  return true
}

async function loadState(
  machine: Machine,
  kept: KeptSnapshot,
  internal: readonly DiskFile[],
  call: Call,
): Promise<void> {
  const chains = [...(await readChains(machine)).values()]
  const nodes = chains.flatMap(([{ path, node }]) =>
    internal.some((file) => file.path === path) ? [node] : [],
  )
  await runSnapshotJob(machine, 'snapshot-load', tagOf(kept.name), nodes, call)
}

/** Starts the machine of the snapshot: with its memory where it has that, else by booting. */
async function startFrom(
  work: DiskWork,
  uuid: string,
  kept: KeptSnapshot,
  { definition, inactive, internal }: Way,
  wanted: string,
  call: Call,
): Promise<void> {
  const { context, registry } = work
  const paused = wanted === 'paused'
  const saved = kept.memoryFile === undefined ? undefined : await openSavedState(kept.memoryFile)
  try {
    const loads = kept.memory === 'internal'
    const machine = await launch(context, {
      definition: kept.memory === 'no' ? inactive : definition,
      id: registry.nextId(),
      paused: paused || loads,
      ...(saved
        ? { incoming: { source: saved.file, id: saved.machine.id, sizeBytes: saved.sizeBytes } }
        : {}),
      ...call,
      tell: registry.tellFrom(uuid),
    })
    if (loads) await resumeFrom(machine, kept, internal, paused, call)
    registry.admit(uuid, machine, { type: 'started', reason: kept.memory === 'no' ? 'booted' : 'restored' })
    await machine.record({ restoring: undefined })
  } finally {
    await saved?.file.close()
  }
}

async function resumeFrom(
  machine: Machine,
  kept: KeptSnapshot,
  internal: readonly DiskFile[],
  paused: boolean,
  call: Call,
): Promise<void> {
  try {
    await loadState(machine, kept, internal, call)
    if (paused) return
    await machine.monitor.execute('cont')
    machine.setState({ state: 'running', reason: 'restored' })
    await machine.record({ paused: false })
  } catch (error) {
    await machine.kill('failed')
    throw error
  }
}
