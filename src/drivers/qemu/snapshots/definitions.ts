/** Snapshots and checkpoints in libvirt's words. */
import type { Checkpoint, CheckpointDefinition, SnapshotDefinition } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { KeptCheckpoint, KeptSnapshot } from './tree.ts'

const seconds = (time: string) => Math.floor(Date.parse(time) / 1000)

export function snapshotDefinition(kept: KeptSnapshot): SnapshotDefinition {
  const { name, description, state, parent, createdAt, memory, memoryFile, disks, definition, inactive } =
    kept
  return {
    name,
    ...(description !== undefined && { description }),
    state,
    ...(parent !== undefined && { parent }),
    creationTime: seconds(createdAt),
    memory,
    ...(memoryFile !== undefined && { memoryFile }),
    disks: disks.map(({ name: target, snapshot, overlay }) => ({
      name: target,
      snapshot,
      ...(overlay !== undefined && { type: 'file' as const, format: 'qcow2', file: overlay }),
    })),
    domain: definition,
    // Only a machine that ran can differ from what its next start would have used.
    ...(memory !== 'no' && { inactiveDomain: inactive }),
  }
}

/** The disks of the domain that it is not of are named as such. */
export function checkpointDefinition(
  { name, description, parent, createdAt }: KeptCheckpoint,
  disks: Checkpoint['disks'],
  { devices }: CompleteDefinition,
): CheckpointDefinition {
  return {
    name,
    ...(description !== undefined && { description }),
    ...(parent !== undefined && { parent }),
    creationTime: seconds(createdAt),
    disks: devices.disks.map(({ target }) => {
      const found = disks.find((one) => one.name === target)
      if (!found) return { name: target, checkpoint: 'no' as const }
      const { bitmap, dirtyBytes } = found
      return {
        name: target,
        checkpoint: 'bitmap' as const,
        bitmap,
        ...(dirtyBytes !== undefined && { size: dirtyBytes }),
      }
    }),
  }
}
