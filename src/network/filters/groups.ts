/** Security groups of this host, as they are kept. */
import { randomUUID } from 'node:crypto'
import type { Groups, Store } from '../../driver/index.ts'
import { type GroupRule, notFound, parse, SecurityGroup, VisorError } from '../../model/index.ts'
import { isAddress, isSoundAddress } from './group-rules.ts'

export interface KeptGroups {
  readonly operations: Groups
  all(): readonly SecurityGroup[]
  /** Those that a guest belongs to. */
  of(domain: string): readonly SecurityGroup[]
}

export interface GroupsContext {
  readonly store: Store
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
  /** Sets all rules anew. */
  readonly apply: () => Promise<void>
}

const prefix = 'network/groups/'

export async function openGroups({ store, alone, apply }: GroupsContext): Promise<KeptGroups> {
  const groups = new Map<string, SecurityGroup>()
  for (const { value } of await store.list(prefix)) {
    const one = value as SecurityGroup
    groups.set(one.name, one)
  }

  function find(name: string): SecurityGroup {
    const found = groups.get(name)
    if (!found) throw notFound('group', name)
    return found
  }

  function remember(name: string, value: SecurityGroup | undefined): void {
    if (value) groups.set(name, value)
    else groups.delete(name)
  }

  /** Keeps the group and puts it in force; all is as before where that fails. */
  async function put(name: string, next: SecurityGroup | undefined): Promise<void> {
    const before = groups.get(name)
    await store.write([{ key: prefix + name, value: next }])
    remember(name, next)
    try {
      await apply()
    } catch (error) {
      remember(name, before)
      await store.write([{ key: prefix + name, value: before }])
      throw error
    }
  }

  const change = (name: string, edit: (group: SecurityGroup) => SecurityGroup) =>
    alone(async () => {
      const next = edit(find(name))
      await put(name, next)
      return structuredClone(next)
    })

  const all = () => [...groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  return {
    all,
    of: (domain) => all().filter(({ members }) => members.some((one) => one.domain === domain)),
    operations: {
      list: async () => structuredClone(all()),
      get: async (group) => structuredClone(find(group)),
      create: (name) =>
        alone(async () => {
          const group = parse(SecurityGroup, { name, rules: [], members: [] }, { code: 'invalid-argument' })
          if (groups.has(name))
            throw new VisorError('already-exists', `There is already a group '${name}'.`, {
              object: { kind: 'group', name },
            })
          await put(name, group)
          return group
        }),
      remove: (name) =>
        alone(async () => {
          refuseUsed(find(name), all())
          await put(name, undefined)
        }),
      allow: (name, { direction = 'in', proto = 'any', start, end, peer } = {}) =>
        change(name, (group) => {
          const rule: GroupRule = {
            ...{ id: randomUUID().slice(0, 8), direction, proto },
            ...(start === undefined ? {} : { start }),
            ...(end === undefined ? {} : { end }),
            ...(peer === undefined ? {} : { peer }),
          }
          checkRule(rule, groups)
          return { ...group, rules: [...group.rules, rule] }
        }),
      revoke: (name, { rule }) =>
        change(name, (group) => {
          if (!group.rules.some(({ id }) => id === rule)) throw notFound('rule', rule)
          return { ...group, rules: group.rules.filter(({ id }) => id !== rule) }
        }),
      join: (name, { domain, name: guest = domain }) =>
        change(name, (group) => ({
          ...group,
          members: [...group.members.filter((one) => one.domain !== domain), { domain, name: guest }],
        })),
      leave: (name, { domain }) =>
        change(name, (group) => {
          if (!group.members.some((one) => one.domain === domain))
            throw new VisorError('invalid-state', `That guest does not belong to group '${name}'.`, {
              object: { kind: 'group', name },
            })
          return { ...group, members: group.members.filter((one) => one.domain !== domain) }
        }),
    },
  }
}

function checkRule({ proto, start, end, peer }: GroupRule, groups: ReadonlyMap<string, unknown>): void {
  const wrong =
    start !== undefined && proto !== 'tcp' && proto !== 'udp'
      ? `Ports are of tcp and udp, not of '${proto}'.`
      : end !== undefined && (start === undefined || end < start)
        ? `Ports from ${start ?? 'nowhere'} to ${end} are none.`
        : peer === undefined || (isAddress(peer) ? isSoundAddress(peer) : groups.has(peer))
          ? undefined
          : isAddress(peer)
            ? `'${peer}' is neither an address nor a subnet.`
            : `There is no group '${peer}' that could be let in.`
  if (wrong !== undefined) throw new VisorError('invalid-argument', wrong)
}

function refuseUsed({ name, members }: SecurityGroup, all: readonly SecurityGroup[]): void {
  const object = { kind: 'group', name } as const
  if (members.length > 0)
    throw new VisorError(
      'invalid-state',
      `Guests belong to group '${name}': ${members
        .slice(0, 5)
        .map((one) => one.name)
        .join(', ')}.`,
      { object, remedy: `Take them out first: 'visor group leave ${name} NAME'.` },
    )
  const others = all.filter((one) => one.name !== name && one.rules.some(({ peer }) => peer === name))
  if (others.length > 0)
    throw new VisorError(
      'invalid-state',
      `Rules of other groups name group '${name}': ${others.map((one) => one.name).join(', ')}.`,
      { object, remedy: "Take these rules back first: 'visor group revoke GROUP RULE'." },
    )
}
