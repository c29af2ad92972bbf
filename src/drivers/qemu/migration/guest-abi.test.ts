import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, parse, VisorError } from '../../../model/index.ts'
import { checkGuestAbi } from './guest-abi.ts'

const definition = (changes: object = {}, disk: object = {}) =>
  parse(DomainDefinition, {
    ...{ type: 'qemu', name: 'a', memoryKiB: 65_536, os: { arch: 'x86_64', machine: 'pc' } },
    devices: {
      disks: [{ file: '/a', target: 'vda', ...disk }],
      interfaces: [{ type: 'user', mac: '52:54:00:00:00:01' }],
    },
    ...changes,
  })

test('where things come from may change', () => {
  checkGuestAbi(definition(), definition(), 'It')
  checkGuestAbi(definition(), definition({ name: 'b', title: 'B' }, { file: '/b', cache: 'none' }), 'It')
})

for (const [path, changed] of Object.entries({
  memoryKiB: definition({ memoryKiB: 131_072 }),
  'os.machine': definition({ os: { arch: 'x86_64', machine: 'q35' } }),
  'devices.disks[vda].serial': definition({}, { serial: 'x' }),
  'devices.disks[vda].target': definition({}, { target: 'vdb' }),
  'devices.interfaces': definition({ devices: { disks: [{ file: '/a', target: 'vda' }] } }),
}))
  test(`${path} may not`, () =>
    assert.throws(
      () => checkGuestAbi(definition(), changed, 'The hook'),
      (error) => error instanceof VisorError && error.code === 'unsupported-config' && error.path === path,
    ))
