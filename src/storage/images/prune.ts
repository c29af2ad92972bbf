/** Removes what nobody uses of images. */
import { lstat, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageSurroundings, PruneImagesOptions } from '../../driver/index.ts'
import { type Image, type ImagePruning, VisorError } from '../../model/index.ts'
import type { ImageCache } from '../image-cache.ts'

type Item = ImagePruning['items'][number]

/** Something that can go, and the files that go with it. */
interface Candidate extends Item {
  readonly files: readonly string[]
  /** False when it is needed after all. */
  remove(): Promise<boolean>
}

export interface Prunable {
  readonly cache: ImageCache
  /** Where downloads under way are kept. */
  readonly partials: string
  /** Whether somebody works on the file of this path there. */
  isBusy(path: string): boolean
  /** Work on one image of this name and architecture. */
  alone<T>(id: string, work: () => Promise<T>): Promise<T>
}

/** Finds them and, unless it shall only tell, removes them. One that is used meanwhile stays. */
export async function pruneImages(
  prunable: Prunable,
  surroundings: ImageSurroundings,
  { olderThanSeconds, dryRun = false, signal }: PruneImagesOptions,
): Promise<ImagePruning> {
  const found = [
    ...(await findPartials(prunable)),
    ...(await findBuilds(prunable)),
    ...(await findImages(prunable, surroundings, olderThanSeconds)),
    ...(await findBases(surroundings)),
  ]
  const gone: Candidate[] = []
  const freed = linkCounter()
  for (const candidate of found) {
    signal?.throwIfAborted()
    const links = await Promise.all(candidate.files.map(measure))
    if (!dryRun && !(await candidate.remove())) continue
    for (const one of links) freed.add(one)
    gone.push(candidate)
  }
  const items = gone.map(({ kind, name, sizeBytes, reason }) => ({ kind, name, sizeBytes, reason }))
  return { dryRun, items, freedBytes: freed.bytes() }
}

async function findPartials({ partials, isBusy }: Prunable): Promise<Candidate[]> {
  const names: string[] = await readdir(partials).catch(() => [])
  const found: Candidate[] = []
  for (const name of names) {
    const path = join(partials, name)
    // A mark goes with what it is of.
    if ((name.endsWith('.json') && names.includes(name.slice(0, -'.json'.length))) || isBusy(path)) continue
    const files = [path, ...(names.includes(`${name}.json`) ? [`${path}.json`] : [])]
    found.push({
      kind: 'download',
      name: (await urlOf(`${path}.json`)) ?? name,
      sizeBytes: await sizeOf(files),
      reason: 'it was not finished',
      files,
      async remove() {
        if (isBusy(path)) return false
        for (const file of files) await rm(file, { force: true, recursive: true })
        return true
      },
    })
  }
  return found
}

async function urlOf(mark: string): Promise<string | undefined> {
  try {
    const { url }: { readonly url?: unknown } = JSON.parse(await readFile(mark, 'utf8'))
    return typeof url === 'string' ? url : undefined
  } catch {
    return undefined
  }
}

async function findBuilds({ cache }: Prunable): Promise<Candidate[]> {
  return Promise.all(
    (await cache.leftovers()).map(async (path) => {
      const files = await filesIn(path)
      return {
        ...{ kind: 'build' as const, name: path, sizeBytes: await sizeOf(files), files },
        reason: 'it was not finished, or another one took its place',
        async remove() {
          await rm(path, { recursive: true, force: true })
          return true
        },
      }
    }),
  )
}

async function findImages(
  { cache, alone }: Prunable,
  { usersOf }: ImageSurroundings,
  olderThanSeconds: number | undefined,
): Promise<Candidate[]> {
  if (olderThanSeconds === undefined) return []
  const before = Date.now() - olderThanSeconds * 1000
  const isOld = ({ lastUsedAt, createdAt }: Image) => Date.parse(lastUsedAt ?? createdAt) <= before
  const found: Candidate[] = []
  for (const image of (await cache.list()).filter(isOld)) {
    if ((await usersOf(image)).length > 0) continue
    const { name, arch, sizeBytes, sha256 } = image
    found.push({
      ...{
        kind: 'image',
        name: `${name}:${arch}`,
        sizeBytes,
        files: await filesIn(await cache.folderOf(image)),
      },
      reason: `nothing was made of it since ${image.lastUsedAt ?? image.createdAt}`,
      remove: () =>
        alone(`${name}-${arch}`, async () => {
          const now = (await cache.list()).find((one) => one.name === name && one.arch === arch)
          if (!now || now.sha256 !== sha256 || !isOld(now) || (await usersOf(now)).length > 0) return false
          await cache.remove(name, arch)
          return true
        }),
    })
  }
  return found
}

async function findBases({ unusedBases, removeBase }: ImageSurroundings): Promise<Candidate[]> {
  return (await unusedBases()).map((volume) => ({
    kind: 'volume',
    name: `${volume.pool}/${volume.name}`,
    sizeBytes: volume.allocationBytes,
    reason: 'its image is gone or another one, and no volume is based on it',
    files: [volume.path],
    async remove() {
      try {
        await removeBase(volume)
        return true
      } catch (error) {
        if (error instanceof VisorError && ['invalid-state', 'not-found'].includes(error.code)) return false
        throw error
      }
    },
  }))
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  return entries.flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []))
}

const sectorBytes = 512

interface Links {
  readonly id: string
  readonly links: number
  readonly bytes: number
}

async function measure(path: string): Promise<Links | undefined> {
  const found = await lstat(path).catch(() => undefined)
  return found && { id: `${found.dev}:${found.ino}`, links: found.nlink, bytes: found.blocks * sectorBytes }
}

/** Files whose every name goes free their room. */
function linkCounter() {
  const left = new Map<string, { links: number; readonly bytes: number }>()
  return {
    add(one: Links | undefined) {
      if (!one) return
      const known = left.get(one.id) ?? { links: one.links, bytes: one.bytes }
      // Counted from how many there were when the first went.
      left.set(one.id, { ...known, links: known.links - 1 })
    },
    bytes: () => [...left.values()].reduce((sum, { links, bytes }) => sum + (links <= 0 ? bytes : 0), 0),
  }
}

async function sizeOf(files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(
    files.map(async (file) => (await stat(file).catch(() => undefined))?.size ?? 0),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}
