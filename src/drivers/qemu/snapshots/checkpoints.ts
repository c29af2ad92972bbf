/** Checkpoints: bitmaps in the images that remember what is written. Source: QEMU's docs/interop/bitmaps. */
import type { CreateCheckpointOptions } from '../../../driver/index.ts'
import { type Checkpoint, notFound, VisorError } from '../../../model/index.ts'
import { type DiskWork, definitionNow } from '../block/disk-work.ts'
import { type OpenChain, readChains } from '../block/graph.ts'
import { addBitmap, fileOf, removeBitmap } from '../block/image-files.ts'
import { unsupported } from '../definition/unsupported.ts'
import type { KeptCheckpoint } from './tree.ts'

/** Bitmaps of ours among those of others in the same image. */
export const bitmapOf = (checkpoint: string): string => checkpoint

export async function describeCheckpoints(
  { registry, trees }: DiskWork,
  uuid: string,
): Promise<Checkpoint[]> {
  registry.definition(uuid)
  const machine = registry.machine(uuid)
  const chains: ReadonlyMap<string, OpenChain> = machine ? await readChains(machine) : new Map()
  return trees.get(uuid).checkpoints.map(({ disks, ...rest }) => ({
    ...rest,
    domain: uuid,
    disks: disks.map((name) => {
      const bitmap = chains.get(name)?.[0].bitmaps.find((one) => one.name === bitmapOf(rest.name))
      return {
        name,
        bitmap: bitmapOf(rest.name),
        ...(bitmap && !bitmap.inconsistent ? { dirtyBytes: bitmap.dirtyBytes } : {}),
      }
    }),
  }))
}

/** What a new checkpoint will be; fails for what it cannot be of. */
export function planCheckpoint(
  { registry, trees }: DiskWork,
  uuid: string,
  { name: given, description, disks: wanted }: CreateCheckpointOptions,
): KeptCheckpoint {
  const { checkpoints } = trees.get(uuid)
  const name = given ?? new Date().toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '')
  if (!/^[\w.-]{1,128}$/u.test(name))
    throw new VisorError('invalid-argument', `'${name.slice(0, 140)}' is no name for a checkpoint.`, {
      remedy: 'Use letters, digits and _.- only.',
    })
  if (checkpoints.some((one) => one.name === name))
    throw new VisorError('already-exists', `There is already a checkpoint '${name}'.`, {
      remedy: 'Choose another name, or remove that one first.',
      object: { kind: 'checkpoint', name },
    })
  const { devices } = definitionNow(registry, uuid)
  const disks = devices.disks.filter(
    (disk) =>
      disk.device === 'disk' &&
      !disk.readonly &&
      !disk.transient &&
      (!wanted || wanted.includes(disk.target)),
  )
  const missing = wanted?.find((target) => !disks.some((disk) => disk.target === target))
  if (missing !== undefined)
    throw new VisorError(
      'invalid-argument',
      `There is no disk '${missing}' that keeps what is written to it.`,
    )
  const other = disks.find((disk) => disk.format !== 'qcow2')
  if (other)
    throw unsupported(
      'devices.disks',
      `the disk '${other.target}' is ${other.format}, which cannot remember what is written`,
      'Name only disks in qcow2, or convert it.',
    )
  const parent = checkpoints.at(-1)?.name
  return {
    name,
    ...(description === undefined ? {} : { description }),
    ...(parent === undefined ? {} : { parent }),
    createdAt: new Date().toISOString(),
    disks: disks.map(({ target }) => target),
  }
}

export async function createCheckpoint(
  work: DiskWork,
  uuid: string,
  options: CreateCheckpointOptions,
): Promise<Checkpoint> {
  const { registry, trees } = work
  const kept = planCheckpoint(work, uuid, options)
  const machine = registry.machine(uuid)
  if (machine) {
    const actions = await bitmapActions(await readChains(machine), kept)
    await machine.monitor.execute('transaction', { actions })
  } else
    for (const disk of registry
      .definition(uuid)
      .devices.disks.filter(({ target }) => kept.disks.includes(target)))
      await addBitmap(fileOf(disk)?.path ?? '', bitmapOf(kept.name))
  const tree = trees.get(uuid)
  await trees.put(uuid, { ...tree, checkpoints: [...tree.checkpoints, kept] })
  registry.tell(uuid, { type: 'changed', reason: 'checkpoint' })
  const found = (await describeCheckpoints(work, uuid)).find(({ name }) => name === kept.name)
  if (!found) throw notFound('checkpoint', kept.name)
  return found
}

/** What begins to remember, on all disks at one moment. */
export function bitmapActions(chains: ReadonlyMap<string, OpenChain>, kept: KeptCheckpoint): object[] {
  return kept.disks.flatMap((target) => {
    const node = chains.get(target)?.[0].node
    const name = bitmapOf(kept.name)
    return node === undefined
      ? []
      : [{ type: 'block-dirty-bitmap-add', data: { node, name, persistent: true } }]
  })
}

export function findCheckpoint({ trees }: DiskWork, uuid: string, name: string): KeptCheckpoint {
  const { checkpoints } = trees.get(uuid)
  const found = checkpoints.find((one) => one.name === name)
  if (found) return found
  throw new VisorError('not-found', `There is no checkpoint '${name}'.`, {
    remedy:
      checkpoints.length > 0
        ? `There are: ${checkpoints.map((one) => one.name).join(', ')}.`
        : 'The domain has none.',
    object: { kind: 'checkpoint', name },
  })
}

export async function removeCheckpoint(work: DiskWork, uuid: string, name: string): Promise<void> {
  const { trees } = work
  const kept = findCheckpoint(work, uuid, name)
  await removeBitmaps(work, uuid, [kept])
  const tree = trees.get(uuid)
  const checkpoints = tree.checkpoints
    .filter((one) => one !== kept)
    .map(({ parent, ...one }) => {
      const next = parent === name ? kept.parent : parent
      return next === undefined ? one : { ...one, parent: next }
    })
  await trees.put(uuid, { ...tree, checkpoints })
  work.registry.tell(uuid, { type: 'changed', reason: 'checkpoint' })
}

/** What was remembered no longer tells what has changed: the disks are no longer what they were. */
export async function dropCheckpoints(work: DiskWork, uuid: string): Promise<void> {
  const tree = work.trees.get(uuid)
  if (tree.checkpoints.length === 0) return
  await removeBitmaps(work, uuid, tree.checkpoints).catch(() => {})
  await work.trees.put(uuid, { ...work.trees.get(uuid), checkpoints: [] })
}

async function removeBitmaps(
  { registry }: DiskWork,
  uuid: string,
  checkpoints: readonly KeptCheckpoint[],
): Promise<void> {
  const machine = registry.machine(uuid)
  const chains = machine ? await readChains(machine) : undefined
  for (const { name, disks } of checkpoints)
    for (const target of disks) {
      const image = chains?.get(target)?.[0]
      if (image?.bitmaps.some((one) => one.name === bitmapOf(name)))
        await machine?.monitor.execute('block-dirty-bitmap-remove', {
          node: image.node,
          name: bitmapOf(name),
        })
      const disk = chains
        ? undefined
        : registry.definition(uuid).devices.disks.find((one) => one.target === target)
      const file = disk && fileOf(disk)
      if (file) await removeBitmap(file.path, bitmapOf(name)).catch(() => {})
    }
}
