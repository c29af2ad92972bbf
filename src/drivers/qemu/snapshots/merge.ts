/**
 * Joins images that no snapshot and no definition needs by themselves any more:
 *
 *     base <-- a <-- b (in use)     the snapshot that owned `a` is gone:   base <-- a' (in use, has b's data)
 *
 * A file that two go on from stays as it is, until one of them is gone; one that a template is based on, until that
 * is gone. What is left undone, because it was cut
 * short or failed, is done the next time: it is found from the files themselves.
 */

import { rm, stat } from 'node:fs/promises'
import { unlessMissing } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { recordFiles } from '../block/change-disks.ts'
import { type DiskWork, filesInUse } from '../block/disk-work.ts'
import { type FoldOptions, findOpen, foldLive, foldOffline } from '../block/fold.ts'
import { type DiskFile, fileOf, inspectImage } from '../block/image-files.ts'
import { readDiskImage } from '../disks/disk-image.ts'
import { locateVolumes } from '../disks/volume-disks.ts'
import { keptFile, ownersOf, replaceInTree, type SnapshotTree } from './tree.ts'

interface KnownFile extends DiskFile {
  readonly made: boolean
  /** Path of the file it is based on. */
  readonly backing: string | undefined
}

/** Joins what can be joined, and removes overlays of ours that nothing needs. */
export async function collapse(work: DiskWork, uuid: string, options: FoldOptions): Promise<void> {
  // Who was killed between the two of them has removed what it had not yet forgotten.
  for (const path of work.trees.get(uuid).made)
    if (!(await unlessMissing(stat(path)))) await forget(work, uuid, path)
  for (;;) {
    const files = await readKnown(work.trees.get(uuid))
    const useless = findUseless(work, uuid, files)
    if (useless) {
      await rm(useless.path, { force: true })
      await forget(work, uuid, useless.path)
      continue
    }
    const pair = await findPair(work, uuid, files)
    if (!pair) break
    await fold(work, uuid, pair, files, options)
  }
  const tree = work.trees.get(uuid)
  if (tree.made.length === 0 && tree.snapshots.length === 0)
    await work.trees.put(uuid, { ...tree, bases: [] })
}

/** The files of a tree, those that are there. */
async function readKnown({ made, bases, snapshots }: SnapshotTree): Promise<KnownFile[]> {
  const owned = snapshots.flatMap((one) => one.disks.flatMap(({ name }) => keptFile(one, name) ?? []))
  const all = [
    ...made.map((path) => ({ type: 'file', path, format: 'qcow2' }) as const),
    ...bases,
    ...owned,
  ].filter((file, index, list) => list.findIndex(({ path }) => path === file.path) === index)
  const known: KnownFile[] = []
  for (const file of all) {
    if (!(await unlessMissing(stat(file.path)))) continue
    const backing = file.format === 'qcow2' ? (await inspectImage(file, { shared: true })).backing : undefined
    known.push({ ...file, made: made.includes(file.path), backing })
  }
  return known
}

/** An overlay of ours that is nobody's. */
function findUseless(
  { context, registry, trees }: DiskWork,
  uuid: string,
  files: readonly KnownFile[],
): KnownFile | undefined {
  const inUse = filesInUse(registry, uuid)
  const tree = trees.get(uuid)
  return files.find(
    ({ path, made }) =>
      made &&
      !context.frozen.has(path) &&
      !inUse.has(path) &&
      ownersOf(tree, path).length === 0 &&
      !files.some((one) => one.backing === path),
  )
}

interface Pair {
  readonly top: KnownFile
  readonly base: KnownFile
}

/** A file that is nobody's, and the only one that is based on it. */
async function findPair(
  work: DiskWork,
  uuid: string,
  files: readonly KnownFile[],
): Promise<Pair | undefined> {
  const tree = work.trees.get(uuid)
  const inUse = filesInUse(work.registry, uuid)
  for (const base of files) {
    if (inUse.has(base.path) || isOwned(tree, base.path)) continue
    const [top, another] = files.filter(({ backing }) => backing === base.path)
    // What is kept within an image would go with it.
    if (!top?.made || another || hasInternal(tree, top.path)) continue
    if (work.context.frozen.has(base.path) || work.context.frozen.has(top.path)) continue
    if ((await findUserElsewhere(work, uuid, base.path)) !== undefined) continue
    return { top, base }
  }
  return undefined
}

/** Whether a snapshot is what this file has; what is within an image stays as it is when more is written to it. */
function isOwned({ snapshots }: SnapshotTree, path: string): boolean {
  return snapshots.some((one) =>
    one.disks.some(({ name, snapshot }) => snapshot === 'external' && keptFile(one, name)?.path === path),
  )
}

function hasInternal({ snapshots }: SnapshotTree, path: string): boolean {
  return snapshots.some((one) =>
    one.disks.some(({ name, snapshot }) => snapshot === 'internal' && keptFile(one, name)?.path === path),
  )
}

/** The name of another domain with a disk, now or at its next start, that is, or is based on, this file. */
export async function findUserElsewhere(
  { context, registry }: DiskWork,
  uuid: string,
  path: string,
): Promise<string | undefined> {
  const running = [...registry.machines()].map(([, { details }]) => details.definition)
  for (const definition of [...[...registry.defined.all()].map((one) => one.definition), ...running]) {
    if (definition.uuid === uuid) continue
    // A volume that cannot be found now is based on nothing that could be lost by it.
    const located = await locateVolumes(context, definition).catch(() => definition)
    for (const disk of located.devices.disks) {
      const file = fileOf(disk)
      if (!file) continue
      let image = await readDiskImage(file.path, file.format).catch(() => undefined)
      for (; image; image = image.backing) if (image.path === path) return definition.name
    }
  }
  return undefined
}

/** Fails with `invalid-state`, naming the domain, when another has a disk that is based on this file. */
export async function refuseUsedElsewhere(work: DiskWork, uuid: string, path: string): Promise<void> {
  const user = await findUserElsewhere(work, uuid, path)
  if (user === undefined) return
  throw new VisorError('invalid-state', `Domain '${user}' has a disk that is based on '${path}'.`, {
    object: { kind: 'domain', name: user },
    remedy: `Make that disk whole first ('visor block pull ${user} DISK'), or undefine '${user}'.`,
  })
}

async function fold(
  work: DiskWork,
  uuid: string,
  { top, base }: Pair,
  files: readonly KnownFile[],
  options: FoldOptions,
): Promise<void> {
  const machine = work.registry.machine(uuid)
  const target = await findOpen(machine, [top.path])
  if (machine && target !== undefined) await foldLive(work, machine, { target, top, base }, options)
  else {
    const above = files.filter(({ backing }) => backing === top.path).map(({ path }) => path)
    await foldOffline(top, base, above, options)
    await recordFiles(work.registry, uuid, [{ from: top.path, to: bare(base) }])
  }
  await work.trees.put(uuid, replaceInTree(work.trees.get(uuid), top.path, bare(base)))
  await rm(top.path, { force: true })
  await forget(work, uuid, top.path)
}

const bare = ({ type, path, format }: DiskFile): DiskFile => ({ type, path, format })

async function forget({ trees }: DiskWork, uuid: string, path: string): Promise<void> {
  const tree = trees.get(uuid)
  await trees.put(uuid, {
    ...tree,
    made: tree.made.filter((one) => one !== path),
    bases: tree.bases.filter((one) => one.path !== path),
  })
}
