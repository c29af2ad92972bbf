/**
 * Backups: disks as they are at one moment, or what was written since a checkpoint; to files, or served by NBD
 * for as long as the backup lasts. Source: QEMU's docs/interop/bitmaps, docs/interop/nbd.
 *
 *   push: QEMU copies to the target, and what the guest writes meanwhile is copied before it is overwritten
 *   pull: what the guest overwrites goes to a scratch image first; that, on top of the disk, is what is served
 */
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { BackupBlockOptions } from '../../../driver/index.ts'
import { listDirectory, makePrivateDirectory, type Undo, withUndo } from '../../../host/index.ts'
import { type Disk, VisorError } from '../../../model/index.ts'
import { encryptionOf, keyFileOf, secretId } from '../disks/disk-secrets.ts'
import { grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import { bitmapActions, bitmapOf, findCheckpoint, planCheckpoint } from '../snapshots/checkpoints.ts'
import { snapshotDirectory } from '../snapshots/keep.ts'
import type { KeptCheckpoint } from '../snapshots/tree.ts'
import type { DiskWork } from './disk-work.ts'
import { removeNodes } from './disk-work.ts'
import { findDisk, type OpenChain, type OpenImage, readChains } from './graph.ts'
import { makeImage } from './image-files.ts'
import { endJobs, followJobs, newName } from './job.ts'
import { imageNode } from './nodes.ts'

interface BackedUp {
  readonly target: string
  readonly image: OpenImage
  readonly file: string | undefined
  readonly exportName: string
  /** Name of the bitmap of what has to be copied; all without it. */
  readonly bitmap: string | undefined
}

export async function backup(work: DiskWork, uuid: string, options: BackupBlockOptions): Promise<void> {
  const machine = work.registry.running(uuid, ['running', 'paused'])
  const chains = await readChains(machine)
  const disks = choose(work, machine, chains, options)
  const targets = disks.map(({ target }) => target)
  const made =
    options.checkpoint === undefined
      ? undefined
      : planCheckpoint(work, uuid, { name: options.checkpoint, disks: targets })
  const mode = options.mode ?? (options.server === undefined ? 'push' : 'pull')
  await withUndo(async (undo) => {
    if (mode === 'push') await push(work, machine, { disks, made, chains, options, undo })
    else await pull(work, machine, { disks, made, chains, options, undo })
    undo.keep()
  })
}

function choose(
  work: DiskWork,
  { details }: Machine,
  chains: ReadonlyMap<string, OpenChain>,
  { disks: wanted, since }: BackupBlockOptions,
): BackedUp[] {
  const { definition } = details
  const checkpoint = since === undefined ? undefined : findCheckpoint(work, definition.uuid, since)
  const all = definition.devices.disks.filter(({ device, readonly }) => device === 'disk' && !readonly)
  const entries = wanted ?? all.map(({ target }) => ({ disk: target }))
  return entries.map((entry: { disk: string; file?: string; export?: string }) => {
    const { target } = findDisk(definition, entry.disk)
    const image = chains.get(target)?.[0]
    if (!image) throw new VisorError('invalid-state', `There is nothing in the drive '${target}'.`)
    return {
      target,
      image,
      file: entry.file,
      exportName: entry.export ?? target,
      bitmap: checkpoint && checkBitmap(checkpoint, target, image),
    }
  })
}

function checkBitmap({ name, disks }: KeptCheckpoint, target: string, { bitmaps }: OpenImage): string {
  const bitmap = bitmaps.find((one) => one.name === bitmapOf(name))
  if (bitmap && !bitmap.inconsistent) return bitmap.name
  throw new VisorError(
    'invalid-state',
    disks.includes(target)
      ? `What was written to '${target}' since the checkpoint '${name}' is not known: QEMU ended without writing it down.`
      : `The checkpoint '${name}' is not of the disk '${target}'.`,
    { remedy: 'Make a full backup, with a new checkpoint.' },
  )
}

interface Run {
  readonly disks: readonly BackedUp[]
  readonly made: KeptCheckpoint | undefined
  readonly chains: ReadonlyMap<string, OpenChain>
  readonly options: BackupBlockOptions
  readonly undo: Undo
}

/** A copy of what is to be copied, which nothing is added to. */
function frozenBitmap(node: string, name: string, image: OpenImage, bitmap: string): object[] {
  const granularity = image.bitmaps.find((one) => one.name === bitmap)?.granularity
  return [
    { type: 'block-dirty-bitmap-add', data: { node, name, granularity, disabled: true } },
    {
      type: 'block-dirty-bitmap-merge',
      data: { node, target: name, bitmaps: [{ node: image.node, name: bitmap }] },
    },
  ]
}

async function push(
  work: DiskWork,
  machine: Machine,
  { disks, made, chains, options, undo }: Run,
): Promise<void> {
  const { uuid, devices } = machine.details.definition
  const actions: object[] = []
  const ids: string[] = []
  for (const { target, image, file, bitmap } of disks) {
    if (file === undefined)
      throw new VisorError('invalid-argument', `There is no file for the backup of '${target}'.`, {
        remedy: 'Name one for each disk, or serve them (pull).',
      })
    const disk = findDisk({ name: '', devices }, target)
    const node = await addTarget(machine, undo, {
      ...{ path: file, sizeBytes: image.sizeBytes, disk },
      keyFile: keyFileOf(disk, work.context.paths.of(uuid)),
    })
    const id = newName(`back.${target}`)
    const frozen = newName('bitmap')
    if (bitmap !== undefined) {
      actions.push(...frozenBitmap(image.node, frozen, image, bitmap))
      undo.push(() =>
        machine.monitor
          .execute('block-dirty-bitmap-remove', { node: image.node, name: frozen })
          .catch(() => {}),
      )
    }
    const sync =
      bitmap === undefined ? { sync: 'full' } : { sync: 'bitmap', bitmap: frozen, 'bitmap-mode': 'never' }
    actions.push({
      type: 'blockdev-backup',
      data: { 'job-id': id, device: image.node, target: node, ...sync, 'auto-dismiss': false },
    })
    ids.push(id)
  }
  await begin(machine, actions, made, chains)
  undo.push(() => endJobs(machine, ids))
  if (made) undo.push(() => removeBitmaps(machine, made, chains))
  await followJobs(machine, ids, {
    ...(options.signal ? { signal: options.signal } : {}),
    ...(options.progress ? { progress: options.progress } : {}),
    phase: 'copying',
  })
  await removeOurBitmaps(machine)
  if (made) await keep(work, uuid, made)
  await removeNodes(machine)
}

async function addTarget(
  machine: Machine,
  undo: Undo,
  { path, disk, ...image }: { path: string; sizeBytes: number; disk: Disk; keyFile: string | undefined },
): Promise<string> {
  await makeImage(path, { format: 'qcow2', ...image })
  undo.push(() => rm(path, { force: true }))
  await grantAccess(machine, [{ path, write: true, what: 'backup' }])
  const node = newName('target')
  const added = {
    ...imageNode(disk, { type: 'file', path, format: 'qcow2' }, node),
    ...encryptedAs(disk),
    backing: null,
  }
  await machine.monitor.execute('blockdev-add', added, unlocking)
  undo.push(() => removeNodes(machine, { only: [node] }))
  return node
}

/** A key takes seconds of a processor, by design. */
const unlocking = { timeoutMs: 120_000 }

/** What is encrypted stays so: what is copied of it has the same passphrase. */

const encryptedAs = (disk: Disk) =>
  encryptionOf(disk) ? { encrypt: { format: 'luks', 'key-secret': secretId(disk.target, 'key') } } : {}

/** All disks at one moment, and the new checkpoint at the same. */
async function begin(
  machine: Machine,
  actions: readonly object[],
  made: KeptCheckpoint | undefined,
  chains: ReadonlyMap<string, OpenChain>,
): Promise<void> {
  const marks = made ? bitmapActions(chains, made) : []
  await machine.monitor.execute('transaction', { actions: [...marks, ...actions] }, { timeoutMs: 60_000 })
}

async function keep({ trees, registry }: DiskWork, uuid: string, made: KeptCheckpoint): Promise<void> {
  const tree = trees.get(uuid)
  await trees.put(uuid, { ...tree, checkpoints: [...tree.checkpoints, made] })
  registry.tell(uuid, { type: 'changed', reason: 'checkpoint' })
}

async function removeBitmaps(
  { monitor }: Machine,
  made: KeptCheckpoint,
  chains: ReadonlyMap<string, OpenChain>,
): Promise<void> {
  for (const target of made.disks)
    await monitor
      .execute('block-dirty-bitmap-remove', { node: chains.get(target)?.[0].node, name: bitmapOf(made.name) })
      .catch(() => {})
}

/** Those that were made for the backup alone. */
async function removeOurBitmaps(machine: Machine): Promise<void> {
  for (const [{ node, bitmaps }] of (await readChains(machine)).values())
    for (const { name } of bitmaps.filter((one) => one.name.startsWith('visor-bitmap-')))
      await machine.monitor.execute('block-dirty-bitmap-remove', { node, name }).catch(() => {})
}

/** Served until the call is given up, which is how it ends. */
async function pull(
  work: DiskWork,
  machine: Machine,
  { disks, made, chains, options, undo }: Run,
): Promise<void> {
  const { uuid, name, devices } = machine.details.definition
  const { monitor } = machine
  if (options.server === undefined)
    throw new VisorError('invalid-argument', 'There is no address to serve the backup at.', {
      remedy: "Give a unix socket (an absolute path) or 'host:port'.",
    })
  const address = await serverAddress(machine, options.server)
  const directory = snapshotDirectory(work, uuid)
  await makePrivateDirectory(directory)
  const actions: object[] = []
  const ids: string[] = []
  const served: { node: string; exportName: string; bitmap: string | undefined }[] = []
  for (const { target, image, exportName, bitmap } of disks) {
    const disk = findDisk({ name, devices }, target)
    refuseOverNetwork(disk, options.server)
    const path = join(directory, `${newName('scratch')}.qcow2`)
    const { format, path: basePath = '' } = image
    await makeImage(path, {
      format: 'qcow2',
      sizeBytes: image.sizeBytes,
      backing: { type: 'file', path: basePath, format: format === 'qcow2' ? 'qcow2' : 'raw' },
      keyFile: keyFileOf(disk, work.context.paths.of(uuid)),
    })
    undo.push(() => rm(path, { force: true }))
    await grantAccess(machine, [{ path, write: true, what: 'backup' }])
    const node = newName('scratch')
    const added = {
      ...imageNode(disk, { type: 'file', path, format: 'qcow2' }, node),
      ...encryptedAs(disk),
      backing: image.node,
    }
    await monitor.execute('blockdev-add', added, unlocking)
    undo.push(() => removeNodes(machine, { only: [node] }))
    const frozen = bitmap === undefined ? undefined : `backup-${target}`
    if (bitmap !== undefined && frozen !== undefined)
      actions.push(...frozenBitmap(node, frozen, image, bitmap))
    const id = newName(`back.${target}`)
    actions.push({
      type: 'blockdev-backup',
      data: { 'job-id': id, device: image.node, target: node, sync: 'none', 'auto-dismiss': false },
    })
    ids.push(id)
    served.push({ node, exportName, bitmap: frozen })
  }
  await begin(machine, actions, made, chains)
  undo.push(() => endJobs(machine, ids))
  if (made) undo.push(() => removeBitmaps(machine, made, chains))
  await monitor.execute('nbd-server-start', { addr: address })
  undo.push(() => monitor.execute('nbd-server-stop').catch(() => {}))
  for (const { node, exportName, bitmap } of served)
    await monitor.execute('block-export-add', {
      type: 'nbd',
      id: newName('nbd'),
      'node-name': node,
      name: exportName,
      writable: false,
      ...(bitmap === undefined ? {} : { bitmaps: [bitmap] }),
    })
  if (options.server.startsWith('/')) undo.push(() => rm(options.server ?? '', { force: true }))
  if (made) await keep(work, uuid, made)
  options.progress?.({ phase: `serving at ${options.server} until cancelled` })
  await untilGivenUp(machine, options.signal)
  await endServing(
    machine,
    ids,
    served.map(({ node }) => node),
    directory,
    options.server,
  )
}

/** What is served is what the guest sees, which is not encrypted. */
function refuseOverNetwork(disk: Disk, server: string): void {
  if (!encryptionOf(disk) || server.startsWith('/')) return
  throw new VisorError(
    'unsupported-config',
    `The disk '${disk.target}' is encrypted, and would go over the network as the guest sees it.`,
    { remedy: 'Serve it at a unix socket, or write the backup to a file, which is encrypted likewise.' },
  )
}

async function serverAddress(machine: Machine, server: string): Promise<object> {
  if (server.startsWith('/')) {
    // QEMU's user makes the socket.
    await grantAccess(machine, [
      { path: dirname(server), folder: true, write: true, what: 'folder of a socket' },
    ])
    return { type: 'unix', data: { path: server } }
  }
  const [, host = '', port = ''] = /^(?<host>.*):(?<port>\d{1,5})$/u.exec(server) ?? []
  if (host === '' || port === '')
    throw new VisorError('invalid-argument', `'${server}' is neither an absolute path nor 'host:port'.`)
  return { type: 'inet', data: { host: host.replace(/^\[|\]$/gu, ''), port } }
}

async function untilGivenUp(machine: Machine, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal?.aborted) resolve()
  signal?.addEventListener('abort', () => resolve(), { once: true })
  await Promise.race([promise, machine.ended])
}

async function endServing(
  machine: Machine,
  ids: readonly string[],
  nodes: readonly string[],
  directory: string,
  server: string,
): Promise<void> {
  await machine.monitor.execute('nbd-server-stop').catch(() => {})
  await endJobs(machine, ids).catch(() => {})
  await removeNodes(machine, { only: nodes }).catch(() => {})
  for (const { path } of await scratchFiles(directory)) await rm(path, { force: true })
  if (server.startsWith('/')) await rm(server, { force: true })
}

async function scratchFiles(directory: string): Promise<{ path: string }[]> {
  const names = await listDirectory(directory)
  return names
    .filter((one) => one.startsWith('visor-scratch-'))
    .map((one) => ({ path: join(directory, one) }))
}
