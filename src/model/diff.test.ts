import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, type DomainDefinitionInput, diffDefinitions, parse } from './index.ts'

const make = (input: Partial<DomainDefinitionInput>) =>
  parse(DomainDefinition, { type: 'qemu', name: 'a', memoryKiB: 65_536, ...input })
const diff = (before: Partial<DomainDefinitionInput>, after: Partial<DomainDefinitionInput>) =>
  diffDefinitions(make(before), make(after))

test('equal definitions have no differences, whatever was left to the defaults', () => {
  assert.deepEqual(diff({}, { vcpus: 1, os: { type: 'hvm' }, devices: { disks: [] } }), [])
})

test('what visor fills in is no difference when it is left open', () => {
  const mac = '52:54:00:00:00:01'
  const uuid = '0b7a3f0e-4a0b-4c58-9d0a-1f2e3d4c5b6a'
  const before: Partial<DomainDefinitionInput> = { uuid, devices: { interfaces: [{ type: 'user', mac }] } }
  assert.deepEqual(diff(before, { devices: { interfaces: [{ type: 'user' }] } }), [])
  assert.deepEqual(diff({}, { uuid }), [{ path: 'uuid', before: undefined, after: uuid }])
})

test('disks are compared by target', () => {
  const [a, b, c] = ['vda', 'vdb', 'vdc'].map((target) => ({ target, file: `/${target}` }))
  assert.ok(a && b && c)
  const found = diff(
    { vcpus: 1, devices: { disks: [a, b] } },
    { vcpus: 2, devices: { disks: [c, { ...b, cache: 'none' }] } },
  )
  assert.deepEqual(
    found.map(({ path, before, after }) => [path, typeof before, typeof after]),
    [
      ['vcpus', 'number', 'number'],
      ['devices.disks[0]', 'undefined', 'object'],
      ['devices.disks[1].cache', 'undefined', 'string'],
      ['devices.disks[0]', 'object', 'undefined'],
    ],
  )
})

test('lists without a key are compared in order', () => {
  const found = diff(
    { devices: { videos: [{ model: 'vga' }] } },
    { devices: { videos: [{ model: 'virtio' }, {}] } },
  )
  assert.deepEqual(
    found.map(({ path }) => path),
    ['devices.videos[0].model', 'devices.videos[1]'],
  )
})
