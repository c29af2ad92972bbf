/**
 * Looks at disk images before QEMU opens them, so that nothing but what the definition names is ever opened
 * by surprise.
 */
import { type FileHandle, open, realpath } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { badImage, errorNumber, findRefusing, readImageHeader } from '../../../host/index.ts'
import { type BackingStore, type Disk, diskFormats, VisorError } from '../../../model/index.ts'
import { encryptionOf } from './disk-secrets.ts'
import { describeSource, type Source } from './disk-source.ts'

export type DiskFormat = Disk['format']

/** An image and what it is based on. */
export interface DiskImage {
  /** Of a file or block device; of anything else its name, for people. */
  readonly path: string
  readonly format: DiskFormat
  readonly backing?: DiskImage
  readonly isDevice?: true
  /** Where it is when that is no file: it is not looked into. */
  readonly source?: Source
  /** How it is encrypted, where the disk does not say it. */
  readonly encrypted?: NonNullable<Disk['encryption']>
  /** Files beside it that hold its data. */
  readonly extents?: readonly string[]
}

const longestChain = 64

/**
 * The image at `path` with all it is based on. Fails with `not-found` when a file is missing, `denied` when
 * it cannot be read, and `failed` when it is not what it is said to be, damaged, encrypted, or keeps its
 * data elsewhere.
 */
export async function readDiskImage(path: string, format: DiskFormat): Promise<DiskImage> {
  return readChain({ path, format }, new Set())
}

/** The medium of a disk as its definition has it; undefined for an empty drive. Fails as {@link readDiskImage}. */
export async function readMedium(disk: Disk): Promise<DiskImage | undefined> {
  if (disk.type === 'vhostuser') return undefined
  const path = localPath(disk)
  if (path === undefined && (disk.type === 'file' || disk.type === 'block')) return undefined
  const link = { format: disk.format, stated: disk.backingStore, encrypted: encryptionOf(disk) !== undefined }
  if (path !== undefined) return readChain({ ...link, path }, new Set())
  return remote(disk, disk.format, disk.backingStore, new Set())
}

interface Link {
  readonly path: string
  readonly format: string
  /** What the definition says it is based on; else the image says it. */
  readonly stated?: BackingStore | undefined
  readonly encrypted?: boolean
}

const localPath = ({ type = 'file', file, block }: Source) => (type === 'block' ? block : file)

async function remote(
  source: Source,
  format: string,
  stated: BackingStore | undefined,
  seen: Set<string>,
): Promise<DiskImage> {
  const path = describeSource(source)
  return { path, format: knownFormat(path, format), source, ...(await basedOn(path, stated, seen)) }
}

async function basedOn(
  path: string,
  stated: BackingStore | undefined,
  seen: Set<string>,
): Promise<{ backing?: DiskImage }> {
  if (!stated || isEnd(stated)) return {}
  if (stated.format === undefined) throw badImage(path, 'is based on an image whose format is not said')
  const { format, backingStore } = stated
  const file = localPath(stated)
  const backing =
    file === undefined
      ? await remote(stated, format, backingStore, seen)
      : await readChain({ path: file, format, stated: backingStore }, seen)
  return { backing }
}

/** libvirt's empty element: here the chain ends. */
const isEnd = (store: BackingStore): boolean =>
  store.format === undefined && store.type === undefined && localPath(store) === undefined

async function readChain({ path, format, stated, encrypted }: Link, seen: Set<string>): Promise<DiskImage> {
  const file = await openImage(path)
  try {
    const real = await realpath(path)
    if (seen.has(real)) throw badImage(path, 'is based on itself')
    if (seen.size >= longestChain) throw badImage(path, `is based on more than ${longestChain} other images`)
    seen.add(real)
    const kind = await file.stat()
    if (!kind.isFile() && !kind.isBlockDevice()) throw badImage(path, 'is neither a file nor a block device')
    const image = {
      path,
      format: knownFormat(path, format),
      ...(kind.isBlockDevice() ? { isDevice: true as const } : {}),
    }
    const header = await readImageHeader(file, path, format)
    if (header.isEncrypted && !encrypted)
      throw badImage(path, 'is encrypted', { remedy: 'Name its secret in the definition: encryption.' })
    const { extents = [], backing } = header
    const whole = {
      ...image,
      ...(extents.length > 0 ? { extents: extents.map((name) => join(dirname(real), name)) } : {}),
    }
    if (stated && isEnd(stated) && backing)
      throw badImage(path, `is based on '${backing.name}', but the definition says on nothing`, {
        remedy: 'Take the empty backingStore out of the definition.',
      })
    if (stated && !isEnd(stated)) return { ...whole, ...(await basedOn(path, stated, seen)) }
    return backing ? { ...whole, backing: await readBacking(path, real, backing, seen) } : whole
  } finally {
    await file.close()
  }
}

function readBacking(
  path: string,
  real: string,
  { name, format }: { readonly name: string; readonly format: string | undefined },
  seen: Set<string>,
): Promise<DiskImage> {
  if (/^[a-z][a-z0-9+.-]*:/iu.test(name))
    throw badImage(path, `is based on '${name}', which is no file`, {
      remedy: 'Say in the definition what it is based on: backingStore.',
    })
  if (!format)
    throw badImage(path, `is based on '${name}' without saying in which format that is`, {
      remedy: `Say it once: 'qemu-img rebase -u -b ${name} -F qcow2 ${path}' (or -F raw).`,
    })
  return readChain({ path: isAbsolute(name) ? name : resolve(dirname(real), name), format }, seen)
}

function knownFormat(path: string, format: string): DiskFormat {
  // Names of QEMU that libvirt has others for.
  const name = format === 'parallels' ? 'ploop' : format
  const found = diskFormats.find((one) => one === name)
  if (found) return found
  throw badImage(path, `has the format '${format}', which cannot be used`)
}

async function openImage(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    throw cannotOpen(path, cause, 'disk image')
  }
}

/** The error for a file of a definition that cannot be used. */
export function cannotOpen(path: string, cause: unknown, what: string): VisorError {
  const number = errorNumber(cause)
  if (number === 'ENOENT' || number === 'ENOTDIR')
    return new VisorError('not-found', `The ${what} '${path}' does not exist.`, {
      cause,
      remedy: 'Make it, or correct the path in the definition.',
      object: { kind: 'file', name: path },
    })
  if (number === 'EACCES' || number === 'EPERM') return refused(path, cause, what)
  if (number === 'ENAMETOOLONG')
    return new VisorError(
      'invalid-argument',
      `The path of the ${what} is too long: '${path.slice(0, 200)}'...`,
      {
        cause,
        remedy: 'A name has at most 255 bytes, a path 4095.',
      },
    )
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new VisorError('failed', `The ${what} '${path}' cannot be opened: ${reason}.`, { cause })
}

function refused(path: string, cause: unknown, what: string): VisorError {
  const component = findRefusing(path)
  const isFile = component === path
  const where = isFile ? 'it is not open' : `the folder '${component}' cannot be entered`
  return new VisorError(
    'denied',
    `The ${what} '${path}' cannot be opened: ${where} to uid ${process.getuid?.()}.`,
    {
      cause,
      remedy: isFile
        ? 'Let the user that visor runs as read it, and write it if the guest shall.'
        : `Let the user that visor runs as enter it ('chmod o+x ${component}'), or keep the ${what} elsewhere.`,
      object: { kind: 'file', name: component },
    },
  )
}
