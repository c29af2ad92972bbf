import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { randomInput } from '../../../test/fixtures/random-values.ts'
import { memoryStore } from '../../driver/index.ts'
import { parse, SecurityGroup } from '../../model/index.ts'
import { groupChains, memberRules } from './group-rules.ts'
import { openGroups } from './groups.ts'

async function open(apply: () => Promise<void> = async () => {}) {
  const store = memoryStore()
  const context = { store, alone: <T>(work: () => Promise<T>) => work(), apply }
  const kept = await openGroups(context)
  return { ...(kept.operations as Required<typeof kept.operations>), kept, again: () => openGroups(context) }
}

test('rules: whom they are about, what is remembered, and nobody where a group is empty', async () => {
  const groups = await open()
  await groups.create('web')
  await groups.create('db')
  await groups.allow('web', { proto: 'tcp', start: 80, end: 81, peer: '10.0.0.0/8' })
  await groups.allow('web', { proto: 'udp', peer: 'db' })
  await groups.allow('web', { proto: 'icmp', direction: 'out' })
  const chains = (addresses: readonly string[]) =>
    Object.fromEntries(groupChains(groups.kept.all(), (name) => (name === 'db' ? addresses : [])))
  const key = 'oifname . ip daddr . ip saddr'
  const tcp = `ether type ip ip saddr { 10.0.0.0/8 } meta l4proto 6 tcp dport 80-81 update @tcp4 { ${key} . tcp dport . tcp sport } accept`
  assert.deepEqual(chains([]).group_web_in, [tcp])
  assert.deepEqual(chains(['10.1.1.1', '10.1.1.2']).group_web_in, [
    tcp,
    `ether type ip ip saddr { 10.1.1.1, 10.1.1.2 } meta l4proto 17 update @udp4 { ${key} . udp dport . udp sport } accept`,
  ])
  assert.deepEqual(chains([]).group_web_out, [
    'ether type ip meta l4proto 1 update @other4 { iifname . ip saddr . ip daddr . meta l4proto } accept',
    'ether type ip6 meta l4proto 58 update @other6 { iifname . ip6 saddr . ip6 daddr . meta l4proto } accept',
  ])
  const [db, web] = groups.kept.all()
  assert.ok(db && web)
  assert.deepEqual(memberRules([db], 'in'), ['jump groups_in', 'jump group_db_in', 'drop'])
  assert.deepEqual(memberRules([db], 'out'), ['jump groups_out', 'goto groups_any'])
  assert.deepEqual(memberRules([db, web], 'out'), [
    ...['jump groups_out', 'jump group_db_out', 'jump group_web_out', 'drop'],
  ])
})

test('what cannot be is refused', async () => {
  const groups = await open()
  await groups.create('web')
  await assert.rejects(groups.create('web'), { code: 'already-exists' })
  await assert.rejects(groups.create('a b'), { code: 'invalid-argument' })
  await assert.rejects(groups.get('db'), { code: 'not-found' })
  const wrong = { code: 'invalid-argument' }
  await assert.rejects(groups.allow('web', { proto: 'icmp', start: 5 }), wrong)
  await assert.rejects(groups.allow('web', { proto: 'tcp', start: 5, end: 4 }), wrong)
  await assert.rejects(groups.allow('web', { proto: 'tcp', end: 4 }), wrong)
  await assert.rejects(groups.allow('web', { peer: '10.0.0.300' }), wrong)
  await assert.rejects(groups.allow('web', { peer: '10.0.0.0/33' }), wrong)
  await assert.rejects(groups.allow('web', { peer: 'db' }), wrong)
  await assert.rejects(groups.revoke('web', { rule: 'x' }), { code: 'not-found' })
  await assert.rejects(groups.leave('web', { domain: 'x' }), { code: 'invalid-state' })
  await groups.create('db')
  await groups.allow('db', { peer: 'web' })
  await assert.rejects(groups.remove('web'), { code: 'invalid-state', message: /name group 'web': db/u })
})

test('what cannot be put in force is not kept', async () => {
  let fails = false
  const groups = await open(async () => {
    if (fails) throw new Error('no')
  })
  await groups.create('web')
  await groups.join('web', { domain: 'u', name: 'n' })
  fails = true
  await assert.rejects(groups.allow('web', { proto: 'tcp' }), /no/u)
  await assert.rejects(groups.leave('web', { domain: 'u' }), /no/u)
  const again = await groups.again()
  assert.deepEqual(again.of('u'), [{ name: 'web', rules: [], members: [{ domain: 'u', name: 'n' }] }])
  assert.deepEqual(await groups.list(), again.all())
})

test('no name of a group becomes a word of nft', () => {
  fc.assert(
    fc.property(randomInput(SecurityGroup), (input) => {
      const group = parse(SecurityGroup, input)
      for (const [name] of groupChains([group], () => [])) assert.match(name, /^groups?_\w+$/u)
    }),
    { numRuns: 50 },
  )
})
