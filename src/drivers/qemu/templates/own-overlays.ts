/**
 * The overlays that a domain goes on on since templates were made of it. They are on record before they are made;
 * once no template needs what is below them they are joined with that again, so that the domain has the disks that
 * it had before.
 */
import { lstat } from 'node:fs/promises'
import { unlessMissing } from '../../../host/index.ts'
import { toVisorError, VisorError } from '../../../model/index.ts'
import type { DiskWork } from '../block/disk-work.ts'
import type { DiskFile } from '../block/image-files.ts'
import type { Machine } from '../machine/machine.ts'
import { collapse } from '../snapshots/merge.ts'
import { overlayPath, writableDisks } from './freeze-disks.ts'

/**
 * Puts on record which overlays a template will need: `settle` removes them, or keeps them in mind, by whether the
 * machine has them in the end. Fails with `already-exists` where there is such a file.
 */
export async function announceOverlays(work: DiskWork, machine: Machine, template: string): Promise<void> {
  const { uuid } = machine.details.definition
  const live = await writableDisks(machine)
  const created = live.map((one) => overlayPath(one, template))
  for (const path of created)
    if (await unlessMissing(lstat(path)))
      throw new VisorError('already-exists', `The file '${path}' is there already.`, {
        remedy: 'Move or remove it, or choose another name for the template.',
      })
  const below = live.map(
    ({ disk, file: path, format }): DiskFile => ({
      type: disk.block === undefined ? 'file' : 'block',
      path,
      format: format === 'raw' ? 'raw' : 'qcow2',
    }),
  )
  const tree = work.trees.get(uuid)
  const others = tree.bases.filter(({ path }) => below.every((one) => one.path !== path))
  await work.trees.put(uuid, { ...tree, bases: [...others, ...below], pending: { created } })
}

/** Joins what can be; what cannot now, such as while others work on the disks, is joined the next time. */
export async function joinOverlays(work: DiskWork, uuid: string): Promise<void> {
  const { registry, trees, context } = work
  if (!registry.defined.find(uuid) || trees.get(uuid).made.length === 0) return
  await collapse(work, uuid, {}).catch((error: unknown) =>
    context.log.warn(
      { domain: registry.definition(uuid).name, error: toVisorError(error).message },
      'Overlays of a template could not be joined with the disks below them.',
    ),
  )
}
