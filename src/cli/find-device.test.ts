import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, parse, VisorError } from '../model/index.ts'
import { detachable, findDevice, oneDevice } from './find-device.ts'

const definition = parse(DomainDefinition, {
  type: 'qemu',
  name: 'web',
  memoryKiB: 1024,
  devices: {
    disks: [
      { target: 'vda', file: '/a.raw', alias: 'virtio-disk0' },
      { target: 'vdb', file: '/b.raw', alias: 'virtio-disk1' },
    ],
    interfaces: [{ type: 'user', mac: '52:54:00:aa:bb:cc', alias: 'net0' }],
  },
})

test('devices are found by alias, target, hardware address and source', () => {
  const target = (word: string) => findDevice(definition, word, ['disks']).device.target
  assert.deepEqual(['vdb', 'virtio-disk1', '/b.raw'].map(target), ['vdb', 'vdb', 'vdb'])
  assert.equal(findDevice(definition, '52:54:00:AA:BB:CC', detachable).kind, 'interfaces')
})

test('what is not there is told with what is', () => {
  assert.throws(
    () => findDevice(definition, 'vdz', detachable),
    (error) => error instanceof VisorError && error.code === 'not-found' && /vda/u.test(error.remedy ?? ''),
  )
})

test('a changed device leaves out what is taken away', () => {
  const drive = findDevice(definition, 'vda', ['disks'])
  const [disk] = oneDevice(drive, { file: undefined, readonly: true }).disks ?? []
  assert.deepEqual([disk?.file, disk?.readonly, disk?.target], [undefined, true, 'vda'])
  assert.ok(disk && !('file' in disk))
})
