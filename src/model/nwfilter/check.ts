/** What must hold between the parts of a filter. */
import { at } from '../described.ts'
import { type Fault, faultError } from '../issue.ts'
import { parseIp } from '../network/ip.ts'
import { positionsOf } from '../position.ts'
import {
  type AttributeKind,
  attributeKinds,
  type FilterProtocol,
  filterProtocols,
  protocolAttributes,
  protocolKey,
} from './attributes.ts'
import { type FilterRule, NwfilterDefinition, type RuleMatch } from './definition.ts'

/** Fails with `invalid-definition` that tells everything that does not fit together. */
export function checkNwfilterDefinition(definition: NwfilterDefinition): void {
  const faults = definition.entries.flatMap(({ reference, rule }, index): Fault[] => {
    const path = at('entries', index)
    if (!reference && !rule) return [{ path, message: "needs a rule, or a filter: 'rule' or 'reference'" }]
    if (reference && rule) return [{ path, message: 'cannot have both a rule and a filter' }]
    if (reference?.filter === definition.name)
      return [{ path: `${path}.reference.filter`, message: 'is this filter itself' }]
    return rule ? checkRule(rule as FilterRule, `${path}.rule`) : []
  })
  if (faults.length > 0)
    throw faultError(faults, {
      code: 'invalid-definition',
      schema: NwfilterDefinition,
      positions: positionsOf(definition),
    })
}

/** What a rule looks at; nothing where all packets of its chain fit. */
export function matchOf(
  rule: FilterRule,
): { readonly protocol: FilterProtocol; readonly match: RuleMatch } | undefined {
  const all = matchesOf(rule)
  return all[0]
}

const matchesOf = (rule: FilterRule) =>
  filterProtocols.flatMap((protocol) => {
    const match = (rule as unknown as Readonly<Record<string, RuleMatch | undefined>>)[protocolKey(protocol)]
    return match ? [{ protocol, match }] : []
  })

function checkRule(rule: FilterRule, path: string): Fault[] {
  const all = matchesOf(rule)
  const [first] = all
  if (!first) return []
  if (all.length > 1)
    return [
      {
        path,
        message: `can be of one protocol only, not ${all.map(({ protocol }) => protocol).join(' and ')}`,
      },
    ]
  const { protocol, match } = first
  return protocolAttributes[protocol].flatMap(([key, , kind]) => {
    const value = match[key]
    const message = typeof value === 'string' ? faultOf(kind, value) : undefined
    return message === undefined ? [] : [{ path: `${path}.${protocolKey(protocol)}.${key}`, message }]
  })
}

/** Why the word is none of its kind; variables are looked at when they have values. */
export function faultOf(kind: AttributeKind, value: string): string | undefined {
  if (value.startsWith('$')) return undefined
  const { pattern, name, max } = attributeKinds[kind] as {
    readonly pattern: RegExp
    readonly name: string
    readonly max?: number
  }
  const wrong = `must be ${name}, not '${value}'`
  if (!pattern.test(value)) return wrong
  if (max !== undefined && /^\d/u.test(value) && Number(value) > max) return wrong
  if (kind === 'ip' && parseIp(value)?.family !== 'ipv4') return wrong
  if (kind === 'ipv6' && parseIp(value)?.family !== 'ipv6') return wrong
  if (kind === 'ipMask' || kind === 'ipv6Mask')
    return maskBits(value, kind === 'ipMask' ? 32 : 128) === undefined ? wrong : undefined
  return undefined
}

/** How many bits of an address count; undefined where it is no mask of a subnet. */
export function maskBits(mask: string, width: 32 | 128): number | undefined {
  if (/^\d{1,3}$/u.test(mask)) return Number(mask) <= width ? Number(mask) : undefined
  const parsed = parseIp(mask)
  if (!parsed || (parsed.family === 'ipv4') !== (width === 32)) return undefined
  const bits = parsed.value.toString(2).padStart(width, '0')
  return /^1*0*$/u.test(bits) ? bits.lastIndexOf('1') + 1 : undefined
}
