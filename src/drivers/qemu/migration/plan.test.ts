import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, parse, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { checkOptions, definitionThere, refuseLosing, refuseOverheard } from './plan.ts'

const definition = parse(DomainDefinition, {
  ...{ type: 'qemu', name: 'web', memoryKiB: 1024, uuid: '7c1f0c6e-9a53-4f7a-8c35-0a5a3f0f9d11' },
  devices: {
    disks: [
      { file: '/images/web.qcow2', format: 'qcow2', target: 'vda' },
      { file: '/images/data.raw', target: 'vdb' },
      { file: '/images/shared.raw', target: 'vdc', readonly: true },
      { type: 'block', block: '/dev/vg/lv', target: 'vdd' },
    ],
  },
}) as CompleteDefinition
const to = 'https://there:8430'
const places = (options: object) =>
  definitionThere(definition, { to, ...options }).devices.disks.map(({ file, block }) => file ?? block)

test('disks that both hosts see stay where they are', () => {
  assert.deepEqual(definitionThere(definition, { to }), definition)
})

test('copied disks get their places there, read-only ones do not move', () => {
  assert.deepEqual(places({ copyStorage: 'all', copyTo: '/new' }), [
    ...['/new/web.qcow2', '/new/data.raw', '/images/shared.raw', '/new/lv'],
  ])
  assert.deepEqual(places({ copyStorage: 'all', disks: [{ target: 'vdb', file: '/else/data' }] }), [
    ...['/images/web.qcow2', '/else/data', '/images/shared.raw', '/dev/vg/lv'],
  ])
})

test('a block device that is copied becomes a file', () => {
  const [, , , disk] = definitionThere(definition, { to, copyStorage: 'all', copyTo: '/new' }).devices.disks
  assert.equal(disk?.type, 'file')
  assert.equal(disk?.block, undefined)
})

test('another name', () => {
  assert.equal(definitionThere(definition, { to, name: 'web2' }).name, 'web2')
})

for (const [what, options] of Object.entries({
  'a folder without copies': { copyTo: '/new' },
  'passes before no post-copy': { postcopyAfter: 2 },
  'post-copy at a time limit without it': { timeoutMs: 5, timeoutAction: 'postcopy' },
  'an action without a time limit': { timeoutAction: 'cancel' },
  'post-copy over several connections': { postcopy: true, parallel: 4 },
  'post-copy with a compression of them': { postcopy: true, compression: 'zstd' },
  'xbzrle over several connections': { parallel: 2, compression: 'xbzrle' },
  'a disk twice': { disks: [{ target: 'vda' }, { target: 'vda' }] },
} as const))
  test(`${what} is refused`, () => {
    assert.throws(
      () => checkOptions({ to, ...options } as Parameters<typeof checkOptions>[0]),
      (error) => error instanceof VisorError && error.code === 'invalid-argument',
    )
  })

test('a clone is not forgotten with the disks that it runs on elsewhere', () => {
  const options = { to, undefineSource: true }
  assert.throws(() => refuseLosing(definition, '/images', options), VisorError)
  refuseLosing(definition, '/elsewhere', options)
  refuseLosing(definition, '/images', { to })
})

test('what is encrypted on a disk is not copied over a network in the clear', () => {
  const [, data, ...others] = definition.devices.disks
  assert.ok(data)
  const encryption: typeof data.encryption = {
    format: 'luks',
    secrets: [{ type: 'passphrase', file: '/keys/data' }],
  }
  const disks = [{ ...data, encryption }, ...others]
  const sealed = { ...definition, devices: { ...definition.devices, disks } }
  refuseOverheard(definition, { to, copyStorage: 'all' })
  refuseOverheard(sealed, { to })
  assert.throws(
    () => refuseOverheard(sealed, { to, copyStorage: 'all' }),
    (error) =>
      error instanceof VisorError && error.code === 'unsupported-config' && /'vdb'/u.test(error.message),
  )
})
