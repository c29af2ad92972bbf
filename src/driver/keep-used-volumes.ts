import { VisorError } from '../model/index.ts'
import type { Connection, Volumes } from './connection.ts'

/**
 * The volumes, of which none is removed that a domain or a snapshot of one has as a disk, running or not,
 * unless forced: `invalid-state`. */
export function keepUsedVolumes(
  volumes: Volumes,
  members: readonly Pick<Connection, 'domains' | 'snapshots' | 'templates'>[],
): Volumes {
  const { remove } = volumes
  if (!remove) return volumes
  return {
    ...volumes,
    async remove(name, options) {
      if (options?.force) return remove.call(volumes, name, options)
      const { path } = await volumes.get(name)
      const keepers = (await Promise.all(members.map(({ templates }) => templatesOn(path, templates)))).flat()
      if (keepers.length > 0)
        throw new VisorError(
          'invalid-state',
          `The disk '${name}' is kept by the template ${keepers.map(quote).join(', ')}.`,
          {
            remedy: `Remove the template first: visor template remove ${keepers[0]}`,
            object: { kind: 'volume', name },
          },
        )
      const users = (await Promise.all(members.map((member) => usersOf(path, member)))).flat()
      if (users.length > 0)
        throw new VisorError(
          'invalid-state',
          `The disk '${name}' belongs to ${users.map(quote).join(', ')}.`,
          {
            remedy: `Take it out of the definition first, or forget the machine with its disks: visor undefine ${users[0]} --disks`,
            object: { kind: 'volume', name },
          },
        )
      await remove.call(volumes, name, options)
    },
  }
}

const quote = (name: string) => `'${name}'`

/** Names of the domains that have this file as a disk, now or at their next start. */
async function usersOf(
  path: string,
  { domains, snapshots }: Pick<Connection, 'domains' | 'snapshots'>,
): Promise<string[]> {
  const users: string[] = []
  for (const { uuid, name } of await domains.list()) {
    const kept = (await snapshots?.list(uuid).catch(ifGone)) ?? []
    if (kept.some((one) => one.disks.some(({ file }) => file === path))) {
      users.push(name)
      continue
    }
    for (const inactive of [true, false]) {
      const definition = await domains.describe(uuid, { inactive }).catch(ifGone)
      if (!definition?.devices.disks.some(({ file, block }) => file === path || block === path)) continue
      users.push(name)
      break
    }
  }
  return users
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
