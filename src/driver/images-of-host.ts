import { type DomainDefinition, type Image, type ImageUser, VisorError, type Volume } from '../model/index.ts'
import type { Connection } from './connection.ts'
import type { DiskToPublish, HostImages, Images, PublishImageOptions } from './parts/images.ts'
import type { HostStorage } from './parts/pools.ts'

type Member = Pick<Connection, 'domains'>

/** Names that volumes have which copies of images are based on. */
export const imageBaseName = ({ name, arch, sha256, format }: Image): string =>
  `image-${name}-${arch}-${sha256.slice(0, 12)}.${format === 'raw' ? 'raw' : 'qcow2'}`
const anyImageBase = /^image-[a-z0-9].*-[0-9a-f]{12}\.(?:raw|qcow2)$/u

/** The images, which know of the machines and volumes that are made of them, and can be made of those. */
export function imagesOfHost(
  images: HostImages,
  {
    storage,
    find,
    members,
  }: {
    readonly storage?: HostStorage | undefined
    readonly find: (uuid: string) => Promise<Member>
    readonly members: readonly Member[]
  },
): Images {
  const { use: _, make, prune, ...others } = images

  /** Volumes of the pools that are active, each with what is based on it. */
  async function listVolumes(): Promise<Volume[]> {
    const pools = (await storage?.pools.list()) ?? []
    const active = pools.filter((pool) => pool.active)
    const listed = await Promise.all(
      active.map(async ({ name }) => (await storage?.volumes.list(name)) ?? []),
    )
    return listed.flat()
  }

  async function definitions(): Promise<DomainDefinition[]> {
    const found = await Promise.all(
      members.map(async ({ domains }) => {
        const all = await domains.list()
        const both = all.flatMap(({ uuid }) => [
          domains.describe(uuid, { inactive: true }).catch(ifGone),
          domains.describe(uuid).catch(ifGone),
        ])
        return Promise.all(both)
      }),
    )
    return found.flat().filter((definition) => definition !== undefined)
  }

  async function usersOf(image: Image): Promise<ImageUser[]> {
    const volumes = await listVolumes()
    const base = imageBaseName(image)
    const bases = new Set(volumes.flatMap(({ name, path }) => (name === base ? [path] : [])))
    const based = volumes
      .filter((volume) => volume.base && bases.has(volume.base.path))
      .map((volume) => ({ kind: 'volume', name: nameOf(volume) }) as const)
    const files = new Set([image.kernel, image.packedKernel, image.initrd, image.disk])
    files.delete(undefined)
    const domains = (await definitions()).filter(({ os, devices }) =>
      [os.kernel, os.initrd, ...devices.disks.map(({ file }) => file)].some((file) => files.has(file)),
    )
    const names = [...new Set(domains.map(({ name }) => name))]
    return [...names.map((name) => ({ kind: 'domain', name }) as const), ...based]
  }

  async function diskOf({ domain, disk, pool, volume }: PublishImageOptions): Promise<DiskToPublish> {
    if ((domain === undefined) === (volume === undefined))
      throw new VisorError('invalid-argument', 'An image is made of a domain or of a volume.', {
        remedy: 'Name one of them.',
      })
    if (volume !== undefined) return volumeDisk(pool ?? 'default', volume)
    const { domains } = await find(domain ?? '')
    const { name, state } = await domains.get(domain ?? '')
    if (state !== 'shutoff' && state !== 'crashed')
      throw new VisorError('invalid-state', `The machine '${name}' is ${state}: its disk changes.`, {
        remedy: `Stop it first: visor stop ${name}.`,
        object: { kind: 'domain', name },
      })
    return domainDisk(await domains.describe(domain ?? '', { inactive: true }), disk)
  }

  async function domainDisk({ name, devices }: DomainDefinition, target: string | undefined) {
    const disks = devices.disks.filter(({ device }) => device === 'disk')
    const disk = target === undefined ? disks[0] : disks.find((one) => one.target === target)
    if (!disk)
      throw new VisorError('not-found', `The machine '${name}' has no disk${target ? ` '${target}'` : ''}.`, {
        remedy: `It has ${disks.map((one) => one.target).join(', ') || 'none'}.`,
        object: { kind: 'domain', name },
      })
    if (disk.pool !== undefined && disk.volume !== undefined) return volumeDisk(disk.pool, disk.volume)
    const path = disk.file ?? disk.block
    const found = path === undefined ? undefined : await storage?.volumes.find?.({ path }).catch(ifGone)
    if (found) return volumeDisk(found.pool, found.name)
    throw new VisorError(
      'unsupported-config',
      `The disk '${disk.target}' of the machine '${name}' is in no pool of this host that is active.`,
      {
        remedy: `Start its pool, make one of the folder that it is in (visor pool define), or import the file: visor image import${disk.file === undefined ? '' : ` ${disk.file}`}.`,
        object: { kind: 'domain', name },
      },
    )
  }

  async function volumeDisk(pool: string, volume: string): Promise<DiskToPublish> {
    if (!storage) throw new VisorError('unsupported', 'There is no storage here that has volumes.')
    const access = await storage.guests.access(pool, volume)
    if (access.type !== 'file' && access.type !== 'block')
      throw new VisorError('unsupported-config', `The volume '${volume}' is no disk on this host.`, {
        remedy: 'Copy it to a pool of this host first: visor volume clone.',
      })
    if (access.encryption)
      throw new VisorError(
        'unsupported-config',
        `The volume '${volume}' is encrypted, and an image of it would not be.`,
        {
          remedy: `Make a copy that is not encrypted, if it may be one: visor volume clone --decrypt.`,
          object: { kind: 'volume', name: volume },
        },
      )
    return { path: access.path, format: access.format }
  }

  async function refuseRunning(pool: string, volume: string): Promise<void> {
    const { path } = (await storage?.volumes.get(pool, volume)) ?? {}
    for (const { domains } of members)
      for (const { uuid, name, state } of await domains.list()) {
        if (state === 'shutoff' || state === 'crashed') continue
        const definition = await domains.describe(uuid).catch(ifGone)
        const disks = definition?.devices.disks ?? []
        if (disks.some((disk) => disk.file === path || disk.block === path || isVolume(disk, pool, volume)))
          throw new VisorError(
            'invalid-state',
            `The volume '${volume}' is a disk of '${name}', which runs.`,
            {
              remedy: `Stop it first: visor stop ${name}.`,
              object: { kind: 'volume', name: volume },
            },
          )
      }
  }

  return {
    ...others,
    async get(key) {
      const image = await images.get(key)
      return { ...image, usedBy: await usersOf(image) }
    },
    async publish(given) {
      const { domain, disk, pool, volume, ...options } = given
      if (volume !== undefined) await refuseRunning(pool ?? 'default', volume)
      const found = await diskOf(given)
      const guest = domain === undefined ? undefined : await (await find(domain)).domains.describe(domain)
      const arch = options.arch ?? guest?.os.arch
      const of = guest ? `${guest.name}${disk === undefined ? '' : ` ${disk}`}` : (volume ?? '')
      return make(found, { ...options, of, ...(arch !== undefined && { arch }) })
    },
    prune: (options = {}) =>
      prune(
        {
          usersOf,
          async unusedBases() {
            const volumes = await listVolumes()
            const based = new Set(volumes.map(({ base }) => base?.path))
            const current = new Set((await images.list()).map(imageBaseName))
            const disks = new Set(
              (await definitions()).flatMap(({ devices }) =>
                devices.disks.flatMap(({ file, pool, volume }) => [file, `${pool}/${volume}`]),
              ),
            )
            return volumes.filter(
              ({ pool, name, path }) =>
                anyImageBase.test(name) &&
                !(current.has(name) || based.has(path) || disks.has(path) || disks.has(`${pool}/${name}`)),
            )
          },
          removeBase: async ({ pool, name }) => storage?.volumes.remove?.(pool, name),
        },
        options,
      ),
  }
}

const nameOf = ({ pool, name }: Volume): string => (pool === 'default' ? name : `${pool}/${name}`)

const isVolume = (
  disk: { readonly pool?: string | undefined; readonly volume?: string | undefined },
  pool: string,
  volume: string,
): boolean => disk.pool === pool && disk.volume === volume

/** What went away meanwhile uses nothing. */
function ifGone(error: unknown): undefined {
  if (error instanceof VisorError && error.code === 'not-found') return undefined
  throw error
}
