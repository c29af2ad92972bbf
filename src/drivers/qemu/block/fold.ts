/**
 * Writes the data of an image down into the one it is based on, and lets that stand in its place; while the
 * machine runs by QEMU's jobs, else by qemu-img. Source: QEMU's docs/interop/live-block-operations.
 */
import type { CallOptions } from '../../../driver/index.ts'
import { VisorError } from '../../../model/index.ts'
import { grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import { recordFiles, whileStill } from './change-disks.ts'
import { type DiskWork, removeNodes } from './disk-work.ts'
import { type OpenChain, type OpenImage, readChain, readChains } from './graph.ts'
import {
  addBitmap,
  commitFile,
  type DiskFile,
  inspectImage,
  mergeBitmap,
  renameBacking,
} from './image-files.ts'
import { completeJob, endJobs, followJobs, newName } from './job.ts'

export interface FoldOptions extends CallOptions {
  readonly bandwidthBytes?: number
}

/** The disk that has these two images open; undefined when no machine has. */
export async function findOpen(
  machine: Machine | undefined,
  paths: readonly string[],
): Promise<string | undefined> {
  if (!machine) return undefined
  for (const [target, chain] of await readChains(machine))
    if (chain.some(({ path }) => path !== undefined && paths.includes(path))) return target
  return undefined
}

/** Folds `top` into `base` in a running machine; when `top` is in use, the machine goes on with `base`. */
export async function foldLive(
  work: DiskWork,
  machine: Machine,
  { target, top, base }: { readonly target: string; readonly top: DiskFile; readonly base: DiskFile },
  options: FoldOptions,
): Promise<void> {
  const chain = await readChain(machine, target)
  const [first] = chain
  const from = imageOf(chain, top.path)
  const to = imageOf(chain, base.path)
  const id = newName(`commit.${target}`)
  const above = chain[chain.indexOf(from) - 1]?.path
  await grantAccess(
    machine,
    [base.path, top.path, ...(above === undefined ? [] : [above])].map((path) => ({
      path,
      write: true,
      what: 'disk image',
    })),
  )
  const speed = options.bandwidthBytes === undefined ? {} : { speed: options.bandwidthBytes }
  const common = { 'job-id': id, device: first.node, 'base-node': to.node, 'auto-dismiss': false, ...speed }
  if (from !== first) {
    await machine.monitor.execute('block-commit', {
      ...common,
      'top-node': from.node,
      'backing-file': base.path,
    })
    await followJobs(machine, [id], { ...options, phase: 'joining images' })
  } else {
    await machine.monitor.execute('block-commit', common)
    await followJobs(machine, [id], { ...options, phase: 'joining images', untilReady: true })
    await whileStill(machine, async () => {
      await completeJob(machine, id)
      await carryBitmaps(machine, from, to)
      await recordFiles(work.registry, machine.details.definition.uuid, [{ from: top.path, to: base }])
    }).catch(async (error: unknown) => {
      await endJobs(machine, [id]).catch(() => {})
      throw error
    })
  }
  await removeNodes(machine, { only: [from.node] })
  await removeNodes(machine)
}

function imageOf(chain: OpenChain, path: string): OpenImage {
  const image = chain.find((one) => one.path === path)
  if (image) return image
  const there = chain.map((one) => one.path ?? one.node)
  throw new VisorError('invalid-argument', `The disk is not based on '${path}'.`, {
    remedy: `Its images are: ${there.join(', ')}.`,
  })
}

/** What is remembered of writes goes where the disk goes. */
export async function carryBitmaps(machine: Machine, from: OpenImage, to: OpenImage): Promise<void> {
  const { monitor } = machine
  for (const { name, granularity, persistent, inconsistent } of from.bitmaps) {
    if (!persistent || inconsistent) continue
    const there = to.bitmaps.find((one) => one.name === name)
    if (there?.inconsistent) await monitor.execute('block-dirty-bitmap-remove', { node: to.node, name })
    if (!there || there.inconsistent)
      await monitor.execute('block-dirty-bitmap-add', { node: to.node, name, granularity, persistent: true })
    await monitor.execute('block-dirty-bitmap-merge', {
      node: to.node,
      target: name,
      bitmaps: [{ node: from.node, name }],
    })
  }
}

/** Folds `top` into `base` while nothing has them open; `above` are the files based on `top`. */
export async function foldOffline(
  top: DiskFile,
  base: DiskFile,
  above: readonly string[],
  options: FoldOptions,
): Promise<void> {
  options.progress?.({ phase: 'joining images' })
  const { bitmaps } = await inspectImage(top)
  await commitFile(top, base, { signal: options.signal })
  if (base.format === 'qcow2') {
    const there = await inspectImage(base)
    for (const { name } of bitmaps.filter(({ inconsistent }) => !inconsistent)) {
      if (!there.bitmaps.some((one) => one.name === name)) await addBitmap(base.path, name)
      await mergeBitmap(base.path, name, top.path)
    }
  }
  for (const path of above) await renameBacking(path, base)
}
