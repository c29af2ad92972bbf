import { VisorError, type Volume } from '../model/index.ts'
import type { Connection } from './connection.ts'
import type { Volumes } from './parts/pools.ts'
import type { Uploads } from './parts/uploads.ts'

type Member = Pick<Connection, 'domains' | 'snapshots' | 'templates'>

/**
 * The volumes, of which none is removed that a domain, a snapshot of one or a template has as a disk, running or not,
 * unless forced; of which none is resized, wiped or written that a running domain or a template has; and none read
 * that a running domain writes to: `invalid-state`.
 */
export function keepUsedVolumes(volumes: Volumes, members: readonly Member[]): Volumes {
  const { remove, resize, wipe, write, download } = volumes
  return {
    ...volumes,
    ...(remove && {
      async remove(pool, name, options) {
        if (!options?.force) {
          const volume = await volumes.get(pool, name)
          await refuseKept(volume, members)
          await refuseUsed(volume, members)
        }
        await remove.call(volumes, pool, name, options)
      },
    }),
    ...(resize && {
      async resize(pool, name, options) {
        await refuseInUse(
          await volumes.get(pool, name),
          members,
          'visor block resize changes it while it runs.',
        )
        return resize.call(volumes, pool, name, options)
      },
    }),
    ...(wipe && {
      async wipe(pool, name, options) {
        await refuseInUse(await volumes.get(pool, name), members, 'Stop it first.')
        await wipe.call(volumes, pool, name, options)
      },
    }),
    ...(write && {
      async write(pool, name, content, options) {
        await refuseInUse(await volumes.get(pool, name), members, 'Stop it first.')
        return write.call(volumes, pool, name, content, options)
      },
    }),
    ...(download && {
      async download(pool, name, options) {
        await refuseWritten(await volumes.get(pool, name), members)
        return download.call(volumes, pool, name, options)
      },
    }),
  }
}

/** The uploads, of which none takes the place of a volume that a running domain or a template has: `invalid-state`. */
export function keepUploadedVolumes(
  { uploads, volumes }: { readonly uploads: Uploads; readonly volumes: Volumes },
  members: readonly Member[],
): Uploads {
  const { create, finish } = uploads

  async function refuse(pool: string, name: string): Promise<void> {
    const volume = await volumes.get(pool, name).catch(ifGone)
    if (volume) await refuseInUse(volume, members, 'Stop it first, or choose another name.')
  }

  return {
    ...uploads,
    ...(create && {
      async create(pool, options) {
        if (options.replace) await refuse(pool, options.volume)
        return create.call(uploads, pool, options)
      },
    }),
    ...(finish && {
      async finish(pool, upload, options) {
        await refuse(pool, (await uploads.get(pool, upload)).volume)
        return finish.call(uploads, pool, upload, options)
      },
    }),
  }
}

const quote = (name: string) => `'${name}'`
const nameOf = ({ pool, name }: Volume) => (pool === 'default' ? name : `${pool}/${name}`)

async function refuseKept(volume: Volume, members: readonly Member[]): Promise<void> {
  const keepers = (
    await Promise.all(members.map(({ templates }) => templatesOn(volume.path, templates)))
  ).flat()
  if (keepers.length > 0)
    throw new VisorError(
      'invalid-state',
      `The disk '${nameOf(volume)}' is kept by the template ${keepers.map(quote).join(', ')}.`,
      {
        remedy: `Remove the template first: visor template remove ${keepers[0]}`,
        object: { kind: 'volume', name: volume.name },
      },
    )
}

async function refuseUsed(volume: Volume, members: readonly Member[]): Promise<void> {
  const users = (await Promise.all(members.map((member) => usersOf(volume, member)))).flat()
  if (users.length > 0)
    throw new VisorError(
      'invalid-state',
      `The disk '${nameOf(volume)}' belongs to ${users.map(quote).join(', ')}.`,
      {
        remedy: `Take it out of the definition first, or forget the machine with its disks: visor undefine ${users[0]} --disks`,
        object: { kind: 'volume', name: volume.name },
      },
    )
}

async function refuseInUse(volume: Volume, members: readonly Member[], remedy: string): Promise<void> {
  await refuseKept(volume, members)
  const users = (await Promise.all(members.map((member) => runningOn(volume, member)))).flat()
  if (users.length > 0)
    throw new VisorError(
      'invalid-state',
      `The disk '${nameOf(volume)}' is used by ${users.map(quote).join(', ')}, which runs.`,
      { remedy, object: { kind: 'volume', name: volume.name } },
    )
}

async function refuseWritten(volume: Volume, members: readonly Member[]): Promise<void> {
  const users = (await Promise.all(members.map((member) => runningOn(volume, member, true)))).flat()
  if (users.length > 0)
    throw new VisorError(
      'invalid-state',
      `The disk '${nameOf(volume)}' is written by ${users.map(quote).join(', ')}, which runs.`,
      {
        remedy: `Stop it first, or take a backup while it runs: visor backup ${users[0]}.`,
        object: { kind: 'volume', name: volume.name },
      },
    )
}

/** Names of the domains that have the volume as a disk, now or at their next start. */
async function usersOf(volume: Volume, { domains, snapshots }: Member): Promise<string[]> {
  const users: string[] = []
  for (const { uuid, name } of await domains.list()) {
    const kept = (await snapshots?.list(uuid).catch(ifGone)) ?? []
    const isUser =
      kept.some((one) => one.disks.some(({ file }) => file === volume.path)) ||
      (await hasDisk(volume, domains, uuid, true)) ||
      (await hasDisk(volume, domains, uuid, false))
    if (isUser) users.push(name)
  }
  return users
}

/** Names of the domains that run with the volume as a disk. */
async function runningOn(volume: Volume, { domains }: Member, writing = false): Promise<string[]> {
  const users: string[] = []
  for (const { uuid, name, state } of await domains.list())
    if (state !== 'shutoff' && state !== 'crashed' && (await hasDisk(volume, domains, uuid, false, writing)))
      users.push(name)
  return users
}

async function hasDisk(
  { pool, name, path }: Volume,
  domains: Member['domains'],
  uuid: string,
  inactive: boolean,
  writing = false,
): Promise<boolean> {
  const definition = await domains.describe(uuid, { inactive }).catch(ifGone)
  if (!definition) return false
  const { devices, sysinfo } = definition
  return (
    devices.disks.some(
      (disk) =>
        !(writing && (disk.readonly || disk.device === 'cdrom')) &&
        (disk.file === path || disk.block === path || (disk.pool === pool && disk.volume === name)),
    ) || sysinfo.some(({ files }) => !writing && files.some(({ file }) => file === path))
  )
}

/** Names of the templates whose clones have this file below their disks. */
async function templatesOn(path: string, templates: Connection['templates']): Promise<string[]> {
  return ((await templates?.list()) ?? []).flatMap(({ name, disks }) => (disks.includes(path) ? [name] : []))
}

/** A domain that went away meanwhile has no disk; one that cannot be asked may have it. */
function ifGone(error: unknown): undefined {
  if (error instanceof VisorError && error.code === 'not-found') return undefined
  throw error
}
