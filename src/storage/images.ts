import { join } from 'node:path'
import type { Images, Log } from '../driver/index.ts'
import { type Image, notFound, VisorError } from '../model/index.ts'
import { type ImageCache, type NewImage, openImageCache } from './image-cache.ts'
import { knownDistributions } from './images/distributions.ts'
import type { DownloadLimits } from './images/download.ts'
import { fetchImage, findWanted, recipeOf } from './images/pull.ts'
import { type BuildOptions, buildMicro, microArchitectures, microRecipe } from './micro-image.ts'
import { oneAtATime } from './one-at-a-time.ts'

/** An image that visor can make. */
interface Recipe {
  readonly architectures: readonly string[]
  /** Digest of how it is made. */
  readonly digest: string
  make(options: BuildOptions): Promise<NewImage>
}

/** Every image that visor can make, by name. To add one, add its entry. */
const recipes: Readonly<Record<string, Recipe>> = {
  micro: {
    architectures: microArchitectures,
    digest: microRecipe,
    make: async (options) => ({
      name: 'micro',
      arch: options.arch,
      kind: 'kernel',
      recipe: microRecipe,
      ...(await buildMicro(options)),
    }),
  },
}

/** The images of a host, as what is made of them needs them. */
export interface HostImages extends Images {
  /** As `get`, without a look whether its files are what they were. */
  describe(image: string): Promise<Image>
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
  }
  /** A second pull of the same image waits, and then finds it done. */
  const oneByOne = oneAtATime()
  /** Builds under way, by image: a second one waits and then finds it done. */
  const building = new Map<string, Promise<unknown>>()

  return {
    list: () => cache.list(),
    describe: (key) => resolve(cache, key),
    async get(key) {
      const { name, arch } = await resolve(cache, key)
      const image = await cache.find(name, arch)
      if (!image) throw notFound('image', key)
      return image
    },
    async published() {
      const all = await knownDistributions(stateDirectory)
      return all.map(({ name, title, aliases, files }) => ({
        name,
        title,
        aliases,
        arches: Object.keys(files),
      }))
    },
    async pull({ source, ...options }) {
      const wanted = await findWanted(source, options, pulling)
      const id = `${wanted.name}-${wanted.arch}`
      return oneByOne(id, async () => {
        const cached = options.refresh
          ? undefined
          : await findIntact(cache, wanted.name, wanted.arch, recipeOf(wanted), log)
        if (cached) return cached
        const image = await cache.replace((output) => fetchImage(wanted, output, pulling, options))
        log.info({ image: id, sizeBytes: image.sizeBytes, url: wanted.url }, 'image pulled')
        return image
      })
    },
    async build(key, { arch, refresh = false, signal, progress } = {}) {
      const [name = '', keyArch] = key.split(':')
      const recipe = Object.hasOwn(recipes, name) ? recipes[name] : undefined
      if (!recipe)
        throw new VisorError('not-found', `There is no recipe for an image '${name}'.`, {
          remedy: `Choose one of ${Object.keys(recipes).join(', ')}.`,
          object: { kind: 'image', name },
        })
      const wanted = arch ?? keyArch ?? hostArchitecture(recipe)
      if (!recipe.architectures.includes(wanted))
        throw new VisorError(
          'invalid-argument',
          `The image '${name}' is not made for the architecture '${wanted}'.`,
          {
            remedy: `Choose one of ${recipe.architectures.join(', ')}.`,
          },
        )
      const id = `${name}-${wanted}`
      while (building.has(id)) await withAbort(building.get(id), signal)
      const work = (async () => {
        const cached = refresh ? undefined : await findIntact(cache, name, wanted, recipe.digest, log)
        if (cached) return cached
        const image = await cache.replace((output, scratch) =>
          recipe.make({ arch: wanted, output, scratch, signal, progress }),
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

/** That of the host when there is a recipe for it, else the first: an emulator runs it. */
function hostArchitecture(recipe: Recipe): string {
  return recipe.architectures.find((arch) => arch === hostArch) ?? recipe.architectures[0] ?? hostArch
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
