/** Volumes that are files in a folder. */
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from '../../../host/index.ts'
import { checkVolumeDefinition, VisorError, type VolumeFormat } from '../../../model/index.ts'
import { qemuImg, readVirtualSize } from '../qemu-img.ts'
import type { FoundVolume, VolumeNote, VolumeNotes, VolumeStore } from '../store.ts'
import { formatOfName } from '../volume-format.ts'
import { copyImage, qemuFormat, takeFile } from './copy.ts'
import { asBase, asWhole, type Base, formatOfNew, makeImage, scratchPattern } from './create.ts'
import { checkChain, folderReader } from './read.ts'
import { receiveInto } from './receive.ts'
import { wipeImage } from './wipe.ts'

export interface FolderOptions {
  readonly folder: string
  readonly notes: VolumeNotes
  /** Files are written in place where the file system would write them to new places. */
  readonly noCow?: boolean
}

/** Removes what a daemon before was making when it died. */
export async function clearScratch(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (scratchPattern.test(name)) await rm(join(folder, name), { force: true })
}

export function folderVolumes({ folder, notes, noCow = false }: FolderOptions): Required<VolumeStore> {
  const reader = folderReader(folder, notes)

  return {
    ...reader,
    async access(volume) {
      const { name, path, type } = volume
      const format = notes.of(name)?.format ?? formatOfName(name) ?? 'raw'
      if (format === 'raw' && volume.format !== 'raw') throw onlyLooksLike(volume)
      await checkChain(folder, volume, reader, notes)
      return { type: type === 'block' ? 'block' : 'file', path, format }
    },
    async create(given) {
      const { name, backing, permissions } = given
      const base = backing && (await findBase(backing))
      const format = formatOfNew(given, formatOfName(name) ?? (base ? 'qcow2' : 'raw'))
      checkVolumeDefinition({ ...given, format })
      if (given.encryption)
        throw new VisorError('unsupported-config', 'Encrypted volumes cannot be made yet.', {
          path: 'encryption',
        })
      const make = async (path: string) => {
        await makeImage(path, given, format, base, given.noCopyOnWrite ?? noCow)
        await notes.put(name, noteOf(name, format, base?.path))
      }
      await asWhole(folder, name, make, permissions)
    },
    async put({ name, format, content, permissions }) {
      const make = async (path: string) => {
        await writeFile(path, content, { mode: 0o600 })
        await notes.put(name, noteOf(name, format, undefined))
      }
      await asWhole(folder, name, make, permissions)
    },
    async copy(source, options) {
      const { name, linked } = options
      const format = formatOfNew(
        { name, format: options.format ?? formatOfName(name) },
        linked ? 'qcow2' : source.volume.format === 'iso' ? 'raw' : source.volume.format,
      )
      if (linked && format !== 'qcow2')
        throw new VisorError('unsupported-config', `A linked copy is of the format qcow2, not ${format}.`, {
          path: 'format',
        })
      await asWhole(folder, name, async (path) => {
        const { base } = await copyImage(path, source, options, format)
        await notes.put(name, noteOf(name, format, base))
      })
    },
    async take(name, file) {
      await asWhole(folder, name, (path) => takeFile(file, path), { mode: '0440' })
    },
    receiving: receiveInto({
      ...{ folder, reader, notes, noCow },
      note: (name, format) => notes.put(name, noteOf(name, format, undefined)),
    }),
    async resize(volume, { capacityBytes, shrink = false, preallocation, signal }) {
      if (capacityBytes < volume.capacityBytes && !shrink)
        throw new VisorError(
          'invalid-argument',
          `The volume '${volume.name}' would become smaller, and what is at its end would be lost.`,
          { path: 'capacityBytes', remedy: 'Say that it may: shrink.' },
        )
      const how = preallocation === undefined ? [] : [`--preallocation=${preallocation}`]
      await qemuImg(
        [
          ...['resize', '-q', '-f', qemuFormat(volume.format)],
          ...(capacityBytes < volume.capacityBytes ? ['--shrink'] : how),
          ...[volume.path, String(capacityBytes)],
        ],
        { signal },
      )
    },
    wipe: wipeImage,
    async remove({ name, path }) {
      await rm(path, { force: true })
      await syncDirectory(folder)
      await notes.put(name, undefined)
    },
  }

  /** What a new volume names as its base: a volume of this folder, or a file that its maker may name. */
  async function findBase({
    path,
    format,
  }: {
    readonly path: string
    readonly format?: VolumeFormat | undefined
  }) {
    const isHere = path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes('/')
    const name = isHere ? path.slice(folder.length + 1) : path.includes('/') ? undefined : path
    const volume = name === undefined ? undefined : await reader.read(name)
    if (volume) {
      await checkChain(folder, volume, reader, notes)
      return asBase(volume)
    }
    return foreign(path, format)
  }
}

/** A file that no pool has: whoever makes volumes may name any. */
async function foreign(path: string, format: VolumeFormat | undefined): Promise<Base> {
  if (format === undefined)
    throw new VisorError(
      'invalid-argument',
      `The format of '${path}', which the volume is based on, is not said.`,
      {
        path: 'backing.format',
      },
    )
  return { path, format, capacityBytes: await readVirtualSize(path, format) }
}

function onlyLooksLike({ name, format }: FoundVolume): VisorError {
  return new VisorError('denied', `The volume '${name}' looks like ${format}, but nobody said so.`, {
    remedy: `A guest that wrote to it could have made it look so. When you trust it, rename it to end in '.${format}'.`,
    object: { kind: 'volume', name },
  })
}

/** Only what the name does not say, or the image cannot be believed. */
function noteOf(name: string, format: VolumeFormat, base: string | undefined): VolumeNote | undefined {
  const isSaid = formatOfName(name) === format
  return isSaid && base === undefined
    ? undefined
    : { ...(isSaid ? {} : { format }), ...(base === undefined ? {} : { base }) }
}
