/** The disks of a copy of a machine that is off: which files are copied, where to, and how. */
import { constants, copyFile, lstat, open, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'
import type { CallOptions } from '../../../driver/index.ts'
import { createOverlay, macAddress, unlessMissing } from '../../../host/index.ts'
import { type Disk, VisorError } from '../../../model/index.ts'
import { copySeed } from '../../../storage/index.ts'
import { convertFile, type DiskFile, fileOf, inspectImage } from '../block/image-files.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type DiskImage, readDiskImage } from '../disks/disk-image.ts'
import { encryptionOf } from '../disks/disk-secrets.ts'
import { isWritten } from '../disks/disks.ts'
import { locateVolume } from '../disks/volume-disks.ts'

/** A file that will be made for the copy. */
export interface DiskCopy {
  readonly target: string
  readonly from: DiskFile
  readonly to: DiskFile
  /** What it is called while it is made. */
  readonly partial: string
  /** What the guest sees. */
  readonly sizeBytes: number
  /** What its source takes on the host, with all it is based on. */
  readonly allocatedBytes: number
  /** The source, and what that is based on. */
  readonly chain: readonly string[]
  /** Nothing is in the file but what the guest sees, so that it can be copied as it is. */
  readonly isPlain: boolean
  readonly encrypted: boolean
  /** What is in the file instead of a copy. */
  readonly content?: Buffer
}

export interface CopyIdentity {
  readonly uuid: string
  readonly name: string
  readonly linked: boolean
}

/**
 * What has to be copied for a machine of this name. Fails with `unsupported-config` for a disk that cannot be
 * copied, `already-exists` when there is such a file, or as {@link readDiskImage}. Makes nothing.
 */
export async function planCopies(
  context: Context,
  source: CompleteDefinition,
  identity: CopyIdentity,
): Promise<DiskCopy[]> {
  const copies: DiskCopy[] = []
  for (const [index, disk] of source.devices.disks.entries()) {
    if (!isOwn(disk)) {
      const seed = await planSeed(context, source, { ...identity, disk }, copies)
      if (seed) copies.push(seed)
      continue
    }
    const from = fileOf(disk)
    const encrypted = encryptionOf(disk) !== undefined
    if (from?.type !== 'file')
      throw unsupported(
        `devices.disks[${index}]`,
        `'${disk.target}' is no raw or qcow2 file, so it cannot be copied`,
        'Make it read-only or shareable, which both machines then have, or take it out of the definition.',
      )
    if (encrypted && identity.linked) throw encryptedDisk(index, disk, 'an overlay of it would not be')
    const image = encrypted ? undefined : await readDiskImage(from.path, from.format)
    const facts = await inspectImage(from)
    if (encrypted && facts.backing !== undefined)
      throw encryptedDisk(index, disk, 'what is below it is not copied')
    const chain = image ? pathsOf(image) : [from.path]
    const to = await choosePath(context, source, { ...identity, disk, from }, copies)
    copies.push({
      ...{ target: disk.target, from, to, encrypted, chain, sizeBytes: facts.sizeBytes },
      partial: join(dirname(to.path), `.new-${crypto.randomUUID()}`),
      allocatedBytes: identity.linked ? 0 : await allocated(chain),
      isPlain:
        facts.backing === undefined && facts.bitmaps.length === 0 && facts.internalSnapshots.length === 0,
    })
  }
  return copies
}

/** The seed of a first boot that visor made, with the identity of the copy; undefined for any other medium. */
async function planSeed(
  context: Context,
  source: CompleteDefinition,
  { disk, ...identity }: CopyIdentity & { readonly disk: Disk },
  others: readonly DiskCopy[],
): Promise<DiskCopy | undefined> {
  if (disk.device !== 'cdrom') return undefined
  const { uuid, name } = identity
  const { type, file: path } = await locateVolume(context, disk)
  if (type !== 'file' || path === undefined) return undefined
  const macs = source.devices.interfaces.flatMap(({ mac }, index) =>
    mac === undefined ? [] : [[mac, macAddress(uuid, index)] as const],
  )
  const content = await unlessMissing(
    copySeed(path, {
      instanceId: uuid,
      hostname: { from: source.name, to: name },
      macs: new Map(macs),
    }),
  )
  if (!content) return undefined
  const from = { type: 'file', path, format: 'raw' } as const
  const to = await choosePath(context, source, { ...identity, linked: false, disk, from }, others)
  return {
    ...{ target: disk.target, from, to, content, chain: [], sizeBytes: content.length, allocatedBytes: 0 },
    partial: join(dirname(to.path), `.new-${crypto.randomUUID()}`),
    ...{ isPlain: true, encrypted: false },
  }
}

/** Whether the copy needs one of its own: others are shared, since nobody writes to them for good, or all may. */
function isOwn(disk: Disk): boolean {
  const isEmpty = disk.type === 'file' && disk.file === undefined
  return isWritten(disk) && !disk.transient && !disk.shareable && !isEmpty
}

function encryptedDisk(index: number, { target }: Disk, why: string): VisorError {
  return unsupported(
    `devices.disks[${index}].encryption`,
    `'${target}' is encrypted, and ${why}`,
    'Copy it with qemu-img, and define the machine with the copy.',
  )
}

function pathsOf(image: DiskImage): string[] {
  return [image.path, ...(image.backing ? pathsOf(image.backing) : [])]
}

async function allocated(paths: readonly string[]): Promise<number> {
  const sizes = await Promise.all(paths.map(async (path) => (await stat(path)).blocks * 512))
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** Beside its source, and named after it where that has the name of its machine. */
async function choosePath(
  { paths }: Context,
  source: CompleteDefinition,
  { uuid, name, linked, disk, from }: CopyIdentity & { readonly disk: Disk; readonly from: DiskFile },
  others: readonly DiskCopy[],
): Promise<DiskFile> {
  const format = linked ? 'qcow2' : from.format
  const ending = linked ? '.qcow2' : extname(from.path)
  const stem = basename(from.path, extname(from.path))
  const rest = stem.startsWith(source.name) ? stem.slice(source.name.length) : undefined
  const isNamed = rest !== undefined && /^(?:$|[\W_])/u.test(rest)
  const safe = name.replace(/[^\w.-]/gu, '_').slice(0, 100)
  const names = [...(isNamed ? [`${safe}${rest}`] : []), `${safe}-${disk.target}`]
  // What a live clone has of its own goes with that.
  const isOfClone = dirname(dirname(from.path)) === paths.clones
  const directory = isOfClone ? paths.of(uuid).clone : dirname(from.path)
  const path = names
    .map((one) => join(directory, `${one}${ending}`))
    .find((one) => !others.some(({ to }) => to.path === one))
  if (path === undefined || (await unlessMissing(lstat(path))))
    throw new VisorError('already-exists', `There is already a file '${path}'.`, {
      object: { kind: 'file', name: path ?? name },
      remedy: 'Move or remove it, or choose another name for the machine.',
    })
  return { type: 'file', path, format }
}

/** Makes the file under its name for the time being, durable when it resolves; `signal` gives up. */
export async function copyDisk(copy: DiskCopy, linked: boolean, { signal }: CallOptions): Promise<void> {
  const { from, partial, sizeBytes, isPlain, encrypted, content } = copy
  if (linked && !content) {
    const format = from.format === 'raw' ? 'raw' : 'qcow2'
    return createOverlay(partial, { file: from.path, format, sizeBytes })
  }
  // A copy of nothing but references, where the file system can do that.
  const isCloned =
    isPlain &&
    !content &&
    (await copyFile(from.path, partial, constants.COPYFILE_FICLONE_FORCE).then(
      () => true,
      () => false,
    ))
  if (content) await writeFile(partial, content, { mode: 0o600 })
  else if (!isCloned && encrypted) await copyFile(from.path, partial)
  else if (!isCloned) await convertFile(from, partial, { signal })
  const file = await open(partial, 'r+')
  try {
    await file.chmod(0o600)
    await file.sync()
  } finally {
    await file.close()
  }
}
