import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { BuildImageOptions, HostImages, Log } from '../driver/index.ts'
import { type Image, notFound, VisorError } from '../model/index.ts'
import { openContent } from './content/download.ts'
import { buildDisk, digestOf } from './image-build/build-disk.ts'
import { diskRecipe, findRelease, requireBuildable, suggestName } from './image-build/disk-recipe.ts'
import { type ImageCache, type NewImage, openImageCache } from './image-cache.ts'
import { readDiskSize } from './images/disk-size.ts'
import { findServer, readCatalogue } from './images/distributions.ts'
import type { DownloadLimits } from './images/download.ts'
import { makeOfDisk } from './images/make.ts'
import { pruneImages } from './images/prune.ts'
import { fetchImage, findWanted, lockOf, recipeOf } from './images/pull.ts'
import { listPublished } from './images/servers.ts'
import { type BuildOptions, buildMicro, microArchitectures, microRecipe } from './micro-image.ts'
import { oneAtATime } from './one-at-a-time.ts'

/** An image that visor can make. */
interface Recipe {
  /** What it is called when it is made. */
  readonly name: string
  readonly arch: string
  /** Digest of how it is made. */
  readonly digest: string
  make(options: BuildOptions): Promise<NewImage>
}

/** What `key` and the options say that should be made. */
function findRecipe(key: string, options: BuildImageOptions): Recipe {
  const [name = '', keyArch] = key.split(':')
  const arch = options.arch ?? keyArch
  if (name === 'micro') return microImage(arch, options)
  const release = findRelease(name)
  if (!release)
    throw new VisorError('not-found', `There is no recipe for an image '${name}'.`, {
      remedy: suggestName(name, ['micro']),
      object: { kind: 'image', name },
    })
  requireBuildable(name, arch ?? hostArch, hostArch)
  const recipe = diskRecipe(release, arch ?? hostArch, options)
  const built = { name: options.name ?? `${name}-built`, arch: recipe.arch }
  const digest = digestOf(recipe)
  return {
    ...{ ...built, digest },
    make: async (how) => ({ ...built, kind: 'disk', recipe: digest, ...(await buildDisk(recipe, how)) }),
  }
}

function microImage(wanted: string | undefined, options: BuildImageOptions): Recipe {
  const arch =
    wanted ?? microArchitectures.find((one) => one === hostArch) ?? microArchitectures[0] ?? hostArch
  if (!microArchitectures.includes(arch))
    throw new VisorError(
      'invalid-argument',
      `The image 'micro' is not made for the architecture '${arch}'.`,
      {
        remedy: `Choose one of ${microArchitectures.join(', ')}.`,
      },
    )
  const { name, packages, sizeBytes, format, mirror, securityMirror, epoch } = options
  const given = Object.entries({ name, packages, sizeBytes, format, mirror, securityMirror, epoch })
  const [first] = given.find(([, value]) => value !== undefined) ?? []
  if (first !== undefined)
    throw new VisorError(
      'invalid-argument',
      `The image 'micro' is always the same: '${first}' is for disks.`,
      {
        remedy: 'Build it without.',
      },
    )
  return {
    ...{ name: 'micro', arch, digest: microRecipe },
    make: async (how) => ({
      ...{ name: 'micro', arch, kind: 'kernel', recipe: microRecipe },
      ...(await buildMicro(how)),
    }),
  }
}

/**
 * The images of a state directory. One is named by its name, or, where there are several architectures of it,
 * as `micro:i686`; the name alone then means that of the host.
 */
export function openImages({
  stateDirectory,
  log,
  limits,
}: {
  stateDirectory: string
  log: Log
  limits?: Partial<DownloadLimits>
}): HostImages {
  const cache = openImageCache(join(stateDirectory, 'images'))
  const pulling = {
    ...{ stateDirectory, hostArch, partials: join(stateDirectory, 'images', '.partial') },
    ...(limits && { limits }),
    ...{ alone: oneAtATime(), findDisk: cache.findDisk },
  }
  void cache.tidy().catch((err: unknown) => log.warn({ err }, 'what builds left could not be removed'))
  let exports = 0
  /** A second pull of the same image waits, and then finds it done. */
  const oneByOne = oneAtATime()
  /** Builds under way, by image: a second one waits and then finds it done. */
  const building = new Map<string, Promise<unknown>>()

  return {
    list: () => cache.list(),
    async use(key) {
      const image = await resolve(cache, key)
      await cache.markUsed(image)
      return image
    },
    async get(key) {
      const { name, arch } = await resolve(cache, key)
      const image = await cache.find(name, arch)
      if (!image) throw notFound('image', key)
      const size =
        image.disk === undefined ? undefined : await readDiskSize(image.disk, image.format ?? 'raw')
      return size === undefined ? image : { ...image, virtualSizeBytes: size }
    },
    async export(key, options = {}) {
      const { name, disk: path, format, createdAt } = await resolve(cache, key)
      if (path === undefined)
        throw new VisorError('invalid-argument', `The image '${name}' has no disk: it is a kernel.`, {
          remedy: "Choose one of kind 'disk': visor image list.",
          object: { kind: 'image', name },
        })
      const is = format === 'raw' ? 'raw' : 'qcow2'
      const capacityBytes = (await readDiskSize(path, is)) ?? 0
      const volume = { name, path, key: path, type: 'file', format: is, capacityBytes, createdAt } as const
      await mkdir(pulling.partials, { recursive: true, mode: 0o700 })
      exports++
      try {
        return await openContent(
          {
            volume: { ...volume, allocationBytes: 0, encrypted: false },
            withKey: (_, work) => work(undefined),
            access: async () => ({ type: 'file', path, format: is }),
            scratch: pulling.partials,
          },
          options,
        )
      } finally {
        exports--
      }
    },
    async make(disk, options) {
      const { name, arch = hostArch, replace = false } = options
      const id = `${name}-${arch}`
      return oneByOne(id, async () => {
        const there = (await cache.list()).some((image) => image.name === name && image.arch === arch)
        if (there && !replace)
          throw new VisorError('already-exists', `There is already an image '${name}' for ${arch}.`, {
            remedy: 'Choose another name, or let it take its place: --replace.',
            object: { kind: 'image', name },
          })
        const image = await cache.replace((output) => makeOfDisk(disk, output, arch, options))
        log.info({ image: id, sizeBytes: image.sizeBytes, of: options.of }, 'image published')
        return image
      })
    },
    prune: (surroundings, options) =>
      pruneImages(
        {
          ...{ cache, partials: pulling.partials, alone: oneByOne },
          isBusy: (path) =>
            pulling.alone.isBusy(path.replace(/\.verify$/u, '')) || (exports > 0 && path.includes('/.new-')),
        },
        surroundings,
        options,
      ),
    async published({ server, signal } = {}) {
      const { images, servers } = await readCatalogue(stateDirectory)
      if (server !== undefined) return listPublished(findServer(servers, server), pulling, signal)
      return images.map(({ name, title, aliases, files }) => ({
        ...{ name, title, aliases, kinds: ['disk' as const] },
        arches: Object.keys(files),
      }))
    },
    async servers() {
      return (await readCatalogue(stateDirectory)).servers.map(({ signature: _, ...server }) => server)
    },
    async pull({ source, ...options }) {
      const wanted = await findWanted(source, options, pulling)
      const id = `${wanted.name}-${wanted.arch}`
      return oneByOne(id, async () => {
        const cached = options.refresh
          ? undefined
          : await findIntact(cache, wanted.name, wanted.arch, recipeOf(wanted), log)
        if (cached) return cached
        // Two names may mean one file: the second finds it here.
        const image = await pulling.alone(lockOf(wanted, pulling.partials), () =>
          cache.replace((output) => fetchImage(wanted, output, pulling, options)),
        )
        log.info({ image: id, sizeBytes: image.sizeBytes, url: wanted.url }, 'image pulled')
        return image
      })
    },
    async build(key, options = {}) {
      const { refresh = false, signal, progress } = options
      const { name, arch: wanted, digest, make } = findRecipe(key, options)
      const id = `${name}-${wanted}`
      while (building.has(id)) await withAbort(building.get(id), signal)
      const work = (async () => {
        const cached = refresh ? undefined : await findIntact(cache, name, wanted, digest, log)
        if (cached) return cached
        await requireFreeName(cache, name, wanted)
        const image = await cache.replace((output, scratch) =>
          make({ arch: wanted, output, scratch, signal, progress }),
        )
        log.info({ image: id, sizeBytes: image.sizeBytes, sources: image.sources }, 'image built')
        return image
      })()
      building.set(
        id,
        work.catch(() => {}),
      )
      try {
        return await work
      } catch (error) {
        if (signal?.aborted)
          throw new VisorError('cancelled', `The build of the image '${name}' was cancelled.`, {
            cause: error,
          })
        throw error
      } finally {
        building.delete(id)
      }
    },
    async remove(key) {
      const [name = '', arch] = key.split(':')
      const found = (await cache.list()).filter(
        (image) => image.name === name && (arch ?? image.arch) === image.arch,
      )
      if (found.length === 0) throw notFound('image', key)
      for (const image of found) await cache.remove(image.name, image.arch)
    },
  }
}

async function resolve(cache: ImageCache, key: string): Promise<Image> {
  const [name = '', arch] = key.split(':')
  const there = (await cache.list()).filter((image) => image.name === name)
  const match = arch ? there.find((image) => image.arch === arch) : (there.find(isOfHost) ?? there[0])
  if (!match) throw notFound('image', key)
  return match
}

/** An image that is damaged, or of an earlier recipe, counts as missing, so that it is built again. */
async function findIntact(cache: ImageCache, name: string, arch: string, recipe: string, log: Log) {
  try {
    return await cache.find(name, arch, recipe)
  } catch (error) {
    log.warn({ err: error, image: `${name}-${arch}` }, 'a damaged image is built again')
    return undefined
  }
}

const hostArch = { x64: 'x86_64', ia32: 'i686', arm64: 'aarch64' }[process.arch as string] ?? process.arch

function isOfHost(image: { readonly arch: string }): boolean {
  return image.arch === hostArch
}

/** A build takes the place of a build, and of nothing that came from elsewhere. */
async function requireFreeName(cache: ImageCache, name: string, arch: string): Promise<void> {
  const there = (await cache.list()).find((image) => image.name === name && image.arch === arch)
  if (!there || there.sources.length > 0) return
  throw new VisorError(
    'already-exists',
    `There is already an image '${name}' for ${arch}, which was not built.`,
    {
      remedy: 'Choose another name: --name.',
      object: { kind: 'image', name },
    },
  )
}

async function withAbort(work: Promise<unknown> | undefined, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return void (await work)
  signal.throwIfAborted()
  let stop = () => {}
  const aborted = new Promise<void>((_, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
