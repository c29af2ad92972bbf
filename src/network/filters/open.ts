/** Filters of this host: those that are there without being made, and what is kept of others. */
import { randomUUID } from 'node:crypto'
import type { EventHub, Nwfilters, Store } from '../../driver/index.ts'
import {
  checkHonoured,
  type Nwfilter,
  type NwfilterDefinition,
  notFound,
  NwfilterDefinition as Schema,
  subnetOfAddress,
  VisorError,
} from '../../model/index.ts'
import type { CompleteNetwork } from '../complete.ts'
import type { Port } from '../ports.ts'
import { type CompiledPort, compilePort, groupChain } from './compile.ts'
import { groupChains, memberRules } from './group-rules.ts'
import type { KeptGroups } from './groups.ts'
import { canReject, filterChains, formatFilters } from './script.ts'
import { type CompleteNwfilter, completeFilter, shippedFilters } from './shipped.ts'
import { type Values, withParameters } from './variables.ts'

export interface FiltersContext {
  readonly store: Store
  readonly hub: EventHub
  readonly table: string
  readonly groups: KeptGroups
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
  /** Ports that are there, each with its network. */
  readonly ports: () => readonly (readonly [Port, CompleteNetwork])[]
  /** Sets all rules anew. */
  readonly apply: () => Promise<void>
}

export interface KeptFilters {
  readonly operations: Nwfilters
  /** Fails with `unsupported-config` where the filter of the port cannot be in force. */
  check(port: Port, network: CompleteNetwork): Promise<void>
  /** The rules of all filters and groups. */
  rules(): Promise<FilterRules>
}

export interface FilterRules {
  /** The same for rules that are alike; `''` where there are none. */
  readonly frame: string
  /** What sets them in force, whatever the kernel has of them; `''` where there are none and were none. */
  script(): Promise<string>
}

export const noFilters: FilterRules = { frame: '', script: async () => '' }

const prefix = 'network/filters/'

export async function openFilters(context: FiltersContext): Promise<KeptFilters> {
  const { store, hub, table, groups, alone, ports, apply } = context
  let own: ReadonlyMap<string, CompleteNwfilter> = new Map(
    (await store.list(prefix)).map(({ value }) => {
      const one = value as CompleteNwfilter
      return [one.name, one] as const
    }),
  )
  let rejects: Promise<boolean> | undefined
  /** Whether the kernel may have rules of filters. */
  let mayHave = true

  const shipped = new Map(shippedFilters.map((one) => [one.name, one]))
  const byName = (book: typeof own) => (name: string) => book.get(name) ?? shipped.get(name)
  const all = () => [...new Map([...shipped, ...own]).values()].sort((a, b) => (a.name < b.name ? -1 : 1))

  function find(nwfilter: string): CompleteNwfilter {
    const found = byName(own)(nwfilter) ?? all().find(({ uuid }) => uuid === nwfilter.toLowerCase())
    if (!found) throw notFound('nwfilter', nwfilter)
    return found
  }

  async function compile(
    guests: readonly (readonly [Port, CompleteNetwork])[],
    book: typeof own,
  ): Promise<CompiledPort[]> {
    const filtered = guests.filter(([port]) => concerns(port))
    if (filtered.length === 0) return []
    rejects ??= canReject()
    const options = { find: byName(book), canReject: await rejects }
    return filtered.map(([port, network]) => {
      const { link, filter } = port
      const own = groups.of(port.domain)
      const ends = own.length > 0 ? memberChains(link, own) : []
      if (filter === undefined)
        return { link, out: groupChain('out', link), in: groupChain('in', link), chains: ends }
      const values = valuesOf(port, network)
      const compiled = compilePort({ link, filter, values, hasGroups: own.length > 0 }, options)
      return { ...compiled, chains: [...ends, ...compiled.chains] }
    })
  }

  const concerns = ({ filter, domain }: Pick<Port, 'filter' | 'domain'>) =>
    filter !== undefined || groups.of(domain).length > 0

  const addressesOf = (group: string): string[] => {
    const members = new Set(
      groups
        .all()
        .find(({ name }) => name === group)
        ?.members.map(({ domain }) => domain),
    )
    return [...new Set(ports().flatMap(([{ domain, addresses }]) => (members.has(domain) ? addresses : [])))]
  }

  const usersOf = (name: string): string[] => [
    ...new Set(
      ports().flatMap(([port]) =>
        port.filter !== undefined && reachable(port.filter, byName(own)).has(name) ? [port.name] : [],
      ),
    ),
  ]

  const describe = ({ uuid, name, chain }: CompleteNwfilter): Nwfilter => ({
    ...{ uuid, name, chain, builtIn: !own.has(name) },
    usedBy: usersOf(name),
  })

  /** Puts the book in force and keeps the change; all is as before where that fails. */
  async function change(book: typeof own, uuid: string, value: CompleteNwfilter | undefined): Promise<void> {
    await compile(ports(), book)
    const before = own
    const kept = [...before.values()].find((one) => one.uuid === uuid)
    await store.write([{ key: prefix + uuid, value }])
    own = book
    try {
      if (ports().some(([{ filter }]) => filter !== undefined)) await apply()
    } catch (error) {
      own = before
      await store.write([{ key: prefix + uuid, value: kept }])
      throw error
    }
  }

  return {
    async check(port, network) {
      await compile([[port, network]], own)
    },
    async rules() {
      const compiled = await compile(ports(), own)
      const asked = new Set(ports().flatMap(([{ domain }]) => groups.of(domain)))
      const shared = asked.size > 0 ? groupChains([...asked], addressesOf) : []
      return {
        frame: formatFilters(table, compiled, [], shared),
        async script() {
          if (compiled.length === 0 && !mayHave) return ''
          const before = await filterChains(table)
          mayHave = compiled.length > 0
          return formatFilters(table, compiled, before, shared)
        },
      }
    },
    operations: {
      list: async () => all().map(describe),
      get: async (nwfilter) => describe(find(nwfilter)),
      describe: async (nwfilter) => structuredClone(find(nwfilter)),
      define: (given) =>
        alone(async () => {
          // Checked and completed with its defaults by who calls.
          const definition = given as NwfilterDefinition
          checkHonoured(Schema, definition, honoured, 'filters of this host')
          const before = byName(own)(definition.name)
          refuseTwin(definition, before, all())
          const whole = completeFilter(definition, before?.uuid ?? definition.uuid ?? randomUUID())
          const book = new Map([...own, [whole.name, whole]])
          refuseLoop(whole.name, byName(book))
          await change(book, whole.uuid, whole)
          hub.emit({ kind: 'nwfilter', type: 'defined', uuid: whole.uuid, name: whole.name })
          return describe(whole)
        }),
      async undefine(nwfilter) {
        await alone(async () => {
          const { name, uuid } = find(nwfilter)
          const back = shipped.get(name)
          if (!own.has(name))
            throw new VisorError('invalid-state', `Filter '${name}' is there without being made.`, {
              object: { kind: 'nwfilter', name },
              remedy: 'It does nothing where no guest and no filter names it.',
            })
          if (!back) refuseUsed(name, usersOf(name), all())
          const book = new Map([...own].filter(([one]) => one !== name))
          await change(book, uuid, undefined)
          hub.emit({ kind: 'nwfilter', type: 'undefined', uuid, name })
        })
      },
    },
  }
}

const memberChains = (link: string, own: Parameters<typeof memberRules>[0]) =>
  (['out', 'in'] as const).map((way) => [groupChain(way, link), memberRules(own, way)] as const)

const honoured = ['chain', 'priority', 'entries', 'entries.*', 'entries[].*']

/** What is known of the guest; what its definition says counts more. */
function valuesOf({ mac, addresses, filterParameters }: Port, { addresses: hosts }: CompleteNetwork): Values {
  const isV6 = (address: string) => address.includes(':')
  const servers = hosts.filter((one) => subnetOfAddress(one)).map(({ address }) => address)
  return withParameters(
    new Map([
      ['MAC', [mac]],
      ['IP', addresses.filter((one) => !isV6(one))],
      ['IPV6', addresses.filter(isV6)],
      ['DHCPSERVER', servers],
    ]),
    filterParameters,
  )
}

type Find = (name: string) => NwfilterDefinition | undefined

/** The filter, and all that it leads to. */
function reachable(name: string, find: Find, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(name)) return seen
  seen.add(name)
  for (const { reference } of find(name)?.entries ?? [])
    if (reference) reachable(reference.filter, find, seen)
  return seen
}

function refuseLoop(name: string, find: Find): void {
  for (const { reference } of find(name)?.entries ?? [])
    if (reference && reachable(reference.filter, find).has(name))
      throw new VisorError(
        'invalid-definition',
        `Filter '${name}' would lead to itself by '${reference.filter}'.`,
        { object: { kind: 'nwfilter', name }, remedy: 'Take one of the two out of the other.' },
      )
}

function refuseTwin(
  { name, uuid }: NwfilterDefinition,
  before: CompleteNwfilter | undefined,
  others: readonly CompleteNwfilter[],
): void {
  const twin = uuid === undefined ? undefined : others.find((one) => one.uuid === uuid && one.name !== name)
  const wrong = twin
    ? `Filter '${twin.name}' has the uuid ${uuid} already.`
    : before && uuid !== undefined && before.uuid !== uuid
      ? `There is already a filter '${name}', with uuid ${before.uuid}.`
      : undefined
  if (wrong !== undefined)
    throw new VisorError('already-exists', wrong, {
      object: { kind: 'nwfilter', name },
      remedy: 'Leave the uuid out: the filter keeps the one that it has.',
    })
}

function refuseUsed(name: string, guests: readonly string[], others: readonly NwfilterDefinition[]): void {
  const object = { kind: 'nwfilter', name } as const
  if (guests.length > 0)
    throw new VisorError(
      'invalid-state',
      `Filter '${name}' is in use by: ${guests.slice(0, 5).join(', ')}.`,
      {
        object,
        remedy: 'Stop these guests first, or change what they have.',
      },
    )
  const above = others.filter(({ entries }) => entries.some(({ reference }) => reference?.filter === name))
  if (above.length > 0)
    throw new VisorError(
      'invalid-state',
      `Filter '${name}' is a part of: ${above
        .slice(0, 5)
        .map((one) => one.name)
        .join(', ')}.`,
      { object, remedy: 'Take it out of these first.' },
    )
}
