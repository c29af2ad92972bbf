/** Finds the volumes in a folder, and what each of them is. */
import type { Stats } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { errorNumber, type ImageLook, probeImage, readImageHeader } from '../../../host/index.ts'
import { toVisorError, VisorError, type VolumeFormat, volumeFormats } from '../../../model/index.ts'
import { readVirtualSize } from '../qemu-img.ts'
import type { FoundVolume, VolumeNotes } from '../store.ts'
import { judgeFormat } from '../volume-format.ts'
import { begunWith, type FileSystem, fileSystemOf } from './file-system.ts'

const sectorBytes = 512

export interface FolderReader {
  list(): Promise<FoundVolume[]>
  read(name: string): Promise<FoundVolume | undefined>
  /** What a file of the folder would be as a volume of this name, in a format that was said. */
  lookInto(path: string, name: string, said: VolumeFormat | undefined): Promise<FoundVolume>
}

/** What a file was when it was looked into. */
interface Seen {
  readonly stamp: string
  readonly volume: FoundVolume
}

/** Whether a file of this name can be a volume: nothing hidden, no way out of the folder. */
export const isVolumeName = (name: string): boolean => name.length <= 255 && /^(?!\.)[^/\p{Cc}]+$/u.test(name)

/** Files that did not change since they were looked into are not opened again. */
export function folderReader(folder: string, notes: VolumeNotes): FolderReader {
  let seen = new Map<string, Seen>()

  async function read(name: string, files: FileSystem): Promise<FoundVolume | undefined> {
    if (!isVolumeName(name)) return undefined
    const path = join(folder, name)
    const kind = await unlessGone(() => files.stat(path))
    if (!kind || !(kind.isFile() || kind.isBlockDevice())) return undefined
    const note = notes.of(name)
    const stamp = `${kind.ino}:${kind.mtimeMs}:${kind.ctimeMs}:${kind.size}:${note?.format}:${note?.base}:${note?.secret}`
    const before = seen.get(name)
    if (before?.stamp === stamp) return before.volume
    const looked = await lookInto({ path, name, kind, said: note?.format, files })
    const { secret } = note ?? {}
    const volume = looked?.encrypted && secret !== undefined ? { ...looked, secret } : looked
    if (volume) seen.set(name, { stamp, volume })
    return volume
  }

  return {
    read: async (name) => read(name, await fileSystemOf(folder)),
    async lookInto(path, name, said) {
      const files = await fileSystemOf(folder)
      const found = await lookInto({ path, name, kind: await files.stat(path), said, files })
      if (!found) throw new VisorError('not-found', `'${path}' is not there any more.`)
      return found
    },
    async list() {
      const [names, files] = await Promise.all([readdir(folder), fileSystemOf(folder)])
      const found: FoundVolume[] = []
      for (let start = 0; start < names.length; start += files.atOnce) {
        const some = names.slice(start, start + files.atOnce)
        const volumes = await Promise.all(some.map((name) => read(name, files)))
        for (const volume of volumes) if (volume) found.push(volume)
        await setImmediate()
      }
      const there = new Set(names)
      seen = new Map([...seen].filter(([name]) => there.has(name)))
      return found.sort((a, b) => (a.name < b.name ? -1 : 1))
    },
  }
}

interface Looked {
  readonly path: string
  readonly name: string
  readonly kind: Stats
  readonly said: VolumeFormat | undefined
  readonly files: FileSystem
}

async function lookInto(one: Looked): Promise<FoundVolume | undefined> {
  const { path, name, kind, said } = one
  const known = {
    name,
    key: path,
    type: kind.isBlockDevice() ? ('block' as const) : ('file' as const),
    path,
    allocationBytes: kind.blocks * sectorBytes,
    createdAt: new Date(kind.birthtimeMs || kind.mtimeMs).toISOString(),
  }
  const looked = await look(one).catch((error: unknown) => ({
    format: judgeFormat(name, said, undefined).format,
    message: toVisorError(error).message,
  }))
  if (!looked) return undefined
  const { capacityBytes = kind.size, ...rest } = looked as Look
  return { ...known, capacityBytes, encrypted: false, ...rest }
}

type Look = Pick<FoundVolume, 'format' | 'base' | 'message'> & {
  readonly capacityBytes?: number
  readonly encrypted?: boolean
}

/** Undefined when the file went away meanwhile. */
async function look({ path, name, said, files, kind }: Looked): Promise<Look | undefined> {
  const first = await unlessGone(() => files.begin(path))
  if (!first) return undefined
  const seen: ImageLook | undefined = probeImage(first)
  const { format, message } = judgeFormat(name, said, seen)
  const words = message === undefined ? {} : { message }
  if (format === 'raw' || format === 'iso' || seen?.format !== format) return { format, ...words }
  if (format === 'luks')
    return { format, encrypted: true, capacityBytes: Math.max(0, kind.size - (seen.headerBytes ?? 0)) }
  const capacityBytes = seen.capacityBytes ?? (await readVirtualSize(path, format))
  const { backing, isEncrypted = false } = await readImageHeader(begunWith(first, path), path, format)
  const base = backing && { base: baseOf(path, backing) }
  return { format, capacityBytes, encrypted: isEncrypted, ...base, ...words }
}

function baseOf(path: string, { name, format }: { name: string; format: string | undefined }) {
  const isFile = !/^[a-z][a-z0-9+.-]*:/iu.test(name)
  const where = isFile && !isAbsolute(name) ? resolve(dirname(path), name) : name
  const known = volumeFormats.find((one) => one === format) ?? 'unknown'
  const inFolder = isFile && dirname(where) === dirname(path)
  return { path: where, format: known, ...(inFolder ? { volume: relative(dirname(path), where) } : {}) }
}

async function unlessGone<T>(look: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await look()
  } catch (error) {
    if (['ENOENT', 'ENXIO'].includes(errorNumber(error) ?? '')) return undefined
    throw error
  }
}

const longestChain = 64

/**
 * Follows what an image says that it is based on. Fails with `denied` when that leads out of the folder to something
 * that was not named when the volume was made here, in a ring, or nowhere.
 */
export async function checkChain(
  folder: string,
  first: FoundVolume,
  reader: FolderReader,
  notes: VolumeNotes,
) {
  const home = await realpath(folder)
  const seen = new Set<string>()
  let volume: FoundVolume | undefined = first
  while (volume?.base) {
    const { base, name } = volume as FoundVolume & { base: NonNullable<FoundVolume['base']> }
    if (seen.has(name) || seen.size >= longestChain)
      throw refused(first, 'is based on itself, or on too many')
    seen.add(name)
    if (base.path === notes.of(name)?.base) return
    const real = await realpath(base.path).catch(() => undefined)
    if (real === undefined) throw refused(first, `is based on '${base.path}', which is not there`)
    if (dirname(real) !== home)
      throw refused(first, `says that it is based on '${base.path}', which is not in its pool`)
    volume = await reader.read(relative(home, real))
  }
}

function refused({ name }: FoundVolume, what: string): VisorError {
  return new VisorError('denied', `The volume '${name}' ${what}.`, {
    remedy: "See what it is with 'qemu-img info', and use it only when you trust where it is from.",
    object: { kind: 'volume', name },
  })
}
