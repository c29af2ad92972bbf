/** The disks of a domain that arrives: those both hosts see are looked at, those that are copied are made. */
import { open, rm, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { PrepareMigrationOptions } from '../../../driver/index.ts'
import { runChecked, unlessMissing } from '../../../host/index.ts'
import { type Disk, VisorError } from '../../../model/index.ts'
import { makeImage } from '../block/image-files.ts'
import type { Context } from '../context.ts'
import { encryptionOf, keyFileOf } from '../disks/disk-secrets.ts'
import type { GuestPaths } from '../paths.ts'

export interface ArrivingDisk {
  readonly disk: Disk
  readonly path: string
  readonly asked: PrepareMigrationOptions['disks'][number]
}

/** Pairs what the source says with what the definition wants here. */
export function pairDisks({ definition, disks }: PrepareMigrationOptions): ArrivingDisk[] {
  return disks.flatMap((asked) => {
    const disk = definition.devices.disks.find(({ target }) => target === asked.target)
    const path = disk?.file ?? disk?.block
    return disk && path !== undefined ? [{ disk, path, asked }] : []
  })
}

type Keeper = Pick<Context, 'storage'>

/**
 * Fails when a disk that is shared is not, `already-exists` when one that is copied would replace a file, and
 * `failed` when there is no room for it. Changes nothing.
 */
export async function checkDisks(
  keeper: Keeper,
  arriving: readonly ArrivingDisk[],
  sameHost: boolean,
  unsafe: boolean,
): Promise<void> {
  const needed = new Map<string, number>()
  for (const { disk, path, asked } of arriving) {
    if (asked.copy === 'none') await checkShared(disk, path, asked, sameHost, unsafe)
    else {
      await checkFree(path)
      await checkKey(keeper, disk)
      const folder = dirname(path)
      needed.set(folder, (needed.get(folder) ?? 0) + asked.allocatedBytes)
    }
  }
  for (const [folder, bytes] of needed) await checkRoom(folder, bytes)
}

async function checkShared(
  { readonly, device, cache, target }: Disk,
  path: string,
  { inode, device: fileSystem }: ArrivingDisk['asked'],
  sameHost: boolean,
  unsafe: boolean,
): Promise<void> {
  // One that nobody writes to may be a copy.
  if (readonly || device !== 'disk') return
  const there = await unlessMissing(stat(path))
  const same = there?.isBlockDevice() || (there?.ino === inode && (!sameHost || there?.dev === fileSystem))
  if (inode !== undefined && !same)
    throw new VisorError(
      'unsupported-config',
      there
        ? `The disk '${target}' is not shared: '${path}' at the destination is another file than at the source.`
        : `The disk '${target}' is not shared: there is no '${path}' at the destination.`,
      {
        path: `devices.disks[${target}]`,
        remedy: "Copy it: 'visor migrate --copy-storage all'; or have both hosts see the same file there.",
      },
    )
  if (cache === 'unsafe' && !unsafe && !sameHost)
    throw new VisorError(
      'unsupported-config',
      `The disk '${target}' has the cache mode 'unsafe': what the guest wrote may not be in the file when it goes on at the destination.`,
      { remedy: "Change its cache mode, or say '--unsafe'." },
    )
}

async function checkFree(path: string): Promise<void> {
  if (await unlessMissing(stat(path)))
    throw new VisorError('already-exists', `There is already a file '${path}' at the destination.`, {
      object: { kind: 'file', name: path },
      remedy:
        "Remove it, or choose another place there: 'visor migrate --copy-to FOLDER', or '--disk TARGET=FILE'.",
    })
}

/** A copy is encrypted with the key that is here, not with one that comes over the wire. */
async function checkKey({ storage }: Keeper, disk: Disk): Promise<void> {
  const [key] = encryptionOf(disk)?.secrets ?? []
  if (!key) return
  const { file, uuid, usage } = key
  if (file === undefined && storage) {
    await storage.secret(key, 'volume').catch((cause: unknown) => {
      if (!(cause instanceof VisorError) || cause.code !== 'not-found') throw cause
      throw new VisorError(
        'not-found',
        `There is no secret '${uuid ?? usage}' with the key of the disk '${disk.target}' at the destination.`,
        { cause, remedy: 'Define it there with the same uuid and value: visor sends no keys.' },
      )
    })
    return
  }
  if (file !== undefined && (await unlessMissing(stat(file)))) return
  throw new VisorError(
    'not-found',
    `There is no file '${file}' with the key of the disk '${disk.target}' at the destination.`,
    { remedy: "Put it there yourself: visor sends no keys. Or name another one with '--definition'." },
  )
}

async function checkRoom(folder: string, bytes: number): Promise<void> {
  const room = await statfs(folder).catch((cause) => {
    throw new VisorError('not-found', `There is no folder '${folder}' at the destination.`, {
      cause,
      remedy: "Make it, or choose another one: 'visor migrate --copy-to FOLDER'.",
    })
  })
  const free = room.bavail * room.bsize
  if (free < bytes)
    throw new VisorError(
      'failed',
      `The disks need ${Math.ceil(bytes / 2 ** 20)} MiB in '${folder}' at the destination, which has ${Math.floor(free / 2 ** 20)} MiB left.`,
      { remedy: "Make room, or choose another place: 'visor migrate --copy-to FOLDER'." },
    )
}

/** Makes the files of disks that are copied; removes those it made when one fails. */
export async function makeDisks(
  arriving: readonly ArrivingDisk[],
  paths: Pick<GuestPaths, 'secret'>,
): Promise<void> {
  const made: string[] = []
  try {
    for (const { disk, path, asked } of arriving) {
      if (asked.copy === 'none') continue
      const keyFile = keyFileOf(disk, paths)
      if (keyFile !== undefined) {
        await makeEncrypted({ disk, path, asked }, keyFile)
        made.push(path)
        continue
      }
      const file = await open(path, 'wx', 0o600)
      made.push(path)
      try {
        if (disk.format === 'raw') await file.truncate(asked.sizeBytes)
      } finally {
        await file.close()
      }
      if (disk.format !== 'raw') await formatDisk(path, disk.format, asked)
    }
  } catch (error) {
    await removeDisks(made)
    throw error
  }
}

function makeEncrypted({ disk, path, asked }: ArrivingDisk, keyFile: string): Promise<void> {
  const { format, target } = disk
  const { sizeBytes, copy, base } = asked
  if ((format !== 'raw' && format !== 'qcow2') || (copy === 'inc' && base))
    throw new VisorError(
      'unsupported-config',
      `The encrypted disk '${target}' is no raw or qcow2 image that can be copied as a whole.`,
      { path: `devices.disks[${target}]`, remedy: "Copy all of it: '--copy-storage all'." },
    )
  return makeImage(path, { format, sizeBytes, keyFile })
}

function formatDisk(path: string, format: string, { copy, base, sizeBytes }: ArrivingDisk['asked']) {
  const onBase = copy === 'inc' && base ? ['-b', base.file, '-F', base.format] : []
  return runChecked('qemu-img', ['create', '-q', '-f', format, ...onBase, '--', path, String(sizeBytes)])
}

export async function removeDisks(files: readonly string[]): Promise<void> {
  for (const file of files) await rm(file, { force: true })
}
