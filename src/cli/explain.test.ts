import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTarget } from './explain.ts'

const right: readonly (readonly [string, object])[] = [
  ['192.0.2.1', { target: '192.0.2.1' }],
  ['web', { target: 'web' }],
  ['db.lab.visor:5432', { target: 'db.lab.visor', port: 5432, proto: 'tcp' }],
  ['host:53/udp', { target: 'host', port: 53, proto: 'udp' }],
  ['2001:db8::1', { target: '2001:db8::1' }],
  ['[2001:db8::1]:443', { target: '2001:db8::1', port: 443, proto: 'tcp' }],
]

for (const [text, wanted] of right)
  test(`${text} is somebody to reach`, () => assert.deepEqual(parseTarget(text), wanted))

for (const text of ['', 'web:', 'web:0', 'web:70000', 'web/udp', 'a b', '[::1'])
  test(`'${text}' is nobody`, () =>
    assert.throws(() => parseTarget(text), { code: 'invalid-argument', message: /is nobody/u }))
