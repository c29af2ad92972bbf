import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRule } from './commands/group.ts'

test('rules of groups as people write them', () => {
  assert.deepEqual(parseRule('tcp:80', {}), { proto: 'tcp', direction: 'in', start: 80 })
  assert.deepEqual(parseRule('udp:8000-8010', { from: 'web' }), {
    ...{ proto: 'udp', direction: 'in', start: 8000, end: 8010, peer: 'web' },
  })
  assert.deepEqual(parseRule('any', { to: 'any' }), { proto: 'any', direction: 'out' })
  assert.deepEqual(parseRule('icmp', { to: '10.0.0.0/8' }), {
    ...{ proto: 'icmp', direction: 'out', peer: '10.0.0.0/8' },
  })
  for (const wrong of ['80', 'tcp:', 'tcp:0', 'tcp:70000', 'sctp:5', 'tcp:80;drop'])
    assert.throws(() => parseRule(wrong, {}), { code: 'invalid-argument' }, wrong)
})
