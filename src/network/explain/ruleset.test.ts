import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { findStop, parseRuleset } from './ruleset.ts'

const base = {
  chain: { family: 'ip', table: 'f', name: 'FORWARD', hook: 'forward', prio: 0, policy: 'drop' },
}
const other = { chain: { family: 'ip', table: 'f', name: 'other' } }
const rule = (chain: string, handle: number, ...expr: object[]) => ({
  rule: { family: 'ip', table: 'f', chain, handle, expr },
})
const match = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } })
const iif = { meta: { key: 'iifname' } }
const saddr = { payload: { protocol: 'ip', field: 'saddr' } }
const packet = { iifname: 'visor0', 'ip saddr': '10.9.1.2', 'tcp dport': '80', 'ct state': 'new' }
const stopOf = (...entries: object[]) => {
  const found = findStop(
    parseRuleset(JSON.stringify({ nftables: [base, other, ...entries] })),
    'forward',
    ['ip'],
    packet,
  )
  return found && [found.handle ?? 'policy', found.verdict, found.unsure]
}
const accept = { accept: null }

const cases: readonly (readonly [string, object[], ReturnType<typeof stopOf>])[] = [
  ['nothing but a policy', [], ['policy', 'drop', false]],
  ['a rule for its link', [rule('FORWARD', 1, match(iif, 'visor0'), accept)], undefined],
  ['a rule for links like it', [rule('FORWARD', 1, match(iif, 'visor*'), accept)], undefined],
  ['a rule for another link', [rule('FORWARD', 1, match(iif, 'eth0'), accept)], ['policy', 'drop', false]],
  [
    'a subnet',
    [rule('FORWARD', 1, match(saddr, { prefix: { addr: '10.9.0.0', len: 16 } }), accept)],
    undefined,
  ],
  [
    'another subnet',
    [rule('FORWARD', 1, match(saddr, { prefix: { addr: '10.8.0.0', len: 16 } }), accept)],
    ['policy', 'drop', false],
  ],
  [
    'a range',
    [rule('FORWARD', 1, match(saddr, { set: [{ range: ['10.9.1.1', '10.9.1.9'] }] }), accept)],
    undefined,
  ],
  ['all but it', [rule('FORWARD', 1, match(iif, 'visor0', '!='), accept)], ['policy', 'drop', false]],
  [
    'a chain that returns, and one that drops',
    [
      rule('FORWARD', 1, { jump: { target: 'other' } }),
      rule('other', 2, match(iif, 'visor0'), { return: null }),
      rule('FORWARD', 3, { counter: {} }, { reject: null }),
    ],
    [3, 'reject', false],
  ],
  [
    'a map of verdicts',
    [
      rule('FORWARD', 1, { vmap: { key: iif, data: { set: [['visor0', { goto: { target: 'other' } }]] } } }),
      rule('other', 2, { drop: null }),
    ],
    [2, 'drop', false],
  ],
  [
    'what cannot be judged',
    [rule('FORWARD', 1, { xt: { type: 'match', name: 'conntrack' } }, accept)],
    ['policy', 'drop', true],
  ],
  [
    'a limit on drops',
    [rule('FORWARD', 1, { limit: {} }, { drop: null }), rule('FORWARD', 2, accept)],
    undefined,
  ],
]

for (const [name, entries, wanted] of cases)
  test(`rules: ${name}`, () => assert.deepEqual(stopOf(...entries), wanted))

test('whatever is listed is read', () =>
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.object(), fc.anything())), (entries) => {
      const text = JSON.stringify({ nftables: entries.map((entry) => entry ?? null) })
      findStop(parseRuleset(text), 'forward', ['ip'], packet)
    }),
    { numRuns: 200 },
  ))
