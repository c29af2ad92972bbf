/**
 * Rules about what guests send and get: libvirt's `<filter>` as a typed description.
 *
 * Source: libvirt's "Network Filters" (formatnwfilter). Fields stand in the order in which libvirt prints them.
 */
import { unknown } from '../domain-words.ts'
import * as s from '../schema.ts'
import { attributeField, filterProtocols, protocolAttributes, protocolKey } from './attributes.ts'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u

export const aFilterName = {
  pattern: /^[a-zA-Z_][\w.-]{0,63}$/u,
  patternName: 'a name of letters, digits and _ . -',
} as const

export const FilterParameter = s.object('FilterParameter', 'A value of a variable of a filter', {
  name: s.string('the variable; several values of one are a list', {
    xml: '@name',
    pattern: /^[a-zA-Z0-9_]{1,64}$/u,
    patternName: 'a name of letters, digits and _',
  }),
  value: s.string('its value', {
    xml: '@value',
    pattern: /^[a-zA-Z0-9_.:,/-]{1,128}$/u,
    patternName: 'one word',
  }),
  unknown,
})
export type FilterParameter = s.Output<typeof FilterParameter>

const FilterReference = s.object('FilterReference', 'Another filter whose rules count too', {
  filter: s.string('its name', { xml: '@filter', ...aFilterName }),
  parameters: s.array('values of its variables', FilterParameter, {
    xml: 'parameter',
    default: [],
    maxItems: 4096,
  }),
  unknown,
})

/** What a packet is compared with, by the keys of `protocolAttributes`; all must fit. */
export type RuleMatch = Readonly<Record<string, string | boolean | undefined>>

const match = s.boolean('whether its attributes must be so; `no`: each must be otherwise', {
  xml: '@match',
  as: 'yes-no',
  optional: true,
})

const matches = Object.fromEntries(
  filterProtocols.map((protocol) => [
    protocolKey(protocol),
    s.object(
      `Match${protocol
        .split('-')
        .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
        .join('')}`,
      `Packets of ${protocol}`,
      {
        match,
        ...Object.fromEntries(protocolAttributes[protocol].map((one) => [one[0], attributeField(one)])),
        unknown,
      },
      { xml: protocol, optional: true },
    ),
  ]),
) as unknown as Readonly<
  Record<string, s.ObjectSchema<RuleMatch, RuleMatch> & { options: { optional: true } }>
>

const head = {
  action: s.choice('what happens to packets that fit', ['drop', 'accept', 'reject', 'return', 'continue'], {
    xml: '@action',
  }),
  direction: s.choice('of packets, as the guest sees it', ['in', 'out', 'inout'], { xml: '@direction' }),
  priority: s.integer('order; less is earlier', { xml: '@priority', default: 500, min: -1000, max: 1000 }),
  stateMatch: s.choice(
    'whether answers pass too, and only answers do the other way',
    ['false', 'true', '0', '1'],
    { xml: '@statematch', optional: true },
  ),
}

const FilterRule = s.object('FilterRule', 'What happens to packets', { ...head, ...matches, unknown })

/** A rule, with what it looks at by protocol. */
export interface FilterRule {
  readonly action: 'drop' | 'accept' | 'reject' | 'return' | 'continue'
  readonly direction: 'in' | 'out' | 'inout'
  readonly priority: number
  readonly stateMatch?: 'false' | 'true' | '0' | '1'
}

const FilterEntry = s.object('FilterEntry', 'A rule, or another filter', {
  reference: s.field(FilterReference, { xml: 'filterref', optional: true }),
  rule: s.field(FilterRule, { xml: 'rule', optional: true }),
})

/** The prefixes that names of chains have, and the order of their chains. */
export const chainPriorities = {
  root: 0,
  stp: -810,
  mac: -800,
  vlan: -750,
  ipv4: -700,
  ipv6: -600,
  arp: -500,
  rarp: -400,
} as const
export type ChainPrefix = keyof typeof chainPriorities

export const chainPrefix = (chain: string): ChainPrefix =>
  (Object.keys(chainPriorities) as ChainPrefix[]).find((prefix) => chain.startsWith(prefix)) ?? 'root'

export const NwfilterDefinition = s.object(
  'NwfilterDefinition',
  'A filter of what guests send and get, as wanted',
  {
    name: s.string('name, one of a kind on its host', { xml: '@name', inert: true, ...aFilterName }),
    chain: s.string('where its rules stand: `root`, or a name that begins with a protocol', {
      xml: '@chain',
      default: 'root',
      pattern: /^(?:root|(?:mac|stp|vlan|arp|rarp|ipv4|ipv6)[\w.:-]{0,9})$/u,
      patternName: "'root', or a name that begins with mac, stp, vlan, arp, rarp, ipv4 or ipv6",
    }),
    priority: s.integer('order of the chain; less is earlier; by its protocol when absent', {
      xml: '@priority',
      optional: true,
      generated: true,
      min: -1000,
      max: 1000,
    }),
    uuid: s.string('identity; made by visor when absent', {
      xml: 'uuid',
      optional: true,
      generated: true,
      inert: true,
      normalize: 'uuid',
      pattern: uuid,
      patternName: "a uuid such as '6695eb01-f6a4-8304-79aa-97f2502e193f'",
    }),
    entries: s.array('rules and other filters', FilterEntry, { xml: '.', default: [], maxItems: 10_000 }),
    unknown,
  },
  { xml: 'filter' },
)
export type NwfilterDefinition = s.Output<typeof NwfilterDefinition>
export type NwfilterDefinitionInput = s.Input<typeof NwfilterDefinition>
