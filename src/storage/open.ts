/** The storage of this host: pools, and the volumes in them. */
import {
  type CreateVolumeOptions,
  eventHub,
  type HostImages,
  type HostStorage,
  imageBaseName,
  type Log,
  type Store,
  type VolumeAccess,
  type Volumes,
} from '../driver/index.ts'
import {
  FirstBoot,
  type FirstBootInput,
  notFound,
  parse,
  VisorError,
  type Volume,
  VolumeDefinition,
  VolumeEncryption,
} from '../model/index.ts'
import { openContent } from './content/download.ts'
import { writeInPlace } from './content/write-in-place.ts'
import { oneAtATime } from './one-at-a-time.ts'
import { openDefinedPools } from './pools/defined-pools.ts'
import { type LivePool, openPools } from './pools/open-pools.ts'
import { openSecrets } from './secrets/open-secrets.ts'
import { makeSeed } from './seed/seed.ts'
import { openUploads } from './uploads/open-uploads.ts'
import type { FoundVolume, VolumeStore } from './volumes/store.ts'

export interface StorageOptions {
  readonly stateDirectory: string
  readonly runtimeDirectory: string
  readonly store: Store
  readonly log: Log
  /** What volumes can be copies of. */
  readonly images?: HostImages
}

/** Opens it: finds the pools that a daemon before had started. */
export async function openStorage(options: StorageOptions): Promise<HostStorage> {
  const { log } = options
  const hub = eventHub()
  const defined = await openDefinedPools(options.store)
  const secrets = await openSecrets({ ...options, hub, usersOf: defined.usersOf })
  const pools = await openPools({ ...options, hub, defined, secrets })
  const alone = oneAtATime()

  async function find(pool: string, name: string): Promise<{ there: LivePool; found: FoundVolume }> {
    const there = await pools.use(pool)
    const found = await there.backend.volumes.read(name)
    if (!found) throw notFound('volume', there.name === 'default' ? name : `${there.name}/${name}`)
    return { there, found }
  }

  const named = ({ name: pool }: LivePool, found: FoundVolume): Volume => ({ pool, ...found })

  async function readAgain(there: LivePool, name: string): Promise<Volume> {
    const found = await there.backend.volumes.read(name)
    if (!found) throw notFound('volume', name)
    return named(there, found)
  }

  function tell(type: string, { uuid, name: pool }: LivePool, name: string): void {
    hub.emit({ kind: 'volume', type, uuid, name, data: { pool } })
    log.info({ pool, volume: name }, `volume ${type}`)
  }

  /** The image as a volume of the pool, which linked ones are based on. */
  async function imageBase(there: LivePool, key: string) {
    const image = await options.images?.use(key)
    if (image?.disk === undefined)
      throw new VisorError(
        'invalid-argument',
        `The image '${key}' has no disk that a volume could be a copy of.`,
        {
          path: 'image',
          remedy: "Choose one of kind 'disk': visor image list.",
        },
      )
    const format = image.format === 'raw' ? 'raw' : 'qcow2'
    const name = imageBaseName(image)
    await change(there, name, async () => {
      if (await there.backend.volumes.read(name)) return
      const { disk = '' } = (await options.images?.get(key)) ?? {}
      const take = able(there, 'take')
      await take(name, disk)
      tell('created', there, name)
    })
    const { path } = await readAgain(there, name)
    return { path, format } as const
  }

  /** The file that a guest reads at its first boot. */
  async function createSeed(
    pool: string,
    firstBoot: FirstBootInput,
    { name, permissions, signal: _, progress: __, onJob: ___, ...others }: CreateVolumeOptions,
  ): Promise<Volume> {
    const beside = Object.entries(others).find(([, value]) => value !== undefined)
    if (beside)
      throw new VisorError(
        'invalid-argument',
        `A volume for a first boot has no '${beside[0]}' of its own.`,
        {
          path: beside[0],
          remedy: 'Leave it out.',
        },
      )
    const definition = parse(VolumeDefinition, { name, permissions }, { code: 'invalid-argument' })
    const seed = makeSeed(parse(FirstBoot, firstBoot, { code: 'invalid-argument' }))
    const there = await pools.use(pool)
    await change(there, name, async () => {
      if (await there.backend.volumes.read(name)) throw alreadyExists(name)
      const put = able(there, 'put')
      await put({ ...seed, name, permissions: definition.permissions })
    })
    tell('created', there, name)
    return readAgain(there, name)
  }

  /** Changes of one volume happen one after another, and its pool stays meanwhile. */
  function change<T>(there: LivePool, name: string, work: () => Promise<T>): Promise<T> {
    return pools.within(there.uuid, () => alone(keyOf(there, name), work))
  }

  function able<M extends keyof VolumeStore>(there: LivePool, method: M): NonNullable<VolumeStore[M]> {
    const found = there.backend.volumes[method]
    if (!found)
      throw new VisorError(
        'unsupported',
        `The pool '${there.name}' is of a type that cannot do that: ${method}.`,
        {
          object: { kind: 'pool', name: there.name },
        },
      )
    return found as NonNullable<VolumeStore[M]>
  }

  /**
   * Work that makes an encrypted volume, with the uuid of its secret: the one that is named, else one that is made for
   * it, and is gone when the work fails.
   */
  async function withSecret<T>(
    encryption: VolumeDefinition['encryption'],
    volume: string,
    work: (secret: string | undefined) => Promise<T>,
  ): Promise<T> {
    if (!encryption) return work(undefined)
    const [named, ...others] = encryption.secrets
    if (others.length > 0 || named?.file !== undefined)
      throw new VisorError(
        'unsupported-config',
        'A volume is encrypted with one secret, which visor keeps.',
        {
          path: 'encryption.secrets',
          remedy: 'Name one by uuid or usage (visor secret define), or none: visor makes one.',
        },
      )
    if (named) return work((await secrets.operations.get(named.uuid ?? named.usage ?? '')).uuid)
    const made = await secrets.make(volume)
    try {
      const result = await work(made.uuid)
      await secrets.keepMade(made.uuid)
      return result
    } catch (error) {
      await secrets.forgetMade(made.uuid)
      throw error
    }
  }

  async function refuseBase({ path, name }: FoundVolume, remedy: string): Promise<void> {
    const children = (await Promise.all(pools.live().map(({ backend }) => backend.volumes.list()))).flat()
    const based = children.filter(({ base }) => base?.path === path).map((child) => `'${child.name}'`)
    if (based.length > 0)
      throw new VisorError(
        'invalid-state',
        `The volume '${name}' is what others are based on: ${based.slice(0, 5).join(', ')}.`,
        { object: { kind: 'volume', name }, remedy },
      )
  }

  const volumes: Volumes = {
    async list(pool) {
      const there = await pools.use(pool)
      return (await there.backend.volumes.list()).map((found) => named(there, found))
    },
    async get(pool, volume) {
      const { there, found } = await find(pool, volume)
      return named(there, found)
    },
    async find({ path, key }) {
      for (const there of pools.live())
        for (const found of await there.backend.volumes.list())
          if (found.path === path || found.key === key) return named(there, found)
      throw notFound('volume', path ?? key ?? '')
    },
    async describe(pool, volume) {
      const { found } = await find(pool, volume)
      return describeVolume(found)
    },
    async create(pool, { firstBoot, ...options }) {
      if (firstBoot !== undefined) return createSeed(pool, firstBoot, options)
      const { preallocation, image, signal, progress, onJob: _, ...given } = options
      const definition = parse(VolumeDefinition, given, { code: 'invalid-argument' })
      const there = await pools.use(pool)
      const { name } = definition
      const base = image === undefined ? undefined : await imageBase(there, image)
      await change(there, name, async () => {
        if (await there.backend.volumes.read(name)) throw alreadyExists(name)
        progress?.({ phase: 'making the volume' })
        const create = able(there, 'create')
        await withSecret(definition.encryption, `${there.name}/${name}`, (secret) =>
          create({
            ...definition,
            ...(base && { backing: base }),
            ...(definition.encryption && secret !== undefined && locked(definition.encryption, secret)),
            ...{ preallocation, secret },
            ...(signal && { signal }),
            ...(progress && { progress }),
          }),
        )
      })
      tell('created', there, name)
      return readAgain(there, name)
    },
    async clone(pool, volume, { toPool, ...given }) {
      const { there, found } = await find(pool, volume)
      const target = toPool === undefined ? there : await pools.use(toPool)
      const { name } = parse(VolumeDefinition, { name: given.name }, { code: 'invalid-argument' })
      if (target.uuid === there.uuid && name === found.name) throw alreadyExists(name)
      const ends = [
        { pool: there, name: found.name },
        { pool: target, name },
      ]
      // In one order, so that two that copy in opposite directions do not wait for each other.
      if (keyOf(target, name) < keyOf(there, found.name)) ends.reverse()
      const [first, second] = ends as [(typeof ends)[0], (typeof ends)[0]]
      await change(first.pool, first.name, () =>
        change(second.pool, second.name, async () => {
          if (await target.backend.volumes.read(name)) throw alreadyExists(name)
          const access = await there.backend.volumes.access(found)
          const encryption =
            given.encryption && parse(VolumeEncryption, given.encryption, { code: 'invalid-argument' })
          await withSecret(encryption, `${target.name}/${name}`, (secret) =>
            able(target, 'copy')({ volume: found, access }, { ...given, encryption, secret, name }),
          )
        }),
      )
      tell('created', target, name)
      return readAgain(target, name)
    },
    async resize(pool, volume, given) {
      const { there, found } = await find(pool, volume)
      await refuseBase(found, 'They would see another disk: resize those.')
      await change(there, volume, () => able(there, 'resize')(found, given))
      tell('changed', there, volume)
      return readAgain(there, volume)
    },
    async unlock(pool, volume, given) {
      const { there, found } = await find(pool, volume)
      const { uuid } = await secrets.operations.get(given.secret)
      await change(there, volume, () => able(there, 'unlock')(found, { secret: uuid }))
      tell('changed', there, volume)
      return readAgain(there, volume)
    },
    async wipe(pool, volume, given = {}) {
      const { there, found } = await find(pool, volume)
      await refuseBase(found, 'Remove those first.')
      await change(there, volume, () => able(there, 'wipe')(found, given))
      tell('changed', there, volume)
    },
    async download(pool, volume, given = {}) {
      const { there, found } = await find(pool, volume)
      const access = () => there.backend.volumes.access(found)
      if (found.type === 'network')
        throw new VisorError('unsupported-config', `The volume '${found.name}' is not on this host.`, {
          object: { kind: 'volume', name: found.name },
          remedy: 'Copy it into a pool of this host first: visor volume clone.',
        })
      return pools.within(there.uuid, () =>
        openContent({ volume: found, access, withKey: secrets.withFile }, given),
      )
    },
    async write(pool, volume, content, { offset = 0, lengthBytes, ...call } = {}) {
      const { there, found } = await find(pool, volume)
      await refuseBase(found, 'They would see another disk.')
      await change(there, volume, async () => {
        const { path, format } = await there.backend.volumes.access(found).then(local)
        if (format !== 'raw')
          throw new VisorError(
            'unsupported-config',
            `The volume '${found.name}' is of the format ${format}: bytes are written into raw ones only.`,
            {
              object: { kind: 'volume', name: found.name },
              remedy: 'Upload the whole of it, and let it take the place of this one: replace.',
            },
          )
        const { capacityBytes } = found
        const end = Math.min(capacityBytes, offset + (lengthBytes ?? capacityBytes))
        if (offset > capacityBytes)
          throw new VisorError(
            'invalid-argument',
            `The volume '${found.name}' ends at ${capacityBytes}: nothing can be written at ${offset}.`,
            { path: 'offset' },
          )
        await writeInPlace(path, content, { ...call, offset, end })
      })
      tell('changed', there, volume)
      return readAgain(there, volume)
    },
    async remove(pool, volume, { force = false } = {}) {
      const { there, found } = await find(pool, volume)
      await change(there, volume, async () => {
        if (!force) await refuseBase(found, 'Remove those first, or force it: they cannot be read then.')
        await able(there, 'remove')(found)
        if (found.secret !== undefined && defined.usersOf({ uuid: found.secret }).length === 0)
          await secrets.forgetMade(found.secret)
      })
      tell('removed', there, volume)
    },
  }

  const uploads = openUploads({
    pools,
    log,
    async finish(there, name, accept) {
      let replaced = false
      await change(there, name, async () => {
        const before = await there.backend.volumes.read(name)
        if (before) await refuseBase(before, 'Choose another name.')
        replaced = before !== undefined
        await accept()
      })
      tell(replaced ? 'changed' : 'created', there, name)
      return readAgain(there, name)
    },
  })

  return {
    pools: pools.operations,
    volumes,
    uploads,
    secrets: secrets.operations,
    guests: {
      secret: secrets.value,
      async access(pool, volume) {
        const { there, found } = await find(pool, volume)
        return there.backend.volumes.access(found)
      },
    },
    events: (eventOptions) => hub.listen(eventOptions),
    autostart: pools.autostart,
    async close() {
      uploads.close()
      hub.close()
    },
  }
}

const keyOf = ({ uuid }: LivePool, name: string): string => `${uuid}/${name}`

function local(access: VolumeAccess) {
  if (access.type !== 'network') return access
  throw new VisorError('unsupported-config', `The volume '${access.name}' is not on this host.`)
}

/** With the secret that it is encrypted with. */
const locked = (encryption: NonNullable<VolumeDefinition['encryption']>, uuid: string) => ({
  encryption: { ...encryption, secrets: [{ type: 'passphrase', uuid } as const] },
})

/** In libvirt's words. */
function describeVolume(found: FoundVolume): VolumeDefinition {
  const { type, name, key, capacityBytes, allocationBytes, path, format, base, encrypted, secret } = found
  const secrets = secret === undefined ? [] : [{ type: 'passphrase', uuid: secret }]
  return parse(VolumeDefinition, {
    ...(encrypted && { encryption: { format: 'luks', secrets } }),
    ...{ type, name, key, capacityBytes, allocationBytes, path, format },
    ...(base && { backing: { path: base.path, format: base.format } }),
  })
}

function alreadyExists(name: string): VisorError {
  return new VisorError('already-exists', `There is already a volume '${name}'.`, {
    remedy: 'Choose another name, or remove that one first: visor volume remove.',
    object: { kind: 'volume', name },
  })
}
