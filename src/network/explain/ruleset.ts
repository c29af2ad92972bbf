/**
 * The rules of the host as nft(8) lists them, and what they do to a packet. What cannot be told from the rules
 * alone, such as limits and extensions of iptables, is neither yes nor no. Source: libnftables-json(5).
 */
import { contains, parseIp, parseSubnet } from '../../model/index.ts'

/** A packet on its way, by the names that rules have for its parts; what is not there is not known. */
export type Packet = Readonly<Record<string, string | undefined>>

export interface Chain {
  readonly family: string
  readonly table: string
  readonly name: string
  readonly hook?: string
  readonly priority: number
  readonly policy: string
  readonly rules: { readonly handle: number; readonly expr: readonly Json[] }[]
}

type Json = null | string | number | boolean | readonly Json[] | { readonly [key: string]: Json }
type Answer = 'yes' | 'no' | 'unknown'

export interface Ruleset {
  readonly chains: readonly Chain[]
  /** Elements, by family, table and name. */
  readonly sets: ReadonlyMap<string, readonly Json[]>
}

/** Where a packet ends. */
export interface Stop {
  readonly chain: Chain
  /** The rule; undefined for the policy of the chain. */
  readonly handle?: number
  readonly verdict: 'drop' | 'reject'
  /** A rule that could not be read may have let it pass before. */
  readonly unsure: boolean
}

export function parseRuleset(text: string): Ruleset {
  const chains: Chain[] = []
  const sets = new Map<string, readonly Json[]>()
  for (const entry of listOf(record(JSON.parse(text)).nftables)) {
    const { chain, rule, set, map } = record(entry)
    if (chain !== undefined) {
      const { family, table, name, hook, prio, policy } = record(chain)
      chains.push({
        ...{ family: String(family), table: String(table), name: String(name), rules: [] },
        ...(hook === undefined ? {} : { hook: String(hook) }),
        ...{ priority: Number(prio ?? 0), policy: String(policy ?? 'accept') },
      })
    }
    if (rule !== undefined) {
      const { family, table, chain: of, handle, expr } = record(rule)
      const found = chains.find((one) => one.family === family && one.table === table && one.name === of)
      found?.rules.push({ handle: Number(handle), expr: listOf(expr) })
    }
    for (const one of [set, map]) {
      if (one === undefined) continue
      const { family, table, name, elem } = record(one)
      sets.set(`${family} ${table} ${name}`, listOf(elem))
    }
  }
  return { chains, sets }
}

/** The first that stops a packet at a hook; undefined when it passes. `families`: those that see it. */
export function findStop(
  ruleset: Ruleset,
  hook: string,
  families: readonly string[],
  packet: Packet,
): Stop | undefined {
  const bases = ruleset.chains
    .filter((chain) => chain.hook === hook && families.includes(chain.family))
    .sort((a, b) => a.priority - b.priority)
  for (const chain of bases) {
    const walk: Walk = { ruleset, packet, unsure: false }
    const end = follow(walk, chain, 0)
    if (end === 'accept') continue
    if (typeof end === 'object') return { ...end, unsure: walk.unsure }
    if (chain.policy === 'drop') return { chain, verdict: 'drop', unsure: walk.unsure }
  }
  return undefined
}

interface Walk {
  readonly ruleset: Ruleset
  readonly packet: Packet
  unsure: boolean
}
type End = 'accept' | 'on' | 'return' | Omit<Stop, 'unsure'>

/** Chains that lead to themselves are refused by the kernel; this only bounds what is read. */
const deepest = 32

function follow(walk: Walk, chain: Chain, depth: number): End {
  if (depth > deepest) return 'on'
  for (const { handle, expr } of chain.rules) {
    const end = obey(walk, chain, { handle, expr, depth })
    if (end === 'return') return 'on'
    if (end !== 'on') return end
  }
  return 'on'
}

function obey(
  walk: Walk,
  chain: Chain,
  { handle, expr, depth }: { handle: number; expr: readonly Json[]; depth: number },
): End {
  let meets: Answer = 'yes'
  for (const statement of expr) {
    const [[kind = '', value = null] = []] = Object.entries(record(statement))
    if (kind === 'match') meets = both(meets, matches(walk, chain, record(value)))
    else if (kind === 'xt' || kind === 'limit' || kind === 'quota' || kind === 'ct count')
      meets = both(meets, 'unknown')
    if (meets === 'no') return 'on'
    const end = verdictOf(walk, chain, { kind, value, handle, depth })
    if (end === undefined) continue
    if (meets === 'yes') return end
    // It may have been let pass, or not: what comes then counts.
    if (end === 'accept' || end === 'return') walk.unsure = true
    return 'on'
  }
  return 'on'
}

function verdictOf(
  walk: Walk,
  chain: Chain,
  { kind, value, handle, depth }: { kind: string; value: Json; handle: number; depth: number },
): End | undefined {
  if (kind === 'accept' || kind === 'return') return kind
  if (kind === 'drop' || kind === 'reject') return { chain, handle, verdict: kind }
  if (kind === 'jump' || kind === 'goto') {
    const target = walk.ruleset.chains.find(
      (one) => one.family === chain.family && one.table === chain.table && one.name === record(value).target,
    )
    const end = target ? follow(walk, target, depth + 1) : 'on'
    return kind === 'goto' && end === 'on' ? 'return' : end === 'on' ? undefined : end
  }
  if (kind !== 'vmap') return undefined
  const { key = null, data = null } = record(value)
  const found = fieldOf(walk.packet, key)
  if (found === undefined) walk.unsure = true
  for (const pair of elementsOf(walk, chain, data)) {
    const [element = null, verdict = null] = listOf(pair)
    if (found === undefined || !isIn(found, element)) continue
    const [[name = '', inner = null] = []] = Object.entries(record(verdict))
    return verdictOf(walk, chain, { kind: name, value: inner, handle, depth })
  }
  return undefined
}

const both = (a: Answer, b: Answer): Answer =>
  a === 'no' || b === 'no' ? 'no' : a === 'unknown' || b === 'unknown' ? 'unknown' : 'yes'

function matches(walk: Walk, chain: Chain, { op, left = null, right = null }: Record<string, Json>): Answer {
  const found = fieldOf(walk.packet, left)
  if (found === undefined) return 'unknown'
  // A packet of another protocol has no such field.
  if (found === absent) return 'no'
  const wanted = elementsOf(walk, chain, right)
  const isThere = wanted.some((element) => isIn(found, element))
  if (op === '==' || op === 'in') return isThere ? 'yes' : 'no'
  if (op === '!=') return isThere ? 'no' : 'yes'
  return 'unknown'
}

const absent = ''

/** The value that an expression has for the packet; undefined where it is not known. */
function fieldOf(packet: Packet, expression: Json): string | undefined {
  const { meta, payload, ct, concat, fib } = record(expression)
  if (concat !== undefined) {
    const parts = listOf(concat).map((part) => fieldOf(packet, part))
    return parts.includes(undefined) ? undefined : parts.includes(absent) ? absent : parts.join(' . ')
  }
  if (meta !== undefined) {
    const key = String(record(meta).key)
    return packet[key === 'iif' ? 'iifname' : key === 'oif' ? 'oifname' : key]
  }
  if (payload !== undefined) {
    const { protocol, field } = record(payload)
    return packet[`${protocol} ${field}`]
  }
  if (ct !== undefined) return packet[`ct ${record(ct).key}`]
  if (fib !== undefined) {
    const { result, flags } = record(fib)
    return packet[`fib ${[flags].flat().join(' . ')} ${result}`]
  }
  return undefined
}

function elementsOf({ ruleset }: Walk, { family, table }: Chain, right: Json): readonly Json[] {
  if (typeof right === 'string' && right.startsWith('@'))
    return ruleset.sets.get(`${family} ${table} ${right.slice(1)}`) ?? []
  const { set } = record(right)
  if (set !== undefined) return Array.isArray(set) ? set : [set]
  return Array.isArray(right) ? right : [right]
}

function isIn(found: string, element: Json): boolean {
  const { prefix, range, concat, elem } = record(element)
  if (elem !== undefined) return isIn(found, record(elem).val ?? null)
  if (concat !== undefined) {
    const parts = found.split(' . ')
    return listOf(concat).every((part, index) => isIn(parts[index] ?? '', part))
  }
  if (prefix !== undefined) {
    const { addr, len } = record(prefix)
    const [subnet, address] = [parseSubnet(`${addr}/${len}`), parseIp(found)]
    return subnet !== undefined && address !== undefined && contains(subnet, address)
  }
  if (range !== undefined) return isBetween(found, listOf(range).map(String))
  const text = String(element)
  if (text.endsWith('*')) return found.startsWith(text.slice(0, -1))
  const [a, b] = [parseIp(found), parseIp(text)]
  return a && b ? a.family === b.family && a.value === b.value : found === text
}

function isBetween(found: string, [first = '', last = '']: readonly string[]): boolean {
  const [a, from, to] = [found, first, last].map(parseIp)
  if (a && from && to) return a.family === from.family && a.value >= from.value && a.value <= to.value
  return Number(found) >= Number(first) && Number(found) <= Number(last)
}

const record = (value: Json | undefined): Record<string, Json> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, Json>) : {}
const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? value : [])
