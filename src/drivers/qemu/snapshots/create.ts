/** Takes snapshots: in the images themselves, or by going on in overlays. */
import { randomUUID } from 'node:crypto'
import { lstat, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CreateSnapshotOptions } from '../../../driver/index.ts'
import { unlessMissing } from '../../../host/index.ts'
import { type Disk, type Snapshot, VisorError } from '../../../model/index.ts'
import { freezeGuest } from '../agent/freeze.ts'
import { thawGuest } from '../agent/index.ts'
import { type DiskWork, definitionNow, settle } from '../block/disk-work.ts'
import { type DiskFile, fileOf, freePath } from '../block/image-files.ts'
import { unsupported } from '../definition/unsupported.ts'
import { encryptionOf } from '../disks/disk-secrets.ts'
import { refuseTransient } from '../disks/transient.ts'
import type { Machine } from '../machine/machine.ts'
import { refuseUnmovable } from '../machine/unmovable.ts'
import { takeExternal } from './external.ts'
import { dropStrayFirmware, keepFirmware } from './firmware-state.ts'
import { takeInternal } from './internal.ts'
import { snapshotDirectory } from './keep.ts'
import { describeSnapshot, type KeptDisk, type KeptSnapshot, type SnapshotTree } from './tree.ts'

/** A disk of a snapshot, and the file it has. */
export interface ChosenDisk {
  readonly disk: Disk
  readonly file: DiskFile
}

export function snapshotCreation(work: DiskWork) {
  const { registry, trees } = work

  return async function create(uuid: string, options: CreateSnapshotOptions = {}): Promise<Snapshot> {
    return work.exclusively(uuid, 'a snapshot', async () => {
      const tree = trees.get(uuid)
      const machine = registry.machine(uuid) && registry.running(uuid, ['running', 'paused'])
      const name = checkName(tree, options.name)
      const disks = chooseDisks(work, uuid, options)
      const kind = options.kind ?? chooseKind(tree, disks, machine !== undefined)
      const memory = machine && !options.diskOnly ? kind : 'no'
      await checkFiles(disks, kind, memory, options)
      if (machine && memory !== 'no')
        await refuseUnmovable(
          machine,
          'snapshotted with its memory',
          ', or take a snapshot of its disks only (--disk-only)',
        )
      if (memory !== 'no') refuseTransient(definitionNow(registry, uuid), 'kept with its memory')
      const kept = await plan(work, uuid, { name, disks, kind, memory, options })
      await quiesced(work, machine, options.quiesce ?? false, () =>
        kind === 'internal'
          ? takeInternal(work, uuid, { ...options, kept, disks })
          : takeExternal(work, uuid, { ...options, kept, disks }),
      ).catch(async (error: unknown) => {
        await settle(work, uuid)
        throw error
      })
      registry.tell(uuid, { type: 'changed', reason: 'snapshot' })
      return describeSnapshot(uuid, trees.get(uuid), kept)
    })
  }
}

function checkName({ snapshots }: SnapshotTree, given: string | undefined): string {
  const name = given ?? new Date().toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '')
  if (!/^(?!\.\.?$)[^/\p{Cc}]{1,128}$/u.test(name))
    throw new VisorError('invalid-argument', `'${name.slice(0, 140)}' is no name for a snapshot.`, {
      remedy: 'Use at most 128 characters, no slashes and no control characters.',
    })
  if (snapshots.some((one) => one.name === name))
    throw new VisorError('already-exists', `There is already a snapshot '${name}'.`, {
      remedy: 'Choose another name, or remove that one first.',
      object: { kind: 'snapshot', name },
    })
  return name
}

/** The disks that can change, or those of them that are asked for. */
function chooseDisks(
  { registry }: DiskWork,
  uuid: string,
  { disks: wanted }: CreateSnapshotOptions,
): ChosenDisk[] {
  const { name, devices } = definitionNow(registry, uuid)
  const unknown = wanted?.find((target) => !devices.disks.some((disk) => disk.target === target))
  if (unknown !== undefined)
    throw new VisorError('invalid-argument', `Domain '${name}' has no disk '${unknown}'.`)
  const chosen: ChosenDisk[] = []
  for (const [index, disk] of devices.disks.entries()) {
    if (disk.device !== 'disk' || disk.readonly || (wanted && !wanted.includes(disk.target))) continue
    if (!wanted && isLeftOut(disk)) continue
    const reason = notKept(disk)
    if (reason !== undefined && !wanted) continue
    const refusal = reason ?? notWritable(disk)
    if (refusal !== undefined)
      throw unsupported(
        `devices.disks[${index}]`,
        `no snapshot can be taken of '${disk.target}': ${refusal}`,
        'Name the other disks.',
      )
    const file = fileOf(disk)
    if (!file)
      throw unsupported(
        `devices.disks[${index}]`,
        `'${disk.target}' is no raw or qcow2 image on this host, so no snapshot can be taken of it`,
        'Name the other disks.',
      )
    chosen.push({ disk, file })
  }
  return chosen
}

/** Whether its definition says so: `<disk snapshot='no'>`. */
function isLeftOut({ unknown = [] }: Disk): boolean {
  return unknown.some(({ path, xml }) => path === '@snapshot' && /'(?:no|manual)'$/u.test(xml))
}

/** Why a disk is part of no snapshot, which goes on without it; undefined for others. */
function notKept({ shareable, transient }: Disk): string | undefined {
  if (shareable) return 'other machines may write to it at the same time'
  return transient ? 'what is written to it ends with the machine' : undefined
}

/** Why nothing can be made of a disk that would be needed; undefined for others. */
function notWritable(disk: Disk): string | undefined {
  return encryptionOf(disk) && 'it is encrypted, and what is written to an overlay of it would not be'
}

/**
 * Within the images where nothing has to be copied or stopped for it: the domain is off, and all disks are
 * qcow2 without overlays. See docs/adr/0008-snapshots.md.
 */
function chooseKind(
  tree: SnapshotTree,
  disks: readonly ChosenDisk[],
  runs: boolean,
): 'internal' | 'external' {
  const fits = !runs && disks.length > 0 && disks.every(({ file }) => file.format === 'qcow2')
  return fits && tree.made.length === 0 ? 'internal' : 'external'
}

interface Plan {
  readonly name: string
  readonly disks: readonly ChosenDisk[]
  readonly kind: 'internal' | 'external'
  readonly memory: 'no' | 'internal' | 'external'
  readonly options: CreateSnapshotOptions
}

/** The snapshot as it will be, with the names of the files that will be made. */
async function plan(
  work: DiskWork,
  uuid: string,
  { name, disks, kind, memory, options }: Plan,
): Promise<KeptSnapshot> {
  const { registry, trees } = work
  const machine = registry.machine(uuid)
  const directory = snapshotDirectory(work, uuid)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const definition = definitionNow(registry, uuid)
  const parent = trees.get(uuid).current
  const overlays = kind === 'external' ? await planOverlays(disks, { name, directory, options }) : undefined
  const keptDisks = definition.devices.disks.map(({ target }): KeptDisk => {
    if (!disks.some(({ disk }) => disk.target === target)) return { name: target, snapshot: 'no' }
    const overlay = overlays?.get(target)
    return overlay === undefined
      ? { name: target, snapshot: 'internal' }
      : { name: target, snapshot: 'external', overlay }
  })
  const id = randomUUID().slice(0, 8)
  const memoryFile = options.memoryFile ?? join(directory, `${id}.visor-state`)
  await dropStrayFirmware(directory, trees.get(uuid))
  const firmware =
    memory === 'no' ? await keepFirmware(definition, work.context.paths.of(uuid), directory, id) : undefined
  const state = machine?.state.state === 'paused' ? 'paused' : 'running'
  return {
    name,
    ...(options.description === undefined ? {} : { description: options.description }),
    ...(parent === undefined ? {} : { parent }),
    createdAt: new Date().toISOString(),
    state: machine ? (memory === 'no' ? 'disk-snapshot' : state) : 'shutoff',
    memory,
    ...(memory === 'external' ? { memoryFile } : {}),
    ...(firmware === undefined ? {} : { firmware }),
    disks: keptDisks,
    definition,
    inactive: registry.definition(uuid),
  }
}

/** The files that disks go on in: those asked for, or free names beside the files in use. */
async function planOverlays(
  disks: readonly ChosenDisk[],
  { name, directory, options }: { name: string; directory: string; options: CreateSnapshotOptions },
): Promise<Map<string, string>> {
  const overlays = new Map<string, string>()
  for (const { disk, file } of disks) {
    const given = options.overlays?.find((one) => one.disk === disk.target)?.file
    const folder = file.type === 'file' ? dirname(file.path) : directory
    // Two disks may be of one name but for its ending.
    const taken = new Set(overlays.values())
    overlays.set(disk.target, given ?? (await freePath(folder, file.path, name, taken)))
  }
  return overlays
}

/** What is asked for by name must fit, and be nothing that is there: work that fails removes what it made. */
async function checkFiles(
  disks: readonly ChosenDisk[],
  kind: 'internal' | 'external',
  memory: string,
  { overlays = [], memoryFile }: CreateSnapshotOptions,
): Promise<void> {
  const files = [...overlays.map(({ file }) => file), ...(memoryFile === undefined ? [] : [memoryFile])]
  const stray = overlays.find((one) => !disks.some(({ disk }) => disk.target === one.disk))
  if (stray)
    throw new VisorError('invalid-argument', `'${stray.disk}' is no disk of the snapshot.`, {
      remedy: 'Name files only for disks that the snapshot is of.',
    })
  if (overlays.length > 0 && kind === 'internal')
    throw new VisorError('invalid-argument', 'A snapshot within the images has no files of its own.')
  if (memoryFile !== undefined && memory !== 'external')
    throw new VisorError('invalid-argument', 'There is no memory that could be written to a file.', {
      remedy: 'Only a snapshot of a machine that runs, external and with its memory, has such a file.',
    })
  for (const [index, path] of files.entries()) {
    if (files.indexOf(path) !== index)
      throw new VisorError('invalid-argument', `The file '${path}' is named twice.`)
    if (await unlessMissing(lstat(path)))
      throw new VisorError('already-exists', `There is already a file '${path}'.`, {
        remedy: 'Name another one, or remove it.',
      })
  }
}

/** With the file systems of the guest frozen, if that is wanted. */
async function quiesced(
  { context }: DiskWork,
  machine: Machine | undefined,
  wanted: boolean,
  take: () => Promise<void>,
): Promise<void> {
  if (!wanted) return take()
  if (machine?.state.state !== 'running')
    throw new VisorError('invalid-state', 'Only a running guest can be quiesced.', {
      remedy: 'Leave the guest to itself (without quiesce): a domain that is off has no open files.',
    })
  await freezeGuest(context, machine)
  try {
    await take()
  } finally {
    await thawGuest(context, machine)
  }
}
