import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, parse } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { checkHostSides } from './copy-definition.ts'

const withSerial = (serial: object) =>
  parse(DomainDefinition, {
    ...{ type: 'qemu', name: 'a', memoryKiB: 65_536 },
    devices: { serials: [serial] },
  }) as CompleteDefinition

test('a port that two machines cannot share is refused, naming it', () => {
  const listening = { host: '127.0.0.1', service: '4555' }
  const refused = [
    [{ type: 'tcp', mode: 'bind', ...listening }, 'service', /127\.0\.0\.1:4555/u],
    [{ type: 'udp', ...listening, peer: { service: '4556' } }, 'service', /4555/u],
    [{ type: 'file', path: '/var/log/a.log' }, 'path', /a\.log/u],
  ] as const
  for (const [serial, key, message] of refused)
    assert.throws(() => checkHostSides(withSerial(serial)), {
      ...{ code: 'unsupported-config', path: `devices.serials[0].${key}` },
      ...{ message, remedy: /'unix' or 'pty'/u },
    })
})

test('a port that calls, or that each machine has of its own, is copied', () => {
  const kept = [
    {},
    { type: 'unix' },
    { type: 'tcp', mode: 'connect', host: '127.0.0.1', service: '4555' },
    { type: 'udp', host: '127.0.0.1', service: '4555' },
  ]
  for (const serial of kept) assert.doesNotThrow(() => checkHostSides(withSerial(serial)))
})
