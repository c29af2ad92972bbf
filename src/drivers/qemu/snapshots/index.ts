/** Snapshots and checkpoints of domains. */
import type { Checkpoints, Snapshots } from '../../../driver/index.ts'
import type { DiskWork } from '../block/disk-work.ts'
import { createCheckpoint, describeCheckpoints, findCheckpoint, removeCheckpoint } from './checkpoints.ts'
import { snapshotCreation } from './create.ts'
import { checkpointDefinition, snapshotDefinition } from './definitions.ts'
import { snapshotRemoval } from './remove.ts'
import { snapshotReversion } from './revert.ts'
import { describeSnapshot, findSnapshot } from './tree.ts'

export { keepingSnapshots } from './keep.ts'

export function snapshotParts(work: DiskWork): {
  snapshots: Required<Snapshots>
  checkpoints: Required<Checkpoints>
} {
  const { registry, trees } = work
  return {
    snapshots: {
      async list(uuid) {
        registry.definition(uuid)
        const tree = trees.get(uuid)
        return tree.snapshots.map((one) => describeSnapshot(uuid, tree, one))
      },
      async get(uuid, name) {
        registry.definition(uuid)
        const tree = trees.get(uuid)
        return describeSnapshot(uuid, tree, findSnapshot(tree, name))
      },
      async describe(uuid, name) {
        registry.definition(uuid)
        return snapshotDefinition(findSnapshot(trees.get(uuid), name))
      },
      create: snapshotCreation(work),
      revert: snapshotReversion(work),
      remove: snapshotRemoval(work),
    },
    checkpoints: {
      list: (uuid) => describeCheckpoints(work, uuid),
      async describe(uuid, name) {
        const found = findCheckpoint(work, uuid, name)
        const { disks } = (await describeCheckpoints(work, uuid)).find((one) => one.name === name) ?? {
          disks: [],
        }
        return checkpointDefinition(found, disks, registry.definition(uuid))
      },
      create: (uuid, options = {}) =>
        work.exclusively(uuid, 'a checkpoint', () => createCheckpoint(work, uuid, options)),
      remove: (uuid, name) =>
        work.exclusively(uuid, 'the removal of a checkpoint', () => removeCheckpoint(work, uuid, name)),
    },
  }
}
