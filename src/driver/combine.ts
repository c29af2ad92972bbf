import {
  type Capabilities,
  type Domain,
  type DomainDefinitionInput,
  type Event,
  type HostInfo,
  notFound,
  VisorError,
} from '../model/index.ts'
import type { Connection } from './connection.ts'
import { imagesOfHost } from './images-of-host.ts'
import { keepUploadedVolumes, keepUsedVolumes } from './keep-used-volumes.ts'
import { type Log, silentLog } from './log.ts'
import { merge } from './merge.ts'
import { operationList } from './operations.ts'
import type { Groups } from './parts/groups.ts'
import type { HostImages } from './parts/images.ts'
import type { HostNetworks } from './parts/networks.ts'
import type { HostStorage } from './parts/pools.ts'
import type { Publications } from './parts/publications.ts'
import type { HostSchedules } from './parts/schedules.ts'
import { type Knock, openReach } from './reach.ts'
import { findMethod, supports, unsupported } from './supports.ts'

/** One of the drivers that {@link combine} makes one of. */
export interface Member {
  readonly scheme: string
  /** The `type`s of definitions that are its own. */
  readonly domainTypes: readonly string[]
  readonly connection: Connection
}

export interface CombineOptions {
  readonly uri: string
  readonly info: () => Promise<HostInfo>
  readonly images?: HostImages
  readonly storage?: HostStorage | undefined
  readonly networks?: HostNetworks
  readonly schedules?: HostSchedules | undefined
  /** Tries connections from this host. */
  readonly knock?: Knock
  readonly log?: Log
}

/**
 * Several drivers behind one connection: each domain is looked after by the driver that knows it, a new one
 * by the driver that its type belongs to. Uuids and names are one of a kind over all of them. A method is
 * there when any member has it; for a domain of a member without it, it fails with `unsupported`.
 */
export function combine(members: readonly Member[], options: CombineOptions): Connection {
  const { uri, info, images, storage, networks, schedules, knock, log = silentLog } = options
  const connections = members.map(({ connection }) => connection)
  const owners = new Map<string, Member>()
  const sources = [
    ...members.map(({ scheme, connection }) => ({ name: scheme, source: connection })),
    ...(networks ? [{ name: 'networks', source: networks }] : []),
    ...(storage ? [{ name: 'storage', source: storage }] : []),
    ...(schedules ? [{ name: 'schedules', source: schedules }] : []),
  ]

  async function findOwner(uuid: string): Promise<Member> {
    const known = owners.get(uuid)
    for (const member of known ? [known, ...members] : members) {
      try {
        await member.connection.domains.get(uuid)
        owners.set(uuid, member)
        return member
      } catch (error) {
        if (!(error instanceof VisorError) || error.code !== 'not-found') {
          if (member === known) throw error
          log.warn({ driver: member.scheme, error }, 'A driver could not be asked for a domain.')
        }
      }
    }
    owners.delete(uuid)
    throw notFound('domain', uuid)
  }

  /** Those who publish say whose ports they are by a name that people know. */
  function named(publications: Publications): Publications {
    const { create } = publications
    if (!create) return publications
    return {
      ...publications,
      async create(given) {
        const { connection } = await findOwner(given.domain)
        const { name } = await connection.domains.get(given.domain)
        return create({ ...given, name })
      },
    }
  }

  /** As {@link named}, of who belongs to a group. */
  function withNames(groups: Groups): Groups {
    const { join } = groups
    if (!join) return groups
    return {
      ...groups,
      async join(group, given) {
        const { connection } = await findOwner(given.domain)
        const { name } = await connection.domains.get(given.domain)
        return join(group, { ...given, name })
      },
    }
  }

  /** What each member answers; one that fails is logged and left out, unless all fail. */
  async function fromAll<T>(asked: readonly Member[], ask: (member: Member) => Promise<T[]>): Promise<T[]> {
    const answers = await Promise.allSettled(asked.map(ask))
    const failures = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []))
    if (failures.length > 0 && failures.length === asked.length) throw failures[0]
    for (const error of failures) log.warn({ error }, 'A driver did not answer; its part is missing.')
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  }

  async function define(definition: DomainDefinitionInput, defineOptions: object): Promise<Domain> {
    const member = members.find(({ domainTypes }) => domainTypes.includes(definition.type))
    if (!member) throw noDriverFor(definition.type, members)
    await refuseTwins(
      members.filter((other) => other !== member),
      definition,
    )
    if (!member.connection.domains.define) throw unsupported('domains.define', `Driver ${member.scheme}`)
    return member.connection.domains.define(definition, defineOptions)
  }

  const domains: Record<string, unknown> = {
    async list(filter: { driver?: string } = {}) {
      const asked = members.filter(({ scheme }) => filter.driver === undefined || filter.driver === scheme)
      const found = await fromAll(asked, (member) => member.connection.domains.list(filter))
      return found.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    },
    async stats({ domains: named }: { domains?: readonly string[] } = {}) {
      if (!named)
        return fromAll(members, async ({ connection }) => (await connection.domains.stats?.()) ?? [])
      const asked = await Promise.all(named.map(async (uuid) => ({ uuid, member: await findOwner(uuid) })))
      return fromAll([...new Set(asked.map(({ member }) => member))], async (member) => {
        const own = asked.filter((entry) => entry.member === member).map(({ uuid }) => uuid)
        return (await member.connection.domains.stats?.({ domains: own })) ?? []
      })
    },
  }
  if (members.some(({ connection }) => connection.domains.define)) domains.define = define
  const parts: Record<string, Record<string, unknown>> = { domains }
  for (const entry of operationList) {
    const { name, part, method } = entry
    if (!members.some(({ connection }) => supports(connection, name)) || parts[part]?.[method]) continue
    const route = routeBy(entry)
    if (route) parts[part] = { ...parts[part], [method]: route }
  }

  /** How a call finds its member: by the domain it is of, by the object it names, or it is of all. */
  function routeBy({ name, part, method, operation }: (typeof operationList)[number]) {
    const { key, refersTo } = operation
    const ask = ({ scheme, connection }: Member, args: readonly unknown[]) => {
      const found = findMethod(connection, name)
      if (!found) throw unsupported(name, `Driver ${scheme}`)
      return found.apply(connection[part], args as never[])
    }
    if (key === 'domain') return async (...args: string[]) => ask(await findOwner(args[0] ?? ''), args)
    if (part !== 'templates' && part !== 'migrations') return undefined
    const able = members.filter(({ connection }) => supports(connection, name))
    if (method === 'list')
      return async () => fromAll(able, async (member) => (await ask(member, [])) as unknown[])
    if (refersTo !== undefined)
      return async (...args: unknown[]) => ask(await findOwner(optionOf(args.at(-1), refersTo)), args)
    if (key === undefined)
      return async (options: { definition?: DomainDefinitionInput }) => {
        const type = options.definition?.type ?? ''
        const member = able.find(({ domainTypes }) => domainTypes.includes(type))
        if (!member) throw noDriverFor(type, able)
        return ask(member, [options])
      }
    return async (...args: unknown[]) => ask(await findKeeper(able, part, key, String(args[0])), args)
  }

  return {
    uri,
    host: {
      info,
      capabilities: () => fromAll<Capabilities>(members, ({ connection }) => connection.host.capabilities()),
    },
    ...(parts as unknown as Pick<Connection, 'domains'>),
    ...(images && {
      images: imagesOfHost(images, {
        ...{ storage, members: connections },
        find: async (uuid) => (await findOwner(uuid)).connection,
      }),
    }),
    ...(networks && {
      networks: networks.networks,
      nwfilters: networks.nwfilters,
      hostBridges: networks.hostBridges,
      groups: withNames(networks.groups),
      publications: named(networks.publications),
    }),
    reach: openReach({ find: async (uuid) => (await findOwner(uuid)).connection, networks, knock }),
    ...(schedules && { schedules: schedules.schedules }),
    ...(storage && {
      pools: storage.pools,
      volumes: keepUsedVolumes(storage.volumes, connections),
      uploads: keepUploadedVolumes(storage, connections),
      secrets: storage.secrets,
    }),
    events: ({ signal } = {}) =>
      merge<Event>(
        sources.map(({ source }) => source.events({ signal })),
        (error, index) => log.error({ driver: sources[index]?.name, error }, 'The events of a driver ended.'),
      ),
    async close() {
      await schedules?.close()
      await Promise.all(connections.map((connection) => connection.close()))
      // After those who have guests on them.
      await networks?.close()
      await storage?.close()
    },
  }
}

const optionOf = (options: unknown, name: string): string => (options as Record<string, string>)[name] ?? ''

/** The member that has the template or migration of this key. */
async function findKeeper(
  members: readonly Member[],
  part: 'templates' | 'migrations',
  noun: string,
  key: string,
): Promise<Member> {
  for (const member of members) {
    try {
      await member.connection[part]?.get(key)
      return member
    } catch (error) {
      if (!(error instanceof VisorError) || error.code !== 'not-found') throw error
    }
  }
  throw notFound(noun, key)
}

/** Fails with `already-exists` when a member that will not run the definition has its name or uuid. */
async function refuseTwins(others: readonly Member[], definition: DomainDefinitionInput): Promise<void> {
  for (const { scheme, connection } of others) {
    const named = await connection.domains.list({ names: [definition.name] })
    const twin =
      named[0] ??
      (definition.uuid ? await connection.domains.get(definition.uuid).catch(() => undefined) : undefined)
    if (twin)
      throw new VisorError(
        'already-exists',
        `There is already a domain '${twin.name}' (uuid ${twin.uuid}), run by ${scheme}.`,
        {
          remedy: 'Choose another name and uuid, or undefine that one first.',
          object: { kind: 'domain', name: twin.name },
        },
      )
  }
}

function noDriverFor(type: string, members: readonly Member[]): VisorError {
  const types = members.flatMap(({ domainTypes }) => domainTypes)
  return new VisorError('unsupported-config', `No driver that is open here runs domains of type '${type}'.`, {
    path: 'type',
    remedy:
      types.length > 0
        ? `Types that can run here: ${types.join(', ')}.`
        : "'visor doctor' says what is missing.",
  })
}
