/** Volumes that are files in a folder. */
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { VolumeAccess } from '../../../driver/index.ts'
import { syncDirectory } from '../../../host/index.ts'
import { checkVolumeDefinition, VisorError, type VolumeFormat } from '../../../model/index.ts'
import type { PoolSurroundings } from '../../pools/backend.ts'
import { checkEncryption, encryptedFormat, nameImage, type OpenedImage } from '../encryption.ts'
import { qemuImg, readVirtualSize } from '../qemu-img.ts'
import type { FoundVolume, VolumeNote, VolumeStore } from '../store.ts'
import { formatOfName } from '../volume-format.ts'
import { copyImage, takeFile } from './copy.ts'
import { asBase, asWhole, type Base, formatOfNew, makeImage, scratchPattern } from './create.ts'
import { checkChain, folderReader } from './read.ts'
import { receiveInto } from './receive.ts'
import { wipeImage } from './wipe.ts'

export interface FolderOptions extends PoolSurroundings {
  readonly folder: string
  /** Files are written in place where the file system would write them to new places. */
  readonly noCow?: boolean
}

/** Removes what a daemon before was making when it died. */
export async function clearScratch(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (scratchPattern.test(name)) await rm(join(folder, name), { force: true })
}

export function folderVolumes({
  folder,
  notes,
  secrets,
  noCow = false,
}: FolderOptions): Required<VolumeStore> {
  const reader = folderReader(folder, notes)

  /** The secret of a volume that cannot be changed without it. */
  function keyOf({ name, encrypted }: FoundVolume): string | undefined {
    if (!encrypted) return undefined
    const { secret } = notes.of(name) ?? {}
    if (secret !== undefined) return secret
    throw unknownKey({ name })
  }

  return {
    ...reader,
    async access(volume) {
      const { name, path, type } = volume
      const format = notes.of(name)?.format ?? formatOfName(name) ?? 'raw'
      if (format === 'raw' && volume.format !== 'raw') throw onlyLooksLike(volume)
      await checkChain(folder, volume, reader, notes)
      const { secret } = notes.of(name) ?? {}
      return {
        ...{ type: type === 'block' ? 'block' : 'file', path, format },
        ...(secret !== undefined && { encryption: { secret } }),
      }
    },
    async create(given) {
      const { name, backing, permissions, encryption, secret } = given
      const base = backing && (await findBase(backing))
      const plain = plainFormat(given.format ?? formatOfName(name)) ?? (base ? 'qcow2' : 'raw')
      checkVolumeDefinition({ ...given, format: formatOfNew({ name, format: plain }, plain) })
      const format = encryption ? encryptedFormat(plain) : plain
      if (encryption) checkEncryption(encryption)
      if (format === 'luks' && base)
        throw new VisorError('unsupported-config', 'A LUKS volume is based on no other.', {
          path: 'format',
          remedy: "Use the format 'qcow2', which can be encrypted too.",
        })
      const make = async (path: string) => {
        await secrets.withFile(secret, (file) =>
          makeImage(path, given, format, base, given.noCopyOnWrite ?? noCow, file),
        )
        await notes.put(name, noteOf(name, format, base?.path, secret))
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
      const { name, linked, decrypt = false } = options
      const { volume, access } = source
      const plain = formatOfNew(
        { name, format: plainFormat(options.format ?? formatOfName(name)) },
        linked ? 'qcow2' : (plainFormat(volume.format) ?? 'raw'),
      )
      const isRemote = access.type === 'network'
      const old = secretOf(access)
      const secret = options.secret ?? (decrypt ? undefined : access.encryption?.secret)
      const isCopied =
        !isRemote && plain === plainFormat(volume.format) && !decrypt && options.secret === undefined
      if (volume.encrypted && old === undefined && !isCopied) throw unknownKey(volume)
      const format =
        secret === undefined ? (isCopied && volume.encrypted ? volume.format : plain) : encryptedFormat(plain)
      if (linked && isRemote)
        throw new VisorError(
          'unsupported-config',
          `The volume '${volume.name}' is on a server: nothing can be based on it.`,
          { path: 'linked', remedy: 'Make a whole copy.' },
        )
      if (linked && volume.encrypted)
        throw new VisorError(
          'unsupported-config',
          `The volume '${volume.name}' is encrypted: nothing can be based on it.`,
          { path: 'linked', remedy: 'Make a whole copy.' },
        )
      if (linked && format !== 'qcow2')
        throw new VisorError('unsupported-config', `A linked copy is of the format qcow2, not ${format}.`, {
          path: 'format',
        })
      await asWhole(folder, name, async (path) => {
        const { base } = await secrets.withFile(isCopied ? undefined : old, (keyFile) =>
          secrets.withFile(secret, (newKeyFile) =>
            copyImage(path, source, { ...options, keyFile, newKeyFile, isCopied }, format),
          ),
        )
        await notes.put(name, noteOf(name, format, base, secret))
      })
    },
    async take(name, file) {
      await asWhole(folder, name, (path) => takeFile(file, path), { mode: '0440' })
    },
    receiving: receiveInto({
      ...{ folder, reader, notes, noCow },
      note: (name, format) => notes.put(name, noteOf(name, format, undefined)),
    }),
    async unlock({ name, path, format, encrypted }, { secret }) {
      if (!encrypted)
        throw new VisorError('invalid-state', `The volume '${name}' is not encrypted.`, {
          object: { kind: 'volume', name },
        })
      await secrets.inFile(secret, (keyFile) => checkKey({ path, format, keyFile }, name))
      await notes.put(name, { ...notes.of(name), secret })
    },
    async resize(volume, { capacityBytes, shrink = false, preallocation, signal }) {
      if (capacityBytes < volume.capacityBytes && !shrink)
        throw new VisorError(
          'invalid-argument',
          `The volume '${volume.name}' would become smaller, and what is at its end would be lost.`,
          { path: 'capacityBytes', remedy: 'Say that it may: shrink.' },
        )
      const how = preallocation === undefined ? [] : [`--preallocation=${preallocation}`]
      const less = capacityBytes < volume.capacityBytes ? ['--shrink'] : how
      await secrets.withFile(keyOf(volume), async (keyFile) => {
        const { flags, name } = nameImage({ path: volume.path, format: volume.format, keyFile })
        await qemuImg(['resize', '-q', ...less, ...flags, name, String(capacityBytes)], { signal })
      })
    },
    wipe: (volume, options) =>
      secrets.withFile(keyOf(volume), (keyFile) => wipeImage(volume, options, keyFile)),
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

/** Fails with `invalid-argument` when it does not unlock the image. */
async function checkKey(image: OpenedImage, volume: string): Promise<void> {
  const { flags, name } = nameImage(image)
  try {
    // 'info' reads no data, and so needs no key.
    await qemuImg(['measure', '-U', '-O', 'raw', ...flags, name])
  } catch (cause) {
    if (!/Invalid password|unlock/iu.test(String(cause))) throw cause
    throw new VisorError('invalid-argument', `The secret does not unlock the volume '${volume}'.`, {
      cause,
      path: 'secret',
      remedy: 'Give the secret the value that the volume was encrypted with: visor secret set-value.',
    })
  }
}

function unknownKey({ name }: Pick<FoundVolume, 'name'>): VisorError {
  return new VisorError(
    'unsupported-config',
    `The volume '${name}' is encrypted, with a key that is not known here.`,
    {
      object: { kind: 'volume', name },
      remedy: 'Say which secret unlocks it: visor volume unlock.',
    },
  )
}

function onlyLooksLike({ name, format }: FoundVolume): VisorError {
  return new VisorError('denied', `The volume '${name}' looks like ${format}, but nobody said so.`, {
    remedy: `A guest that wrote to it could have made it look so. When you trust it, rename it to end in '.${format}'.`,
    object: { kind: 'volume', name },
  })
}

/** What it takes to read a volume: the key of its image, or the password of its server. */
const secretOf = (access: VolumeAccess): string | undefined =>
  access.type === 'network'
    ? (access.auth?.secret.uuid ?? access.auth?.secret.usage)
    : access.encryption?.secret

/** Only what the name does not say, or the image cannot be believed. */
function noteOf(
  name: string,
  format: VolumeFormat,
  base: string | undefined,
  secret?: string,
): VolumeNote | undefined {
  const isSaid = formatOfName(name) === format
  const note: VolumeNote = {
    ...(isSaid ? {} : { format }),
    ...(base === undefined ? {} : { base }),
    ...(secret !== undefined && { secret }),
  }
  return Object.keys(note).length === 0 ? undefined : note
}

/** What is in it once it is decrypted. */
const plainFormat = (format: VolumeFormat | undefined): VolumeFormat | undefined =>
  format === 'luks' || format === 'iso' ? 'raw' : format
