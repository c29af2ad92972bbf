/**
 * What a snapshot, checkpoint or backup that libvirt's XML describes asks for, as options of ours. What cannot be
 * had is refused by its name: nothing of a description is passed over in silence.
 */
import {
  type BackupDefinition,
  type CheckpointDefinition,
  type DomainDefinition,
  type SnapshotDefinition,
  VisorError,
} from '../model/index.ts'
import type { BackupBlockOptions } from './parts/blocks.ts'
import type { CreateCheckpointOptions, CreateSnapshotOptions } from './parts/snapshots.ts'

type Disks = DomainDefinition['devices']['disks']

/**
 * The options of a snapshot of a machine with these disks. As in libvirt, disks that are not named are part of
 * it; parent, state, time and definitions are of the snapshot that comes, and what stands there is passed over.
 */
export function snapshotRequest(
  wanted: SnapshotDefinition,
  { devices }: Pick<DomainDefinition, 'devices'>,
): CreateSnapshotOptions {
  refuseUnknown(wanted.unknown, 'snapshot')
  const overlays: { disk: string; file: string }[] = []
  const kinds = new Set<'internal' | 'external'>()
  const left = new Set<string>()
  for (const disk of wanted.disks) {
    const target = targetOf(devices.disks, disk.name)
    if (disk.snapshot === 'no') left.add(target)
    else if (disk.snapshot === 'manual') throw refused(disk.name, "snapshot 'manual'")
    else if (disk.snapshot) kinds.add(disk.snapshot)
    if (disk.snapshot === 'no') continue
    refuseUnknown(disk.unknown, `disk '${disk.name}'`)
    if (disk.type === 'network' || disk.type === 'block' || disk.block !== undefined)
      throw refused(disk.name, 'an overlay that is no file')
    if (disk.format !== undefined && disk.format !== 'qcow2' && disk.snapshot !== 'internal')
      throw refused(disk.name, `an overlay of format '${disk.format}'`)
    if (disk.file !== undefined) overlays.push({ disk: target, file: disk.file })
  }
  if (overlays.length > 0 || wanted.memory === 'external') kinds.add('external')
  if (wanted.memory === 'internal') kinds.add('internal')
  const [kind] = kinds
  if (kinds.size > 1)
    throw new VisorError(
      'unsupported-config',
      'A snapshot has all its disks and memory within the images, or all below overlays.',
      { remedy: "Say snapshot='internal' or snapshot='external' for all of them." },
    )
  const disks = devices.disks
    .filter(({ device, readonly, target }) => device === 'disk' && !readonly && !left.has(target))
    .map(({ target }) => target)
  return {
    ...(wanted.name !== undefined && { name: wanted.name }),
    ...(wanted.description !== undefined && { description: wanted.description }),
    ...(kind && { kind }),
    ...(wanted.memory === 'no' && { diskOnly: true }),
    ...(wanted.memoryFile !== undefined && { memoryFile: wanted.memoryFile }),
    ...(left.size > 0 && { disks }),
    ...(overlays.length > 0 && { overlays }),
  }
}

/** The options of a checkpoint of a machine with these disks: of those that are named, of all where none is. */
export function checkpointRequest(
  wanted: CheckpointDefinition,
  { devices }: Pick<DomainDefinition, 'devices'>,
): CreateCheckpointOptions {
  refuseUnknown(wanted.unknown, 'checkpoint')
  const chosen = wanted.disks.filter(({ checkpoint }) => checkpoint !== 'no')
  const disks = chosen.map(({ name, bitmap, unknown }) => {
    refuseUnknown(unknown, `disk '${name}'`)
    if (bitmap !== undefined && bitmap !== wanted.name) throw refused(name, 'a bitmap of another name')
    return targetOf(devices.disks, name)
  })
  return {
    ...(wanted.name !== undefined && { name: wanted.name }),
    ...(wanted.description !== undefined && { description: wanted.description }),
    ...(wanted.disks.length > 0 && { disks }),
  }
}

/** The options of a backup of a machine with these disks; all of them where none is named. */
export function backupRequest(
  wanted: BackupDefinition,
  { devices }: Pick<DomainDefinition, 'devices'>,
): BackupBlockOptions {
  refuseUnknown(wanted.unknown, 'backup')
  if (wanted.tls) throw refused('server', 'TLS')
  const server =
    wanted.socket ?? (wanted.host === undefined ? undefined : `${wanted.host}:${wanted.port ?? 10_809}`)
  if (wanted.mode === 'pull' && server === undefined)
    throw new VisorError('invalid-argument', 'The backup is to be served, but not where.', {
      remedy: "Add <server transport='unix' socket='/run/backup.sock'/>, or a name and a port.",
    })
  const since = new Set(wanted.incremental === undefined ? [] : [wanted.incremental])
  const chosen = wanted.disks.filter(({ backup }) => backup !== false)
  const disks = chosen.map((disk) => {
    const { name, file, block, format, exportName, exportBitmap, mode, incremental, unknown } = disk
    refuseUnknown(unknown, `disk '${name}'`)
    if (disk.type === 'block' || block !== undefined) throw refused(name, 'a target that is no file')
    if (format !== undefined && format !== 'qcow2') throw refused(name, `a target of format '${format}'`)
    if (exportBitmap !== undefined) throw refused(name, 'a bitmap of a name of its own')
    if (disk.scratch !== undefined) throw refused(name, 'a scratch file of its own')
    if (mode === 'full' && wanted.incremental !== undefined) throw refused(name, 'a mode of its own')
    if (incremental !== undefined) since.add(incremental)
    return {
      disk: targetOf(devices.disks, name),
      ...(file !== undefined && { file }),
      ...(exportName !== undefined && { export: exportName }),
    }
  })
  if (since.size > 1) throw refused([...since].join(', '), 'checkpoints that differ between disks')
  const [first] = since
  return {
    mode: wanted.mode,
    ...(server !== undefined && wanted.mode === 'pull' && { server }),
    ...(first !== undefined && { since: first }),
    ...(wanted.disks.length > 0 && { disks }),
  }
}

/** Disks go by target or file. */
function targetOf(disks: Disks, name: string): string {
  const found = disks.find(({ target, file, block }) => [target, file, block].includes(name))
  if (found) return found.target
  throw new VisorError('invalid-argument', `There is no disk '${name}'.`, {
    remedy: `There are: ${disks.map(({ target }) => target).join(', ') || 'none'}.`,
  })
}

function refused(name: string, what: string): VisorError {
  return new VisorError('unsupported-config', `'${name}' asks for ${what}, which cannot be had.`)
}

function refuseUnknown(unknown: readonly { readonly path: string }[] | undefined, of: string): void {
  const [first] = unknown ?? []
  if (first) throw new VisorError('unsupported-config', `The ${of} has '${first.path}', which cannot be had.`)
}
