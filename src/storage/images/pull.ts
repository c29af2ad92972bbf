/** Fetches images: of distributions by name, of any server by address, of this host by path. */
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, open, rename } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { PullImageOptions } from '../../driver/index.ts'
import { probeBytes, probeImage, readImageHeader } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import type { NewImage } from '../image-cache.ts'
import type { OneAtATime } from '../one-at-a-time.ts'
import { takeFile as takeTwin } from '../volumes/folder/copy.ts'
import { type Digest, findDigest, parseDigest } from './checksums.ts'
import { findPublished, type PublishedFile, readCatalogue, splitServer } from './distributions.ts'
import { type DownloadLimits, download } from './download.ts'
import { fetchSigned } from './fetch-signed.ts'
import { findOnServer } from './servers.ts'

export interface Pulling {
  readonly stateDirectory: string
  /** Where downloads under way are kept. */
  readonly partials: string
  readonly limits?: Partial<DownloadLimits>
  readonly hostArch: string
  /** Work on one file of `partials`. */
  readonly alone: OneAtATime
  /** A disk there is that has this digest. */
  findDisk(digest: Digest): Promise<string | undefined>
}

/** What shall be fetched, once it is known where it is and what it should be. */
export interface Wanted {
  readonly name: string
  readonly arch: string
  readonly title?: string
  readonly format: 'qcow2' | 'raw' | 'squashfs' | 'tar.xz'
  /** Of a container, which is several files. */
  readonly parts?: readonly WantedPart[]
  readonly url?: string
  readonly file?: string
  readonly digest?: Digest
  /** Fingerprint of the key that its digest was signed with. */
  readonly signedBy?: string
}

export interface WantedPart {
  readonly role: 'rootfs' | 'metadata'
  /** Name in the folder of the image. */
  readonly file: string
  readonly url: string
  readonly digest: Digest
}

/** Longest list of digests that is read. */
const mostListBytes = 2 ** 22

/** Finds out what is meant. Asks the server for the digest of what a distribution publishes. */
export async function findWanted(
  source: string,
  options: PullImageOptions,
  pulling: Pulling,
): Promise<Wanted> {
  const { arch: given, checksum, signal } = options
  const said = checksum === undefined ? {} : { digest: parseDigest(checksum) }
  if (source.startsWith('/')) return { ...named(basename(source), options, pulling), ...said, file: source }
  if (/^https?:\/\//u.test(source)) {
    const file = decodeURIComponent(new URL(source).pathname.split('/').at(-1) ?? '')
    return { ...named(file, options, pulling), ...said, url: source }
  }
  const catalogue = await readCatalogue(pulling.stateDirectory)
  const there = splitServer(catalogue, source)
  if (there) return findOnServer(there.server, there.name, options, pulling)
  const [name = '', ownArch] = source.split(':')
  const all = catalogue.images
  const { distribution, arch, url, checksums } = findPublished(
    all,
    name,
    given ?? ownArch ?? pulling.hostArch,
  )
  const published = said.digest ? said : await fetchDigest(checksums, pulling, signal)
  return {
    ...{ name: options.name ?? distribution.name, arch, title: distribution.title, url, ...published },
    format: distribution.format,
  }
}

function named(file: string, { name, arch, format }: PullImageOptions, { hostArch }: Pulling) {
  const plain = file
    .toLowerCase()
    .replace(/\.(?:qcow2|img|raw)$/u, '')
    .replace(/[^a-z0-9.-]+/gu, '-')
    .replace(/^[.-]+/u, '')
    .slice(0, 63)
  const isQcow2 = file.endsWith('.qcow2')
  if (format === undefined && !isQcow2 && !file.endsWith('.raw'))
    throw new VisorError(
      'invalid-argument',
      `The name '${file.slice(0, 200)}' does not say the format of the image.`,
      {
        remedy: 'Say it: --format qcow2, or raw.',
      },
    )
  return {
    name: name ?? (plain || 'image'),
    arch: arch ?? hostArch,
    format: format ?? (isQcow2 ? 'qcow2' : 'raw'),
  } as const
}

async function fetchDigest(
  { url, file, algorithm, signature }: PublishedFile['checksums'],
  pulling: Pulling,
  signal: AbortSignal | undefined,
): Promise<{ readonly digest: Digest; readonly signedBy?: string }> {
  const list = await fetchSigned({ url, signature }, pulling, { maxBytes: mostListBytes, signal })
  const digest = findDigest(list.text, file, algorithm)
  if (digest) return { digest, ...(list.signedBy !== undefined && { signedBy: list.signedBy }) }
  throw new VisorError('failed', `'${url}' has no digest of '${file}'.`, {
    remedy: 'The distribution may be publishing a new image right now: ask again later.',
  })
}

/** Where what came of it so far is kept. */
export const partialOf = ({ url, digest }: Pick<Wanted, 'url' | 'digest'>, partials: string): string =>
  join(partials, createHash('sha256').update(`${url} ${digest?.hex}`).digest('hex'))

/** Fetches it into the folder `output`, and looks whether it is the image it should be. */
export async function fetchImage(
  wanted: Wanted,
  output: string,
  pulling: Pulling,
  options: PullImageOptions,
): Promise<NewImage> {
  if (wanted.parts) return fetchParts(wanted, wanted.parts, output, pulling, options)
  const { partials, limits, findDisk } = pulling
  const { signal, progress, refresh } = options
  const { name, arch, format, url, digest } = wanted
  const disk = `disk.${format}`
  const target = join(output, disk)
  if (url === undefined) await takeFile(wanted, target)
  else {
    const there = digest && !refresh ? await findDisk(digest) : undefined
    if (there === undefined) {
      const partial = partialOf(wanted, partials)
      await download({ url, partial, digest, signal, progress, ...(limits && { limits }) })
      await rename(partial, target)
    } else await takeTwin(there, target)
  }
  await checkImage(wanted, target)
  return {
    ...{ name, arch, kind: 'disk', disk, format, sources: [] },
    recipe: recipeOf(wanted),
    ...(url === undefined ? {} : { url }),
    ...(wanted.title === undefined ? {} : { title: wanted.title }),
    ...(wanted.signedBy === undefined ? {} : { signedBy: wanted.signedBy }),
  }
}

/** Fetches the files of a container. */
async function fetchParts(
  wanted: Wanted,
  parts: readonly WantedPart[],
  output: string,
  { partials, limits, alone }: Pulling,
  { signal, progress }: PullImageOptions,
): Promise<NewImage> {
  const { name, arch, format, url, title } = wanted
  for (const part of parts) {
    const partial = partialOf(part, partials)
    const target = join(output, part.file)
    await alone(partial, async () => {
      await download({ ...part, partial, signal, progress, ...(limits && { limits }) })
      await rename(partial, target)
    })
    await checkArchive(part, target)
  }
  const files = Object.fromEntries(parts.map(({ role, file }) => [role, file]))
  return {
    ...{ name, arch, kind: 'container', format, sources: [], recipe: recipeOf(wanted), ...files },
    ...(url !== undefined && { url }),
    ...(title !== undefined && { title }),
    ...(wanted.signedBy !== undefined && { signedBy: wanted.signedBy }),
  }
}

/** What files begin with. Sources: the xz file format, squashfs_fs.h of the kernel, RFC 1952. */
const magics = { xz: 'fd377a585a00', squashfs: '68737173', gzip: '1f8b' }

async function checkArchive({ url, file }: WantedPart, path: string): Promise<void> {
  const handle = await open(path)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(6), 0, 6, 0)
    const start = buffer.toString('hex', 0, bytesRead)
    const wanted = file.endsWith('squashfs') ? [magics.squashfs] : [magics.xz, magics.gzip]
    if (!wanted.some((magic) => start.startsWith(magic)))
      throw new VisorError(
        'failed',
        `'${url}' is no ${file.endsWith('squashfs') ? 'squashfs' : 'compressed tar'} file.`,
      )
  } finally {
    await handle.close()
  }
}

/** What nobody else may fetch meanwhile. */
export const lockOf = (wanted: Wanted, partials: string): string =>
  wanted.parts ? `${partialOf(wanted, partials)}.all` : partialOf(wanted, partials)

/** What an image was made from; with another one it is another image. */
export const recipeOf = ({ url, file, digest, parts }: Wanted): string =>
  parts
    ? `pull ${parts.map((part) => `${part.url} ${part.digest.hex}`).join(' ')}`
    : `pull ${url ?? file} ${digest ? `${digest.algorithm}:${digest.hex}` : ''}`

async function takeFile({ file = '', digest }: Wanted, target: string): Promise<void> {
  try {
    await copyFile(file, target, constants.COPYFILE_FICLONE)
  } catch (cause) {
    throw new VisorError('not-found', `The file '${file}' cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
  if (!digest) return
  const hash = createHash(digest.algorithm)
  const handle = await open(target)
  for await (const chunk of handle.createReadStream({ highWaterMark: 2 ** 20 })) hash.update(chunk)
  const found = hash.digest('hex')
  if (found !== digest.hex)
    throw new VisorError('failed', `'${file}' is not what it should be: its ${digest.algorithm} is ${found}.`)
}

/** Nothing that is fetched may name another file. Fails with `failed`. */
async function checkImage({ url, file, format }: Wanted, path: string): Promise<void> {
  const from = url ?? file ?? ''
  const handle = await open(path)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(probeBytes), 0, probeBytes, 0)
    const look = probeImage(buffer.subarray(0, bytesRead))
    if (format === 'raw' && !look) return
    if (look?.format !== format)
      throw new VisorError(
        'failed',
        `'${from}' is no ${format} image: it looks like ${look?.format ?? 'none, or raw'}.`,
        {
          remedy: 'Say the format that it has.',
        },
      )
    const { backing } = await readImageHeader(handle, path, format)
    if (backing)
      throw new VisorError('failed', `The image of '${from}' is based on another file, '${backing.name}'.`, {
        remedy: "Make it whole where it is: 'qemu-img convert'.",
      })
  } finally {
    await handle.close()
  }
}
