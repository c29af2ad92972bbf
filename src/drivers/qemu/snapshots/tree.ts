/**
 * What is kept of a domain's snapshots and checkpoints: one entry of the store, so that it changes as a whole.
 *
 *     base.qcow2 <--- web.first.overlay <--- web.second.overlay
 *     is 'first'      is 'second'            is in use
 *
 * A snapshot owns the file that was in use when it was taken; nothing is written to that file until the
 * snapshot is gone.
 */
import type { Store } from '../../../driver/index.ts'
import { type Checkpoint, notFound, type Snapshot, VisorError } from '../../../model/index.ts'
import { type DiskFile, fileOf, withFile } from '../block/image-files.ts'
import type { CompleteDefinition } from '../definition/definition.ts'

/** What a snapshot has of a disk; its file is the one that the snapshot's definition names. */
export interface KeptDisk {
  readonly name: string
  readonly snapshot: 'no' | 'internal' | 'external'
  readonly overlay?: string
}

export interface KeptSnapshot
  extends Pick<
    Snapshot,
    'name' | 'description' | 'parent' | 'createdAt' | 'state' | 'memory' | 'memoryFile'
  > {
  readonly disks: readonly KeptDisk[]
  /** Folder with the variables of the firmware and the state of the TPM, where the memory has them not. */
  readonly firmware?: string
  /** Of the machine that ran, else what the next start would have used. */
  readonly definition: CompleteDefinition
  /** What the next start would have used. */
  readonly inactive: CompleteDefinition
}

export type KeptCheckpoint = Pick<Checkpoint, 'name' | 'description' | 'parent' | 'createdAt'> & {
  /** Target names. */
  readonly disks: readonly string[]
}

export interface SnapshotTree {
  readonly current?: string
  /** Parents before children. */
  readonly snapshots: readonly KeptSnapshot[]
  /** Oldest first. */
  readonly checkpoints: readonly KeptCheckpoint[]
  /** Overlays that were made for snapshots, to be removed when nothing needs them. */
  readonly made: readonly string[]
  /** Files that snapshots were taken of, to be joined with what is above them when nothing needs them. */
  readonly bases: readonly DiskFile[]
  readonly pending?: Pending
}

/** Under way. It has happened once the domain has one of `created` as its disk; else nothing has. */
export interface Pending {
  /** Files that were made for it. */
  readonly created: readonly string[]
  /** Those of them that no disk has. */
  readonly beside?: readonly string[]
  /** An internal snapshot that is being taken, and the images it is in; it never happened. */
  readonly internal?: { readonly name: string; readonly files: readonly string[] }
  /** Files that are of no use once it has happened. */
  readonly replaced?: readonly string[]
  /** Added once it has happened. */
  readonly snapshot?: KeptSnapshot
  /** The current one once it has happened. */
  readonly current?: string
}

const emptyTree: SnapshotTree = { snapshots: [], checkpoints: [], made: [], bases: [] }
const prefix = 'qemu/snapshots/'

export interface SnapshotTrees {
  get(uuid: string): SnapshotTree
  put(uuid: string, tree: SnapshotTree): Promise<void>
  all(): Iterable<[string, SnapshotTree]>
}

export async function openTrees(store: Store): Promise<SnapshotTrees> {
  const trees = new Map<string, SnapshotTree>()
  for (const { key, value } of await store.list(prefix))
    trees.set(key.slice(prefix.length), value as SnapshotTree)
  return {
    get: (uuid) => trees.get(uuid) ?? emptyTree,
    all: () => trees.entries(),
    async put(uuid, tree) {
      const { snapshots, checkpoints, made, pending } = tree
      const isEmpty = snapshots.length + checkpoints.length + made.length === 0 && !pending
      await store.write([{ key: prefix + uuid, value: isEmpty ? undefined : tree }])
      if (isEmpty) trees.delete(uuid)
      else trees.set(uuid, tree)
    },
  }
}

/** Fails with `not-found`. */
export function findSnapshot(tree: SnapshotTree, name: string): KeptSnapshot {
  const found = tree.snapshots.find((one) => one.name === name)
  if (found) return found
  throw new VisorError('not-found', notFound('snapshot', name).message, {
    remedy:
      tree.snapshots.length > 0
        ? `There are: ${tree.snapshots.map((one) => one.name).join(', ')}.`
        : 'The domain has no snapshots.',
    object: { kind: 'snapshot', name },
  })
}

/** Those below a snapshot, children before their parents. */
export function descendantsOf(tree: SnapshotTree, name: string): KeptSnapshot[] {
  return tree.snapshots
    .filter(({ parent }) => parent === name)
    .flatMap((child) => [...descendantsOf(tree, child.name), child])
}

/** The tree without a snapshot; its children become those of its parent. */
export function withoutSnapshot(tree: SnapshotTree, name: string): SnapshotTree {
  const { parent } = findSnapshot(tree, name)
  const snapshots = tree.snapshots
    .filter((one) => one.name !== name)
    .map((one) => (one.parent === name ? withParent(one, parent) : one))
  const { current, ...rest } = tree
  const next = current === name ? parent : current
  return { ...rest, ...(next === undefined ? {} : { current: next }), snapshots }
}

function withParent(snapshot: KeptSnapshot, parent: string | undefined): KeptSnapshot {
  const { parent: _, ...rest } = snapshot
  return parent === undefined ? rest : { ...rest, parent }
}

/** The tree with a new snapshot, the current one from now on. */
export function withSnapshot(tree: SnapshotTree, snapshot: KeptSnapshot): SnapshotTree {
  return { ...tree, snapshots: [...tree.snapshots, snapshot], current: snapshot.name }
}

export function withoutPending({ pending: _, ...rest }: SnapshotTree): SnapshotTree {
  return rest
}

/** The file a snapshot has of a disk; undefined when it has nothing of it. */
export function keptFile(snapshot: KeptSnapshot, target: string): DiskFile | undefined {
  const kept = snapshot.disks.find(({ name }) => name === target)
  if (!kept || kept.snapshot === 'no') return undefined
  const disk = snapshot.definition.devices.disks.find((one) => one.target === target)
  return disk && fileOf(disk)
}

/** A definition in which `to` stands wherever `from` stood. */
export function replaceFile(definition: CompleteDefinition, from: string, to: DiskFile): CompleteDefinition {
  const disks = definition.devices.disks.map((disk) =>
    fileOf(disk)?.path === from ? withFile(disk, to) : disk,
  )
  return { ...definition, devices: { ...definition.devices, disks } }
}

/** The tree after the data of file `from` has gone into `to`. */
export function replaceInTree(tree: SnapshotTree, from: string, to: DiskFile): SnapshotTree {
  const snapshots = tree.snapshots.map((one) => ({
    ...one,
    definition: replaceFile(one.definition, from, to),
    inactive: replaceFile(one.inactive, from, to),
    disks: one.disks.map((disk) => (disk.overlay === from ? { ...disk, overlay: to.path } : disk)),
  }))
  return { ...tree, snapshots }
}

/** Names of the snapshots that own a file. */
export function ownersOf(tree: SnapshotTree, path: string): string[] {
  return tree.snapshots
    .filter((one) => one.disks.some(({ name }) => keptFile(one, name)?.path === path))
    .map(({ name }) => name)
}

/** As users see it. */
export function describeSnapshot(uuid: string, tree: SnapshotTree, kept: KeptSnapshot): Snapshot {
  const { name, description, parent, createdAt, state, memory, memoryFile, disks } = kept
  return {
    name,
    ...(description === undefined ? {} : { description }),
    domain: uuid,
    ...(parent === undefined ? {} : { parent }),
    current: tree.current === name,
    createdAt,
    state,
    memory,
    ...(memoryFile === undefined ? {} : { memoryFile }),
    disks: disks.map((disk) => {
      const file = keptFile(kept, disk.name)?.path
      return { ...disk, ...(file === undefined ? {} : { file }) }
    }),
  }
}
