/** Removes snapshots; what others need of their data is joined with theirs. */
import { rm } from 'node:fs/promises'
import type { RemoveSnapshotOptions } from '../../../driver/index.ts'
import { toVisorError, VisorError } from '../../../model/index.ts'
import type { DiskWork } from '../block/disk-work.ts'
import { readChains } from '../block/graph.ts'
import { type DiskFile, inspectImage, snapshotFile } from '../block/image-files.ts'
import { refuseFrozenFiles } from '../block/refuse-frozen.ts'
import { runSnapshotJob, tagOf } from './internal.ts'
import { collapse } from './merge.ts'
import { descendantsOf, findSnapshot, type KeptSnapshot, keptFile, withoutSnapshot } from './tree.ts'

export function snapshotRemoval(work: DiskWork) {
  const { registry, trees } = work

  return async function remove(
    uuid: string,
    name: string,
    options: RemoveSnapshotOptions = {},
  ): Promise<void> {
    return work.exclusively(uuid, 'the removal of a snapshot', async () => {
      const { children = false, childrenOnly = false, metadataOnly = false, ...call } = options
      const kept = findSnapshot(trees.get(uuid), name)
      const below = children || childrenOnly ? descendantsOf(trees.get(uuid), name) : []
      for (const one of childrenOnly ? below : [...below, kept]) {
        const before = trees.get(uuid)
        const after = withoutSnapshot(before, one.name)
        const files = metadataOnly ? [] : internalFiles(one).map(({ path }) => path)
        refuseFrozenFiles(
          work.context,
          files.map((path) => ({ path })),
        )
        const beside = metadataOnly ? [] : [one.memoryFile, one.firmware].filter((path) => path !== undefined)
        // Forgotten first: a daemon that is killed here leaves to the next what is there still.
        if (files.length + beside.length > 0)
          await trees.put(uuid, {
            ...after,
            pending: {
              created: beside,
              ...(files.length > 0 ? { internal: { name: tagOf(one.name), files } } : {}),
            },
          })
        if (files.length > 0)
          await removeInternal(work, uuid, one, call).catch(async (error: unknown) => {
            await trees.put(uuid, before)
            throw error
          })
        for (const path of beside) await rm(path, { recursive: true, force: true })
        await trees.put(uuid, after)
      }
      registry.tell(uuid, { type: 'changed', reason: 'snapshot' })
      if (!metadataOnly)
        await collapse(work, uuid, call).catch((error) => Promise.reject(notJoined(name, error)))
    })
  }
}

function notJoined(name: string, cause: unknown): VisorError {
  const { code, message, remedy } = toVisorError(cause)
  return new VisorError(
    code,
    `The snapshot '${name}' is gone, but its images could not be joined: ${message}`,
    {
      cause,
      remedy:
        `${remedy ?? ''} The domain works with the images as they are; they are joined when the next snapshot is removed.`.trim(),
    },
  )
}

/** The images that have something of a snapshot within them. */
function internalFiles(kept: KeptSnapshot): DiskFile[] {
  return kept.disks.flatMap(({ name, snapshot }) => {
    const file = snapshot === 'internal' ? keptFile(kept, name) : undefined
    return file ? [file] : []
  })
}

/** Takes what a snapshot has within images out of them. */
async function removeInternal(
  { registry }: DiskWork,
  uuid: string,
  kept: KeptSnapshot,
  call: Pick<RemoveSnapshotOptions, 'signal' | 'progress'>,
): Promise<void> {
  const files = internalFiles(kept)
  const tag = tagOf(kept.name)
  const machine = registry.machine(uuid)
  const open = machine ? [...(await readChains(machine)).values()] : []
  const nodes: string[] = []
  for (const file of files) {
    const has = (await inspectImage(file, { shared: true })).internalSnapshots.includes(tag)
    if (!has) continue
    const chain = open.find((images) => images.some(({ path }) => path === file.path))
    if (!chain) await snapshotFile('delete', tag, file.path)
    else if (chain[0].path === file.path) nodes.push(chain[0].node)
    else
      throw new VisorError(
        'invalid-state',
        `The snapshot '${kept.name}' is within '${file.path}', which is below an overlay that is in use.`,
        { remedy: 'Shut the domain down first, or remove the snapshots made after it.' },
      )
  }
  if (machine && nodes.length > 0) await runSnapshotJob(machine, 'snapshot-delete', tag, nodes, call)
}
