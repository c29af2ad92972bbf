/**
 * Filters as chains of nft(8), for each port of a bridge its own.
 *
 *   hook --port--> frames --accept, end--> connections --end--> accepted
 *                   | ^
 *                   v | return, end
 *                  chains of frames, by their priority among the rules
 *
 * Rules over single frames come first, as libvirt has them in ebtables; what they accept is then asked of those that
 * know connections, which libvirt has in iptables.
 */
import {
  chainPrefix,
  chainPriorities,
  type FilterProtocol,
  type FilterRule,
  faultOf,
  matchOf,
  type NwfilterDefinition,
  protocolAttributes,
  protocolKey,
  type RuleMatch,
  VisorError,
} from '../../model/index.ts'
import { flowsOf, type Way } from './flows.ts'
import { formatMatch, knowsConnections, MatchProblem, swapped } from './matches.ts'
import { ValueProblem, type Values, withParameters, withValues } from './variables.ts'

/** A port of a bridge that a filter is in force for. */
export interface FilteredPort {
  readonly link: string
  readonly filter: string
  readonly values: Values
  /** Whether what it lets through is asked of security groups then. */
  readonly hasGroups?: boolean
}

export interface CompileOptions {
  /** A filter by its name. */
  readonly find: (name: string) => NwfilterDefinition | undefined
  /** Whether the kernel can tell who sends that it may not. */
  readonly canReject: boolean
}

/** Names are those of the chains to begin with; `chains` are all of the port. */
export interface CompiledPort {
  readonly link: string
  readonly out: string
  readonly in: string
  readonly chains: readonly (readonly [name: string, rules: readonly string[]])[]
}

/** A rule with where it stands and the values that it has. */
interface PlacedRule {
  readonly rule: FilterRule
  readonly chain: string
  readonly chainPriority: number
  readonly values: Values
  readonly filter: string
  readonly index: number
}

/** Fails with `unsupported-config` that names filter and rule, `not-found` for a filter that is not there. */
export function compilePort(port: FilteredPort, options: CompileOptions): CompiledPort {
  const rules = collect(port.filter, port.values, options, [])
  const ways = (['out', 'in'] as const).map((way) => compileWay(port, way, rules, options))
  const [out, into] = ways
  return {
    link: port.link,
    out: chainName('out', port.link),
    in: chainName('in', port.link),
    chains: [...(out ?? []), ...(into ?? [])],
  }
}

/** Of a link's name, with nothing that nft would read otherwise. */
const plain = (text: string) =>
  text.replace(/[^a-zA-Z0-9]/gu, (char) => `_${char.codePointAt(0)?.toString(16)}_`)
const chainName = (way: Way, link: string, chain?: string) =>
  [way, plain(link), ...(chain === undefined ? [] : [plain(chain)])].join('_')

/** Where what is let through by filters is asked of security groups. */
export const groupChain = (way: Way, link: string): string => chainName(way, link, 'groups')

/** All rules that a filter and those it names have, in the order in which they stand. */
function collect(
  name: string,
  values: Values,
  options: CompileOptions,
  above: readonly string[],
): PlacedRule[] {
  const definition = options.find(name)
  if (!definition) throw missing(name, above.at(-1))
  if (above.includes(name))
    throw new VisorError(
      'invalid-definition',
      `Filter '${name}' leads to itself: ${[...above, name].join(', ')}.`,
      {
        object: { kind: 'nwfilter', name },
      },
    )
  const { chain, priority = chainPriorities[chainPrefix(chain)], entries } = definition
  return entries.flatMap(({ reference, rule }, index) =>
    reference
      ? collect(reference.filter, withParameters(values, reference.parameters), options, [...above, name])
      : rule
        ? [{ rule: rule as FilterRule, chain, chainPriority: priority, values, filter: name, index }]
        : [],
  )
}

function missing(name: string, above: string | undefined): VisorError {
  return new VisorError(
    'unsupported-config',
    `There is no filter '${name}'${above === undefined ? '' : `, which filter '${above}' names`}.`,
    { object: { kind: 'nwfilter', name }, remedy: "See 'visor nwfilter-list' for what there is." },
  )
}

const byPriority = <T extends { readonly priority: number }>(all: readonly T[]): T[] =>
  [...all].sort((a, b) => a.priority - b.priority)

/** The chains of one direction. */
function compileWay(
  { link, hasGroups = false }: FilteredPort,
  way: Way,
  rules: readonly PlacedRule[],
  options: CompileOptions,
): (readonly [string, readonly string[]])[] {
  const pass = hasGroups ? `goto ${groupChain(way, link)}` : 'accept'
  const isOver = ({ rule }: PlacedRule) => knowsConnections(matchOf(rule)?.protocol ?? 'mac')
  const over = ordered(rules.filter(isOver)).flatMap((one) => connectionRules(one, way, { ...options, pass }))
  const overName = chainName(way, link, 'over')
  const onward = over.length > 0 ? `goto ${overName}` : pass
  const frames = rules.filter((one) => !isOver(one))
  const chains = new Map<string, { readonly priority: number; readonly rules: PlacedRule[] }>()
  for (const one of frames) {
    const { chain, chainPriority } = one
    const found = chains.get(chain) ?? { priority: chainPriority, rules: [] }
    chains.set(chain, { ...found, rules: [...found.rules, one] })
  }
  const made = [...chains].map(([chain, { priority, rules: own }]) => ({
    ...{ chain, priority, name: chainName(way, link, chain) },
    lines: ordered(own).map((one) => ({ priority: one.rule.priority, lines: frameRules(one, way, onward) })),
  }))
  const jumps = made
    .filter(({ chain, lines }) => chain !== 'root' && lines.some((one) => one.lines.length > 0))
    .map(({ chain, priority, name }) => ({ priority, lines: [`${chainGuard(chain)}jump ${name}`] }))
  const root = made.find(({ chain }) => chain === 'root')?.lines ?? []
  return [
    ...(over.length > 0 ? [[overName, [...over, pass]] as const] : []),
    ...made
      .filter(({ chain, lines }) => chain !== 'root' && lines.some((one) => one.lines.length > 0))
      .map(({ name, lines }) => [name, lines.flatMap((one) => one.lines)] as const),
    // A chain of the same priority comes before the rule.
    [
      chainName(way, link),
      [...byPriority([...jumps, ...root]).flatMap(({ lines }) => lines), onward],
    ] as const,
  ]
}

const ordered = (rules: readonly PlacedRule[]): PlacedRule[] =>
  [...rules].sort((a, b) => a.rule.priority - b.rule.priority)

/** Which packets get into a chain, by what its name begins with. */
function chainGuard(chain: string): string {
  const prefix = chainPrefix(chain)
  if (prefix === 'stp') return 'ether daddr 01:80:c2:00:00:00 '
  if (prefix === 'mac' || prefix === 'root') return ''
  const types = { vlan: '0x8100', ipv4: '0x0800', ipv6: '0x86dd', arp: '0x0806', rarp: '0x8035' }
  return `ether type ${types[prefix]} `
}

/** Rules over single frames: those of both directions are written as the guest gets them. */
function frameRules(placed: PlacedRule, way: Way, onward: string): string[] {
  const { rule, chain } = placed
  if (rule.direction !== 'inout' && rule.direction !== way) return []
  const verdict = {
    accept: onward,
    return: chain === 'root' ? onward : 'return',
    drop: 'drop',
    // Who sends frames cannot be told.
    reject: 'drop',
    continue: undefined,
  }[rule.action]
  if (verdict === undefined) return []
  return expressions(placed, rule.direction === 'inout' && way === 'out').map((text) =>
    `${text} ${verdict}`.trim(),
  )
}

/** Rules that know connections. */
function connectionRules(
  placed: PlacedRule,
  way: Way,
  { canReject, pass }: CompileOptions & { readonly pass: string },
): string[] {
  const { rule } = placed
  const known = matchOf(rule)
  if (!known || rule.action === 'continue') return []
  const { protocol, match } = known
  const isBoth = rule.direction === 'inout'
  const isOwn = isBoth || rule.direction === way
  const accepts = rule.action === 'accept' || rule.action === 'return'
  if (rule.action === 'reject' && (rule.direction !== 'out' || !canReject))
    throw problem(
      placed,
      'action',
      rule.direction === 'out'
        ? "the kernel of this host cannot reject on bridges: use 'drop'"
        : "only what a guest sends can be rejected: use 'drop'",
    )
  const state = match.state
  if (typeof state === 'string') {
    if (!isOwn) return []
    return withState(placed, protocol, way, { state, pass, accepts })
  }
  if (!accepts) {
    if (!isOwn) return []
    const verdict = rule.action === 'reject' ? 'reject' : 'drop'
    return expressions(placed, isBoth && way === 'out').map((text) => `${text} ${verdict}`)
  }
  const keepsState = !isBoth && !['false', '0'].includes(rule.stateMatch ?? 'true')
  if (!keepsState) {
    const isTurned = isBoth ? way === 'out' : !isOwn
    return hasType(match) && !isOwn ? [] : expressions(placed, isTurned).map((text) => `${text} ${pass}`)
  }
  if (isOwn)
    return expressions(placed, false).flatMap((text) =>
      flowsOf(protocol, way).map(({ also, remember }) => join(text, also, remember, pass)),
    )
  // A question and its answer are of different types.
  if (hasType(match)) return []
  return expressions(placed, true).flatMap((text) =>
    flowsOf(protocol, way).map(({ also, known: isKnown, remember }) =>
      join(text, also, isKnown, remember, pass),
    ),
  )
}

const join = (...parts: readonly string[]) => parts.filter((part) => part !== '').join(' ')
const hasType = (match: RuleMatch) => match.type !== undefined || match.code !== undefined

/** Rules that ask themselves what is known of the connection. */
function withState(
  placed: PlacedRule,
  protocol: FilterProtocol,
  way: Way,
  { state, pass, accepts }: { readonly state: string; readonly pass: string; readonly accepts: boolean },
): string[] {
  const states = state.split(',')
  const odd = states.find((one) => one === 'RELATED' || one === 'INVALID')
  if (odd !== undefined)
    throw problem(
      placed,
      'state',
      `of connections over bridges only NEW and ESTABLISHED are known, not ${odd}`,
    )
  const isTurned = placed.rule.direction === 'inout' && way === 'out'
  const isAny = states.includes('NONE') || states.length > 1
  return expressions(placed, isTurned).flatMap((text) =>
    flowsOf(protocol, way).map(({ also, known, unknown, remember }) =>
      join(
        text,
        also,
        isAny ? '' : states.includes('NEW') ? unknown : known,
        ...(accepts ? [remember, pass] : ['drop']),
      ),
    ),
  )
}

/** What the packets must be, once for each of the values. */
function expressions(placed: PlacedRule, isTurned: boolean): string[] {
  const known = matchOf(placed.rule)
  if (!known) return ['']
  const { protocol } = known
  const plainMatch = Object.fromEntries(Object.entries(known.match).filter(([key]) => key !== 'state'))
  try {
    return withValues(plainMatch, placed.values, fitting(protocol)).map((match) => {
      checkValues(placed, protocol, match)
      return formatMatch(protocol, isTurned ? swapped(match) : match)
    })
  } catch (error) {
    if (error instanceof MatchProblem) throw problem(placed, error.key, error.message)
    if (error instanceof ValueProblem)
      throw problem(
        placed,
        undefined,
        error.message,
        'Give it one: <parameter name= value=/> in the filterref.',
      )
    throw error
  }
}

/** Whether a value is of the kind that the attribute has: lists may have addresses of both families. */
function fitting(protocol: FilterProtocol): (key: string, value: string) => boolean {
  const kinds = new Map(protocolAttributes[protocol].map(([key, , kind]) => [key, kind]))
  return (key, value) => faultOf(kinds.get(key) ?? 'comment', value) === undefined
}

function checkValues(placed: PlacedRule, protocol: FilterProtocol, match: RuleMatch): void {
  for (const [key, , kind] of protocolAttributes[protocol]) {
    const value = match[key]
    const wrong = typeof value === 'string' ? faultOf(kind, value) : undefined
    if (wrong !== undefined) throw problem(placed, key, wrong)
  }
}

function problem(
  { filter, index, rule }: PlacedRule,
  key: string | undefined,
  message: string,
  remedy?: string,
): VisorError {
  const known = matchOf(rule)
  const path = [
    `entries[${index}].rule`,
    ...(key === undefined ? [] : key === 'action' || !known ? [key] : [protocolKey(known.protocol), key]),
  ].join('.')
  return new VisorError('unsupported-config', `Filter '${filter}', ${path}: ${message}.`, {
    object: { kind: 'nwfilter', name: filter },
    path,
    remedy,
  })
}
