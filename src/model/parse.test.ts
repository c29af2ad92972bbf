import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, parse, schema as s, VisorError } from './index.ts'

const fails = (run: () => unknown): VisorError => {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof VisorError)
    return error
  }
  return assert.fail('nothing was refused')
}
const least = { type: 'qemu', name: 'a', memory: '1GiB' }

test('defaults are filled in, all the way down', () => {
  const definition = parse(DomainDefinition, {
    ...least,
    devices: { disks: [{ file: '/a', target: 'vda' }] },
  })
  assert.equal(definition.vcpus, 1)
  assert.equal(definition.os.type, 'hvm')
  assert.deepEqual(definition.devices.interfaces, [])
  assert.deepEqual(definition.devices.disks[0], {
    type: 'file',
    device: 'disk',
    format: 'raw',
    file: '/a',
    target: 'vda',
    hosts: [],
    cookies: [],
    readonly: false,
    shareable: false,
    transient: false,
  })
})

test('the input is never changed, and shares nothing with the result', () => {
  const input = Object.freeze({ ...least, devices: Object.freeze({ disks: Object.freeze([]) }) })
  const first = parse(DomainDefinition, input)
  const second = parse(DomainDefinition, input)
  assert.notEqual(first.devices.interfaces, second.devices.interfaces)
})

test('sizes are numbers by their long name and texts by their short one', () => {
  const memory = (value: object) => parse(DomainDefinition, { type: 'qemu', name: 'a', ...value }).memoryKiB
  assert.equal(memory({ memory: '2GiB' }), 2_097_152)
  assert.equal(memory({ memory: '1.5 g' }), 1_572_864)
  assert.equal(memory({ memory: '2097153000 bytes' }), 2_048_001)
  assert.equal(memory({ memory: '100MB' }), 97_657)
  assert.equal(memory({ memoryKiB: 2048 }), 2048)
  assert.match(
    fails(() => memory({ memory: 2048 })).message,
    /^memory: must be a size with its unit, such as '2GiB'/u,
  )
  assert.match(fails(() => memory({ memoryKiB: '2GiB' })).message, /sizes with a unit go by memory/u)
  assert.match(fails(() => memory({ memory: '2GiB', memoryKiB: 1 })).message, /is given twice/u)
  assert.match(fails(() => memory({})).message, /^memoryKiB: must be given, or memory with a unit/u)
})

test('uuids and MAC addresses have one spelling', () => {
  const definition = parse(DomainDefinition, {
    ...least,
    uuid: '0B7A3F0E4A0B4C589D0A1F2E3D4C5B6A',
    devices: { interfaces: [{ type: 'user', mac: '52:54:00:AB:CD:EF' }] },
  })
  assert.equal(definition.uuid, '0b7a3f0e-4a0b-4c58-9d0a-1f2e3d4c5b6a')
  assert.equal(definition.devices.interfaces[0]?.mac, '52:54:00:ab:cd:ef')
})

test('all mistakes are told at once, each with its path', () => {
  const error = fails(() =>
    parse(DomainDefinition, {
      type: 'quemu',
      name: '..',
      memry: '1GiB',
      memoryKiB: 5,
      devices: { disks: [{ target: 'vda' }, { taget: 'vdb' }] },
    }),
  )
  assert.equal(error.code, 'invalid-definition')
  assert.deepEqual(
    error.issues?.map(({ path }) => path),
    ['type', 'name', 'memoryKiB', 'devices.disks[1].target', 'devices.disks[1].taget', 'memry'],
  )
  assert.match(error.message, /type: must be 'qemu', 'kvm', 'v86' or 'test', not 'quemu'/u)
  assert.match(error.message, /memry: is not known here; did you mean 'memory'\?/u)
  assert.match(error.message, /taget: is not known here; did you mean 'target'\?/u)
  assert.equal(error.path, 'type')
})

test('null and undefined stand for what is absent', () => {
  const definition = parse(DomainDefinition, { ...least, uuid: undefined, cpu: null, devices: null })
  assert.ok(!('uuid' in definition) && !('cpu' in definition))
  assert.deepEqual(definition.devices.disks, [])
})

test('keys that would reach a prototype are refused', () => {
  const strange = s.object('Strange', 'A noun', { record: s.record('any', s.any('any'), { default: {} }) })
  for (const text of [
    '{"record":{"__proto__":1}}',
    '{"record":{"a":{"__proto__":1}}}',
    '{"__proto__":{"record":{}}}',
  ])
    assert.throws(() => parse(strange, JSON.parse(text)), VisorError)
  assert.deepEqual(parse(strange, { record: { constructor: 1 } }).record, { constructor: 1 })
})

test('the code of the error can be chosen', () => {
  const options = s.object('Options', 'Options', { n: s.integer('number', { min: 1 }) })
  assert.equal(fails(() => parse(options, { n: 0 }, { code: 'invalid-argument' })).code, 'invalid-argument')
})

test('unknown content must be well-formed and stand where no field does', () => {
  const entry = (path: string, xml: string) => () =>
    parse(DomainDefinition, { ...least, unknown: [{ path, xml }] })
  assert.deepEqual(entry('@a', 'a="1"')().unknown, [{ path: '@a', xml: "a='1'" }])
  assert.deepEqual(entry('vcpu/@other', "other='0'")().unknown?.length, 1)
  for (const [path, xml] of [
    ['a', '<b/>'],
    ['a', '<a>'],
    ['a', '<a/><a/>'],
    ['a', ' <a/>'],
    ['@a', "a='1' b='2'"],
    ['name', '<name>x</name>'],
    ['devices/disk/@a', "a='1'"],
    ['no/where', '<where/>'],
    ['../a', '<a/>'],
    ['memory/@unit', "unit='TiB'"],
  ] as const)
    assert.throws(entry(path, xml), VisorError, `${path} ${xml}`)
  const flag = { unknown: [{ path: 'acpi/@a', xml: "a='1'" }] }
  assert.throws(() => parse(DomainDefinition, { ...least, features: flag }), /below a flag that is off/u)
  assert.equal(
    parse(DomainDefinition, { ...least, features: { acpi: true, ...flag } }).features.unknown?.length,
    1,
  )
})
