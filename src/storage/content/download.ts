/** The bytes of a volume that is a file, as they are or converted. */
import { type FileHandle, open, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type {
  ContentPart,
  DownloadFormat,
  DownloadOptions,
  VolumeAccess,
  VolumeContent,
} from '../../driver/index.ts'
import { hashFile, readParts } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { nameImage, qemuFormat } from '../volumes/encryption.ts'
import { qemuImg } from '../volumes/qemu-img.ts'
import type { FoundVolume } from '../volumes/store.ts'

export interface DownloadSource {
  readonly volume: FoundVolume
  /** `work` with the file of its key, where it is encrypted. */
  withKey<T>(secret: string | undefined, work: (keyFile: string | undefined) => Promise<T>): Promise<T>
  /** Fails with `denied` where converting would open something that nobody named. */
  access(): Promise<VolumeAccess>
  /** Where it is converted; beside it without. */
  readonly scratch?: string
}

/** Checksums of files, by what they were when they were read. */
const checksums = new Map<string, string>()
const rememberedChecksums = 1_000

/** Opens them. Fails with `invalid-argument` for a part that there is not, `conflict` when `ifMatch` says so. */
export async function openContent(source: DownloadSource, options: DownloadOptions): Promise<VolumeContent> {
  const { volume } = source
  const { format, offset, lengthBytes, ifMatch } = options
  const isConverted = format !== undefined && format !== qemuFormat(volume.format)
  const suffix = isConverted ? `.${format}` : ''
  if (ifMatch !== undefined && ifMatch !== `${await tagOf(volume.path)}${suffix}`) throw changed(volume)
  if (!isConverted) return openFile(volume.path, volume, options)
  if (offset !== undefined || lengthBytes !== undefined)
    throw new VisorError('unsupported-config', 'A volume that is converted is sent whole, not in parts.', {
      path: 'offset',
      remedy: 'Leave out the format, or the part.',
    })
  return convert(source, options, format, suffix)
}

async function convert(
  { volume, access, withKey, scratch = dirname(volume.path) }: DownloadSource,
  { checksum = false, signal }: DownloadOptions,
  format: DownloadFormat,
  suffix: string,
): Promise<VolumeContent> {
  const file = join(scratch, `.new-${crypto.randomUUID()}`)
  try {
    const from = await access()
    if (from.type !== 'file' && from.type !== 'block')
      throw new VisorError('unsupported-config', `The volume '${volume.name}' is not on this host.`)
    const tag = await tagOf(from.path)
    await withKey(from.encryption?.secret, async (keyFile) => {
      const { flags, name } = nameImage({ path: from.path, format: from.format, keyFile })
      // What other hypervisors take: VMware's form for files on their way.
      const how = format === 'vmdk' ? ['-o', 'subformat=streamOptimized'] : []
      await qemuImg(['convert', ...flags, '-O', format, ...how, name, file], { signal })
    })
    const content = await openFile(file, { ...volume, format }, { checksum, ...(signal && { signal }) })
    return { ...content, entityTag: `${tag}${suffix}` }
  } finally {
    // What is open stays readable.
    await rm(file, { force: true })
  }
}

async function openFile(
  path: string,
  volume: FoundVolume,
  { offset = 0, lengthBytes = Number.MAX_SAFE_INTEGER, checksum, signal }: DownloadOptions,
): Promise<VolumeContent> {
  const file = await open(path, 'r')
  try {
    const entityTag = await tagOf(file)
    const { size } = await file.stat()
    const sizeBytes = volume.type === 'block' ? volume.capacityBytes : size
    if (offset > sizeBytes)
      throw new VisorError(
        'invalid-argument',
        `The volume '${volume.name}' has ${sizeBytes} bytes: there is nothing at ${offset}.`,
        { path: 'offset' },
      )
    const end = Math.min(sizeBytes, offset + lengthBytes)
    const sha256 = checksum ? await checksumOf(path, entityTag, signal) : undefined
    return {
      ...{ sizeBytes, offset, lengthBytes: end - offset, format: volume.format, entityTag },
      ...(sha256 !== undefined && { sha256 }),
      close: () => file.close(),
      async *[Symbol.asyncIterator](): AsyncGenerator<ContentPart> {
        try {
          yield* readParts(file, { offset, end, signal })
          if ((await tagOf(file)) !== entityTag) throw changed(volume)
        } finally {
          await file.close()
        }
      },
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Another one when it was written to or another file is there. */
async function tagOf(file: FileHandle | string): Promise<string> {
  const { ino, size, mtimeNs } = await (typeof file === 'string'
    ? stat(file, { bigint: true })
    : file.stat({ bigint: true }))
  return [ino, size, mtimeNs].map((part) => part.toString(36)).join('-')
}

async function checksumOf(path: string, tag: string, signal: AbortSignal | undefined): Promise<string> {
  const key = `${path} ${tag}`
  const known = checksums.get(key)
  if (known !== undefined) return known
  const found = await hashFile(path, signal)
  if (checksums.size >= rememberedChecksums) checksums.delete([...checksums.keys()][0] ?? '')
  checksums.set(key, found)
  return found
}

function changed({ name }: FoundVolume): VisorError {
  return new VisorError('conflict', `The volume '${name}' was changed since its download began.`, {
    object: { kind: 'volume', name },
    remedy: 'Begin again.',
  })
}
