/** Work on single disks: commit, pull, copy, resize. Source: QEMU's docs/interop/live-block-operations. */
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type {
  Blocks,
  CommitBlockOptions,
  CopyBlockOptions,
  PullBlockOptions,
  ResizeBlockOptions,
} from '../../../driver/index.ts'
import { makePrivateDirectory, withUndo } from '../../../host/index.ts'
import { type BlockJob, VisorError } from '../../../model/index.ts'
import { encryptionOf } from '../disks/disk-secrets.ts'
import { grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import { refuseUsedElsewhere } from '../snapshots/merge.ts'
import { ownersOf } from '../snapshots/tree.ts'
import { backup } from './backup.ts'
import { recordFiles, whileStill } from './change-disks.ts'
import { type DiskWork, definitionNow, removeNodes, settle } from './disk-work.ts'
import { carryBitmaps, foldLive, foldOffline } from './fold.ts'
import { findDisk, readChain } from './graph.ts'
import { type DiskFile, fileOf, inspectImage, makeImage, pullFile, resizeFile } from './image-files.ts'
import { completeJob, endJobs, followJobs, listJobs, newName } from './job.ts'
import { imageNode } from './nodes.ts'
import { readFileChain } from './read-chain.ts'
import { refuseFrozenFiles } from './refuse-frozen.ts'

export function blockOperations(work: DiskWork): Required<Blocks> {
  const { registry } = work
  /** Does it alone, and leaves disks and definitions together whatever happens. */
  const alone = (uuid: string, what: string, act: () => Promise<void>) =>
    work.exclusively(uuid, what, () =>
      act().catch(async (error: unknown) => {
        await settle(work, uuid).catch(() => {})
        throw error
      }),
    )
  return {
    jobs: (uuid) => describeJobs(registry.running(uuid)),
    commit: (uuid, options) => alone(uuid, 'a commit', () => commit(work, uuid, options)),
    pull: (uuid, options) => alone(uuid, 'a pull', () => pull(work, uuid, options)),
    copy: (uuid, options) => alone(uuid, 'a copy', () => copy(work, uuid, options)),
    resize: (uuid, options) => alone(uuid, 'a change of size', () => resize(work, uuid, options)),
    backup: (uuid, options = {}) => alone(uuid, 'a backup', () => backup(work, uuid, options)),
  }
}

const kinds = { stream: 'pull', mirror: 'copy', commit: 'commit', backup: 'backup' } as const

async function describeJobs(machine: Machine): Promise<BlockJob[]> {
  const [jobs, blocks] = await Promise.all([listJobs(machine), machine.monitor.execute('query-block-jobs')])
  return (Array.isArray(blocks) ? blocks.filter(isRecord) : []).flatMap(({ device, type, speed }) => {
    const job = jobs.find(({ id }) => id === device)
    const kind = kinds[String(type) as keyof typeof kinds]
    const target = /\.([a-z0-9]+)-/u.exec(job?.id ?? '')?.[1]
    if (!job || !kind || target === undefined) return []
    const isReady = job.status === 'ready' || job.status === 'standby'
    return {
      disk: target,
      type: kind,
      state: isReady
        ? ('ready' as const)
        : job.status === 'paused'
          ? ('paused' as const)
          : ('running' as const),
      doneBytes: job.done,
      totalBytes: job.total,
      ...(Number(speed) > 0 ? { bandwidthBytes: Number(speed) } : {}),
    }
  })
}

/** The image of a disk that has one here. */
function imageOf(work: DiskWork, uuid: string, target: string): DiskFile {
  const definition = definitionNow(work.registry, uuid)
  const disk = findDisk(definition, target)
  const file = fileOf(disk)
  if (disk.transient && work.registry.machine(uuid))
    throw new VisorError(
      'invalid-state',
      `What is written to the disk '${target}' of '${definition.name}' ends with the machine: nothing can be done to its images now.`,
      { remedy: 'Shut it down first, or define it without the transient disk.' },
    )
  if (file && disk.device === 'disk') return file
  throw new VisorError(
    'invalid-state',
    `The disk '${target}' of '${definition.name}' is no image on this host.`,
  )
}

async function commit(work: DiskWork, uuid: string, options: CommitBlockOptions): Promise<void> {
  const { disk: target, base: wantedBase, top: wantedTop } = options
  const machine = work.registry.machine(uuid)
  const file = imageOf(work, uuid, target)
  const chain = await readFileChain(file)
  const top = pick(chain, wantedTop ?? file.path)
  const base = pick(chain, wantedBase ?? chain.at(-1)?.path ?? file.path)
  const [from, to] = [chain.indexOf(top), chain.indexOf(base)]
  if (to <= from)
    throw new VisorError('invalid-argument', `'${top.path}' is not based on '${base.path}'.`, {
      remedy: `The images, from the top: ${chain.map(({ path }) => path).join(', ')}.`,
    })
  await refuseNeeded(work, uuid, chain.slice(from, to + 1), top.path)
  if (machine) return foldLive(work, machine, { target, top, base }, options)
  const above = chain[from - 1]
  await foldOffline(top, base, above ? [above.path] : [], options)
  await recordFiles(work.registry, uuid, [{ from: top.path, to: base }])
}

function pick(chain: readonly DiskFile[], path: string): DiskFile {
  const found = chain.find((one) => one.path === path)
  if (found) return found
  throw new VisorError('invalid-argument', `The disk is not based on '${path}'.`, {
    remedy: `Its images, from the top: ${chain.map((one) => one.path).join(', ')}.`,
  })
}

/** Files whose content would change must not be what a snapshot has, or another domain. */
async function refuseNeeded(
  work: DiskWork,
  uuid: string,
  files: readonly DiskFile[],
  top: string,
): Promise<void> {
  const tree = work.trees.get(uuid)
  refuseFrozenFiles(work.context, files)
  for (const { path } of files) {
    const [owner] = ownersOf(tree, path)
    if (owner !== undefined)
      throw new VisorError('invalid-state', `'${path}' belongs to the snapshot '${owner}'.`, {
        remedy: `Remove the snapshot, which joins the images: visor snapshot remove DOMAIN ${owner}`,
      })
    if (path !== top) await refuseUsedElsewhere(work, uuid, path)
  }
}

async function pull(work: DiskWork, uuid: string, options: PullBlockOptions): Promise<void> {
  const { disk: target, base: wanted, bandwidthBytes, signal, progress } = options
  const machine = work.registry.machine(uuid)
  const file = imageOf(work, uuid, target)
  const files = await readFileChain(file)
  const base = wanted === undefined ? undefined : pick(files.slice(1), wanted)
  if (files.length < 2) return
  if (!machine) {
    refuseFrozenFiles(work.context, [file])
    progress?.({ phase: 'copying what is below' })
    return pullFile(file.path, base, { signal })
  }
  const chain = await readChain(machine, target)
  const below = base && chain.find(({ path }) => path === base.path)
  const id = newName(`pull.${target}`)
  await machine.monitor.execute('block-stream', {
    'job-id': id,
    device: chain[0].node,
    ...(base && below ? { 'base-node': below.node, 'backing-file': base.path } : {}),
    'auto-dismiss': false,
    ...speed(bandwidthBytes),
  })
  await followJobs(machine, [id], { ...calls({ signal, progress }), phase: 'copying what is below' })
  await removeNodes(machine)
}

const speed = (bytes: number | undefined) => (bytes === undefined ? {} : { speed: bytes })

function calls({
  signal,
  progress,
}:
  | Pick<CopyBlockOptions, 'signal' | 'progress'>
  | { signal: AbortSignal | undefined; progress: CopyBlockOptions['progress'] | undefined }) {
  return { ...(signal ? { signal } : {}), ...(progress ? { progress } : {}) }
}

async function copy(work: DiskWork, uuid: string, options: CopyBlockOptions): Promise<void> {
  const {
    disk: target,
    file: path,
    format = 'qcow2',
    shallow = false,
    reuse = false,
    pivot = false,
  } = options
  const machine = work.registry.running(uuid, ['running', 'paused'])
  const disk = findDisk(machine.details.definition, target)
  const from = imageOf(work, uuid, target)
  if (encryptionOf(disk))
    throw new VisorError(
      'unsupported-config',
      `The disk '${target}' is encrypted, and its copy would not be.`,
      {
        remedy: 'Copy it with qemu-img while the domain is off.',
      },
    )
  if (reuse) refuseFrozenFiles(work.context, [{ path }])
  const chain = await readChain(machine, target)
  const [, below] = shallow ? await readFileChain(from) : []
  if (below && format === 'raw')
    throw new VisorError('invalid-argument', 'A raw image cannot be based on another.', {
      remedy: 'Copy all of it, or to a qcow2 image.',
    })
  await withUndo(async (undo) => {
    const backing = below ? { backing: below } : {}
    if (!reuse) {
      await makePrivateDirectory(dirname(path))
      await makeImage(path, { format, sizeBytes: chain[0].sizeBytes, ...backing })
      undo.push(() => rm(path, { force: true }))
    }
    await grantAccess(machine, [{ path, write: true, what: 'disk image' }])
    const to: DiskFile = { type: 'file', path, format }
    const node = newName('copy')
    await machine.monitor.execute('blockdev-add', {
      ...imageNode(disk, to, node),
      ...(format === 'qcow2' ? { backing: below ? (chain[1]?.node ?? null) : null } : {}),
    })
    undo.push(() => removeNodes(machine, { only: [node] }))
    const id = newName(`copy.${target}`)
    await machine.monitor.execute('blockdev-mirror', {
      'job-id': id,
      device: chain[0].node,
      target: node,
      sync: below ? 'top' : 'full',
      'auto-dismiss': false,
      ...speed(options.bandwidthBytes),
    })
    undo.push(() => endJobs(machine, [id]))
    await followJobs(machine, [id], { ...calls(options), phase: 'copying', untilReady: true })
    await (pivot ? switchOver(work, machine, { target, from, to, id }) : finishCopy(machine, id))
    undo.keep()
  })
  await removeNodes(machine, { only: [chain[0].node] })
  await removeNodes(machine)
}

/** The copy is as the disk is at this moment. */
async function finishCopy(machine: Machine, id: string): Promise<void> {
  await machine.monitor.execute('block-job-cancel', { device: id })
  await followJobs(machine, [id], { phase: 'finishing the copy' })
}

async function switchOver(
  work: DiskWork,
  machine: Machine,
  { target, from, to, id }: { target: string; from: DiskFile; to: DiskFile; id: string },
): Promise<void> {
  const { uuid } = machine.details.definition
  await whileStill(machine, async () => {
    const [before] = await readChain(machine, target)
    await completeJob(machine, id)
    const [after] = await readChain(machine, target)
    if (to.format === 'qcow2') await carryBitmaps(machine, before, after)
    await recordFiles(work.registry, uuid, [{ from: from.path, to }])
  })
}

async function resize(
  work: DiskWork,
  uuid: string,
  { disk: target, sizeBytes: wanted }: ResizeBlockOptions,
): Promise<void> {
  const machine = work.registry.machine(uuid)
  const file = imageOf(work, uuid, target)
  const sizeBytes = Math.ceil(wanted / 512) * 512
  const image = machine ? (await readChain(machine, target))[0] : undefined
  const now = image ? image.sizeBytes : (await inspectImage(file)).sizeBytes
  if (sizeBytes < now)
    throw new VisorError(
      'invalid-argument',
      `The disk '${target}' has ${now} bytes; made smaller, it would lose what is at its end.`,
      { remedy: 'Make it larger, or copy what is on it to a smaller one from within the guest.' },
    )
  if (file.type === 'block' && sizeBytes > now && !image)
    throw new VisorError('invalid-state', `The disk '${target}' is a device, which has the size it has.`, {
      remedy: 'Make the device larger on the host; a start then sees it.',
    })
  if (image) await machine?.monitor.execute('block_resize', { 'node-name': image.node, size: sizeBytes })
  else {
    refuseFrozenFiles(work.context, [file])
    await resizeFile(file, sizeBytes)
  }
  work.registry.tell(uuid, { type: 'changed', reason: 'disks' })
}
