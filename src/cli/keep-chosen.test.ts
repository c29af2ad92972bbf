import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, type DomainDefinitionInput, parse } from '../model/index.ts'
import { keepChosen } from './keep-chosen.ts'

const complete = (input: Partial<DomainDefinitionInput>) =>
  parse(DomainDefinition, { name: 'web', type: 'qemu', memoryKiB: 65536, ...input })

const wanted = complete({
  devices: { disks: [{ file: '/a', target: 'vda' }], interfaces: [{ type: 'user' }], serials: [{}] },
})
const current = complete({
  uuid: '610f84b1-f37e-46a2-8e1e-37344935b63b',
  title: 'old',
  currentMemoryKiB: 65536,
  os: { arch: 'x86_64', machine: 'pc' },
  devices: {
    emulator: '/usr/bin/qemu-system-x86_64',
    disks: [{ file: '/a', target: 'vda', bus: 'virtio', cache: 'none' }],
    interfaces: [{ type: 'user', mac: '52:54:00:11:22:33', model: 'virtio' }],
    serials: [{ path: '/dev/pts/1' }],
    controllers: [{ type: 'pci', index: 0 }],
  },
})

test('what visor chose stays, what a person left out goes', () => {
  const kept = keepChosen(wanted, current)
  assert.equal(kept.uuid, current.uuid)
  assert.equal(kept.os.machine, 'pc')
  assert.equal(kept.devices.interfaces[0]?.mac, '52:54:00:11:22:33')
  assert.equal(kept.devices.disks[0]?.bus, 'virtio')
  assert.equal(kept.devices.controllers.length, 1)
  assert.equal(kept.title, undefined)
  assert.equal(kept.devices.disks[0]?.cache, undefined)
})

test('applying the result again changes nothing', () => {
  const once = keepChosen(wanted, current)
  assert.deepEqual(keepChosen(wanted, once), once)
})

test('memory that changes takes the balloon along', () => {
  assert.equal(keepChosen(wanted, current).currentMemoryKiB, 65536)
  assert.equal(keepChosen({ ...wanted, memoryKiB: 131072 }, current).currentMemoryKiB, undefined)
})

test('a disk is known by its target, so that removing the first leaves the second as it is', () => {
  const two = complete({
    devices: {
      disks: [
        { file: '/a', target: 'vda', alias: 'virtio-disk0' },
        { file: '/b', target: 'vdb', alias: 'virtio-disk1' },
      ],
    },
  })
  const one = complete({ devices: { disks: [{ file: '/b', target: 'vdb' }] } })
  assert.equal(keepChosen(one, two).devices.disks[0]?.alias, 'virtio-disk1')
})
