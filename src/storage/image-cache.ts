/**
 * Images on disk. The files of an image are at `DIRECTORY/NAME-ARCH/FILE`, paths that stay the same when the
 * image is built again, so definitions may name them: `NAME-ARCH` is a link to the build that is in force,
 * `.build-...`, and a new build comes into force by replacing the link. What was cut short is a build that no
 * link names; the next build removes it.
 */
import { createHash, randomUUID } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { join } from 'node:path'
import { hashFile, identifyProcess } from '../host/index.ts'
import { type Image, VisorError } from '../model/index.ts'
import type { Digest } from './images/checksums.ts'
import { shareFile } from './images/share-file.ts'

/** What is written beside the files of an image. */
export interface Manifest {
  readonly version: 1
  /** Digest of how it was made; another recipe makes another image of the same packages. */
  readonly recipe: string
  readonly image: Omit<Image, Role>
  /** File names by role, and their digests. */
  readonly files: Readonly<
    Partial<Record<Role, { readonly name: string; readonly sizeBytes: number; readonly sha256: string }>>
  >
}
type Role = (typeof roles)[number]
const roles = ['kernel', 'packedKernel', 'initrd', 'disk', 'rootfs', 'metadata'] as const

/** What a build made: names are of files in its output directory. */
export interface NewImage extends Omit<Image, 'sizeBytes' | 'sha256' | 'createdAt' | 'sources'> {
  readonly sources: readonly Image['sources'][number][]
  readonly recipe: string
}

export interface ImageCache {
  /** All images that are complete, unverified, by name. */
  list(): Promise<Image[]>
  /**
   * An image, its files compared with their digests; undefined when there is none, or none made by `recipe`.
   * Fails with `failed` when it is damaged.
   */
  find(name: string, arch: string, recipe?: string): Promise<Image | undefined>
  /** Runs `make` with an output directory; what it made comes into force at once or not at all. */
  replace(make: (output: string, scratch: string) => Promise<NewImage>): Promise<Image>
  remove(name: string, arch: string): Promise<void>
  /** Remembers that something was made of it now. */
  markUsed(image: Image): Promise<void>
  /** A disk there is that has this digest, compared with it; undefined when there is none. */
  findDisk(digest: Digest): Promise<string | undefined>
  /** Removes what builds left that were cut short. */
  tidy(): Promise<void>
  /** Folders of builds that no image has and nobody is at work on. */
  leftovers(): Promise<string[]>
  /** Where its files are. */
  folderOf(image: Image): Promise<string>
}

const manifestName = 'image.json'
const buildPrefix = '.build-'

/** The images under `directory`, which need not exist. */
export function openImageCache(directory: string): ImageCache {
  /** Files that were compared already, by path: their size and time then. */
  const verified = new Map<string, string>()

  async function find(name: string, arch: string, recipe?: string): Promise<Image | undefined> {
    const path = join(directory, `${name}-${arch}`)
    while (true) {
      // Looked at in the build itself: the link may come to name another one meanwhile.
      const build = await fs.realpath(path).catch(() => undefined)
      const manifest = build && (await readManifest(build))
      if (manifest && recipe !== undefined && manifest.recipe !== recipe) return undefined
      const damaged = manifest && (await findDamage(build, manifest))
      if (manifest && !damaged) return await toImage(path, manifest)
      if ((await fs.realpath(path).catch(() => undefined)) !== build) continue
      if (!damaged) return undefined
      throw new VisorError(
        'failed',
        `The image '${name}' for ${arch} is damaged: its ${damaged} has changed.`,
        {
          remedy: `Build it again: visor image build ${name} --arch ${arch}`,
          object: { kind: 'image', name },
        },
      )
    }
  }

  /** Which file is not what the manifest says. */
  async function findDamage(build: string, manifest: Manifest): Promise<Role | undefined> {
    for (const role of roles) {
      const file = manifest.files[role]
      if (file && !(await isIntact(join(build, file.name), file.sha256, verified))) return role
    }
    return undefined
  }

  /** Every image that is complete, with where it is. */
  async function manifests(): Promise<{ readonly path: string; readonly manifest: Manifest }[]> {
    const names = await fs.readdir(directory).catch(() => [])
    const paths = names.filter((name) => !name.startsWith('.')).map((name) => join(directory, name))
    const read = await Promise.all(
      paths.map(async (path) => {
        const manifest = await readManifest(path)
        return manifest ? [{ path, manifest }] : []
      }),
    )
    return read.flat()
  }

  /** A file of an image that has this SHA-256. */
  async function findTwin(sha256: string): Promise<string | undefined> {
    for (const { path, manifest } of await manifests())
      for (const role of roles) {
        const file = manifest.files[role]
        if (file?.sha256 !== sha256) continue
        const twin = await fs.realpath(join(path, file.name)).catch(() => undefined)
        if (twin !== undefined && (await isIntact(twin, sha256, verified))) return twin
      }
    return undefined
  }

  return {
    find,
    tidy: () => removeLeftovers(directory),
    async markUsed({ name, arch }) {
      const now = new Date()
      await fs.utimes(join(directory, `${name}-${arch}`, manifestName), now, now)
    },
    async findDisk({ algorithm, hex }) {
      if (algorithm === 'sha256') return findTwin(hex)
      // How it was fetched tells other digests.
      const found = (await manifests()).find(({ manifest }) =>
        manifest.recipe.endsWith(` ${algorithm}:${hex}`),
      )
      const sha256 = found?.manifest.files.disk?.sha256
      return sha256 === undefined ? undefined : findTwin(sha256)
    },
    async leftovers() {
      const names = await fs.readdir(directory).catch(() => [])
      return (await findLeftovers(directory, names)).map((name) => join(directory, name))
    },
    folderOf: ({ name, arch }) => fs.realpath(join(directory, `${name}-${arch}`)),
    async list() {
      const images = await Promise.all(
        (await manifests()).map(({ path, manifest }) => toImage(path, manifest)),
      )
      return images.sort((a, b) => (`${a.name}-${a.arch}` < `${b.name}-${b.arch}` ? -1 : 1))
    },
    async replace(make) {
      await fs.mkdir(directory, { recursive: true })
      await removeLeftovers(directory)
      const owner = identifyProcess(process.pid)
      const build = `${buildPrefix}${owner?.pid}-${owner?.startTime}-${randomUUID()}`
      const output = join(directory, build)
      const scratch = `${output}-scratch`
      underWay.add(build)
      try {
        await fs.mkdir(output)
        await fs.mkdir(scratch)
        const made = await make(output, scratch)
        await fs.rm(scratch, { recursive: true, force: true })
        await writeManifest(output, made, findTwin)
        await swapLink(directory, `${made.name}-${made.arch}`, build)
        const image = await find(made.name, made.arch)
        if (!image) throw new VisorError('failed', `The image '${made.name}' was removed while it was built.`)
        return image
      } catch (error) {
        await fs.rm(output, { recursive: true, force: true })
        throw error
      } finally {
        await fs.rm(scratch, { recursive: true, force: true })
        underWay.delete(build)
        // Of two builds at once, the one that came into force first is now nobody's.
        await removeLeftovers(directory)
      }
    },
    async remove(name, arch) {
      const link = join(directory, `${name}-${arch}`)
      const build = await fs.readlink(link).catch(() => undefined)
      await fs.rm(link, { force: true })
      if (build?.startsWith(buildPrefix))
        await fs.rm(join(directory, build), { recursive: true, force: true })
    },
  }
}

async function readManifest(path: string): Promise<Manifest | undefined> {
  try {
    const manifest = JSON.parse(await fs.readFile(join(path, manifestName), 'utf8')) as Manifest
    return manifest.version === 1 ? manifest : undefined
  } catch {
    return undefined
  }
}

async function toImage(path: string, { image, files }: Manifest): Promise<Image> {
  const paths = roles.flatMap((role) => {
    const file = files[role]
    return file ? [[role, join(path, file.name)] as const] : []
  })
  // Not in the manifest itself: that would be written each time.
  const used = await fs.stat(join(path, manifestName)).catch(() => undefined)
  return {
    ...{ ...image, ...Object.fromEntries(paths) },
    ...(used && { lastUsedAt: used.mtime.toISOString() }),
  }
}

async function isIntact(path: string, sha256: string, verified: Map<string, string>): Promise<boolean> {
  const stat = await fs.stat(path, { bigint: true }).catch(() => undefined)
  if (!stat) return false
  const state = `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs} ${sha256}`
  if (verified.get(path) === state) return true
  if ((await hashFile(path)) !== sha256) return false
  verified.set(path, state)
  return true
}

async function writeManifest(
  output: string,
  { kernel, packedKernel, initrd, disk, rootfs, metadata, sources, recipe, ...made }: NewImage,
  findTwin: (sha256: string) => Promise<string | undefined>,
): Promise<void> {
  const files: { -readonly [R in keyof Manifest['files']]: Manifest['files'][R] } = {}
  const digest = createHash('sha256')
  let sizeBytes = 0
  const named = Object.entries({ kernel, packedKernel, initrd, disk, rootfs, metadata }) as [
    Role,
    string | undefined,
  ][]
  for (const [role, name] of named) {
    if (name === undefined) continue
    const path = join(output, name)
    const sha256 = await hashFile(path)
    const size = (await fs.stat(path)).size
    const twin = await findTwin(sha256)
    if (twin !== undefined) await shareFile(twin, path)
    files[role] = { name, sizeBytes: size, sha256 }
    digest.update(`${role} ${sha256}\n`)
    sizeBytes += size
    await flush(path)
  }
  const image = { ...made, sizeBytes, sha256: digest.digest('hex'), createdAt: new Date().toISOString() }
  const manifest: Manifest = { version: 1, recipe, image: { ...image, sources: [...sources] }, files }
  const path = join(output, manifestName)
  await fs.writeFile(path, `${JSON.stringify(manifest, undefined, 2)}\n`)
  await flush(path)
  await flush(output)
}

/** Makes the link `name` point to `build`, in one step, and removes the build it pointed to. */
async function swapLink(directory: string, name: string, build: string): Promise<void> {
  const link = join(directory, name)
  const before = await fs.readlink(link).catch(() => undefined)
  const fresh = join(directory, `${build}-link`)
  await fs.symlink(build, fresh)
  try {
    await fs.rename(fresh, link)
  } catch (error) {
    await fs.rm(fresh, { force: true })
    throw error
  }
  await flush(directory)
  if (before?.startsWith(buildPrefix)) await fs.rm(join(directory, before), { recursive: true, force: true })
}

async function flush(path: string): Promise<void> {
  const handle = await fs.open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Builds of this process that are not finished. */
const underWay = new Set<string>()

/** Removes builds that no link names and nobody is at work on. */
async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await findLeftovers(directory, await fs.readdir(directory).catch(() => [])))
    await fs.rm(join(directory, name), { recursive: true, force: true })
}

async function findLeftovers(directory: string, names: readonly string[]): Promise<string[]> {
  // Now: one that ends after this has its link by then, which may not be seen any more below.
  const busy = [...underWay]
  const links = await Promise.all(
    names.map((name) =>
      name.startsWith('.') ? undefined : fs.readlink(join(directory, name)).catch(() => undefined),
    ),
  )
  return names.filter((name) => {
    const match = /^\.build-(\d+)-(\d+)-/u.exec(name)
    if (!match || links.includes(name)) return false
    const own = Number(match[1]) === process.pid
    return own
      ? !busy.some((build) => name.startsWith(build))
      : identifyProcess(Number(match[1]))?.startTime !== match[2]
  })
}
