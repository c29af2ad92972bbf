/** Images as files: made, joined and looked at by qemu-img while no machine has them open. */
import { chmod, open, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { runChecked, syncDirectory, unlessMissing } from '../../../host/index.ts'
import type { Disk } from '../../../model/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { DiskFormat } from '../disks/disk-image.ts'
import { isRecord } from '../qmp/index.ts'

/** A file or device with the data of a disk. */
export interface DiskFile {
  readonly type: 'file' | 'block'
  readonly path: string
  readonly format: DiskFormat
}

/** What a disk has as its image; undefined for an empty drive, and for what is no raw or qcow2 image on this host. */
export function fileOf({ type, file, block, format }: Disk): DiskFile | undefined {
  const path = type === 'block' ? block : file
  if (path === undefined || (type !== 'file' && type !== 'block')) return undefined
  return format === 'raw' || format === 'qcow2' ? { type, path, format } : undefined
}

/** The disk with another image. */
export function withFile(disk: Disk, { type, path, format }: DiskFile): Disk {
  const { file: _file, block: _block, backingStore: _backing, ...other } = disk
  const { pool: _pool, volume: _volume, poolMode: _mode, ...rest } = other
  return { ...rest, type, format, ...(type === 'block' ? { block: path } : { file: path }) }
}

const slowMs = 24 * 3_600_000
type Cancel = { readonly signal?: AbortSignal | undefined }

function qemuImg(args: readonly string[], { signal }: Cancel = {}) {
  return runChecked('qemu-img', args, { timeoutMs: slowMs, ...(signal ? { signal } : {}) }).catch(inWords)
}

function inWords(error: unknown): never {
  if (error instanceof VisorError && error.code === 'unavailable')
    throw new VisorError('unavailable', error.message, { cause: error, remedy: 'Install qemu-utils.' })
  if (error instanceof VisorError && /No space left/iu.test(error.message))
    throw new VisorError('failed', error.message, {
      cause: error,
      remedy: 'Make room where the image is, and try again.',
    })
  throw error
}

interface NewImage {
  readonly format: 'raw' | 'qcow2'
  readonly sizeBytes: number
  readonly backing?: DiskFile
  /** The file with the passphrase that it is encrypted with (LUKS); a raw image is a LUKS volume then. */
  readonly keyFile?: string | undefined
}

/**
 * Makes an image, durable when it resolves. With `backing` it is an empty overlay of that, which is not
 * opened. Fails with `already-exists` when there is such a file.
 */
export async function makeImage(path: string, options: NewImage): Promise<void> {
  const { format, sizeBytes, backing, keyFile } = options
  const reserved = await open(path, 'wx', 0o600).catch((cause) => {
    if (cause.code === 'EEXIST')
      throw new VisorError('already-exists', `There is already a file '${path}'.`, {
        remedy: 'Name another one, or remove it.',
      })
    throw new VisorError('failed', `The image '${path}' cannot be made: ${cause.message}.`, { cause })
  })
  await reserved.close()
  try {
    const base = backing ? ['-u', '-b', backing.path, '-F', backing.format] : []
    const kind = keyFile === undefined ? ['-f', format] : encryptedWith(format, keyFile)
    await createImage(['create', '-q', ...kind, ...base, path, String(sizeBytes)])
    await chmod(path, 0o600)
    const file = await open(path, 'r+')
    await file.sync().finally(() => file.close())
    await syncDirectory(dirname(path))
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
}

const encryptedWith = (format: NewImage['format'], keyFile: string) => [
  ...['--object', `secret,id=key,file=${keyFile.replaceAll(',', ',,')}`],
  ...(format === 'raw'
    ? ['-f', 'luks', '-o', 'key-secret=key']
    : ['-f', format, '-o', 'encrypt.format=luks,encrypt.key-secret=key']),
]

/** How long a key takes is measured by processor time, which a busy host may not tell: it is tried again then. */
async function createImage(args: readonly string[]): Promise<void> {
  for (let tries = 1; ; tries++)
    try {
      await qemuImg(args)
      return
    } catch (error) {
      if (tries === 20 || !/accurate CPU usage/u.test(String(error))) throw error
    }
}

/** A path beside `file` that names what it is for, and that is not taken: neither there nor about to be made. */
export async function freePath(
  directory: string,
  file: string,
  word: string,
  taken: ReadonlySet<string> = new Set(),
): Promise<string> {
  const stem = basename(file)
    .replace(/\.(?:qcow2|raw|img)$/iu, '')
    .slice(0, 100)
  const safe = word.replace(/[^\w.-]/gu, '_').slice(0, 80)
  for (let number = 1; ; number++) {
    const path = join(directory, `${stem}.${safe}${number === 1 ? '' : `-${number}`}.overlay`)
    if (!taken.has(path) && !(await unlessMissing(stat(path)))) return path
  }
}

export interface ImageFacts {
  readonly sizeBytes: number
  readonly backing: string | undefined
  readonly bitmaps: readonly { readonly name: string; readonly inconsistent: boolean }[]
  readonly internalSnapshots: readonly string[]
}

/** What an image says of itself, in the format it is said to have. `shared`: a machine may have it open. */
export async function inspectImage(
  { path, format }: Pick<DiskFile, 'path' | 'format'>,
  { shared = false } = {},
): Promise<ImageFacts> {
  const { stdout } = await qemuImg(['info', ...(shared ? ['-U'] : []), '--output=json', '-f', format, path])
  const facts: unknown = JSON.parse(stdout)
  if (!isRecord(facts)) throw new VisorError('failed', `qemu-img says nothing of '${path}'.`)
  const specific = isRecord(facts['format-specific']) ? facts['format-specific'].data : undefined
  const bitmaps =
    isRecord(specific) && Array.isArray(specific.bitmaps) ? specific.bitmaps.filter(isRecord) : []
  const snapshots = Array.isArray(facts.snapshots) ? facts.snapshots.filter(isRecord) : []
  const backing = facts['full-backing-filename'] ?? facts['backing-filename']
  return {
    sizeBytes: Number(facts['virtual-size']),
    backing: typeof backing === 'string' ? backing : undefined,
    bitmaps: bitmaps.map(({ name, flags }) => ({
      name: String(name),
      inconsistent: Array.isArray(flags) && flags.includes('in-use'),
    })),
    internalSnapshots: snapshots.map(({ name }) => String(name)),
  }
}

/** Writes all that a guest sees of `from`, whatever that is based on, into a new file, sparse but for `whole`. */
export async function convertFile(
  { path, format }: Pick<DiskFile, 'path' | 'format'>,
  target: string,
  {
    to = format,
    whole = false,
    ...cancel
  }: Cancel & { readonly to?: DiskFormat; readonly whole?: boolean } = {},
): Promise<void> {
  await qemuImg(
    ['convert', '-q', ...(whole ? ['-S', '0'] : []), '-f', format, '-O', to, path, target],
    cancel,
  )
}

/** Writes the data of `top` (and of what is between) down into `base`; `top` stays as it is. */
export async function commitFile(top: DiskFile, base: DiskFile, cancel: Cancel): Promise<void> {
  await qemuImg(['commit', '-q', '-d', '-f', top.format, '-b', base.path, top.path], cancel)
}

/** Says in the header of `path` that it is based on another file, with the same data. */
export async function renameBacking(path: string, base: DiskFile | undefined): Promise<void> {
  const to = base ? ['-b', base.path, '-F', base.format] : ['-b', '']
  await qemuImg(['rebase', '-q', '-u', '-f', 'qcow2', ...to, path])
}

/** Copies into `path` what it has from files above `base`, and bases it on that. */
export async function pullFile(path: string, base: DiskFile | undefined, cancel: Cancel): Promise<void> {
  const to = base ? ['-b', base.path, '-F', base.format] : ['-b', '']
  await qemuImg(['rebase', '-q', '-f', 'qcow2', ...to, path], cancel)
}

export async function resizeFile({ path, format }: DiskFile, sizeBytes: number): Promise<void> {
  await qemuImg(['resize', '-q', '-f', format, path, String(sizeBytes)])
}

/** Internal snapshots of an image that is not in use. */
export async function snapshotFile(
  action: 'create' | 'apply' | 'delete',
  name: string,
  path: string,
): Promise<void> {
  const flag = { create: '-c', apply: '-a', delete: '-d' }[action]
  await qemuImg([
    'snapshot',
    '-q',
    flag,
    name,
    '--image-opts',
    `driver=qcow2,file.driver=file,file.filename=${path.replaceAll(',', ',,')}`,
  ])
}

/** Adds a bitmap that records what is written from now on. */
export async function addBitmap(path: string, name: string): Promise<void> {
  await qemuImg(['bitmap', '--add', '-f', 'qcow2', path, name])
}

export async function removeBitmap(path: string, name: string): Promise<void> {
  await qemuImg(['bitmap', '--remove', '-f', 'qcow2', path, name])
}

/** Adds to a bitmap what that of the same name in another image has. */
export async function mergeBitmap(path: string, name: string, from: string): Promise<void> {
  await qemuImg(['bitmap', '--merge', name, '-b', from, '-F', 'qcow2', '-f', 'qcow2', path, name])
}
