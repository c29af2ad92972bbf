import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DomainDefinitionInput, VisorError } from '../../model/index.ts'
import { assignSlots, bootOrder, checkInitrdFits, completeDefinition, serialPortNames } from './definition.ts'

const plain: DomainDefinitionInput = { type: 'v86', name: 'guest', memoryKiB: 131_072 }

/** Fails unless this is refused, and says at which path. */
function refusedAt(path: string, more: Partial<DomainDefinitionInput>): void {
  assert.throws(
    () => completeDefinition({ ...plain, ...more }),
    (error) => {
      assert.ok(error instanceof VisorError)
      assert.equal(error.code, 'unsupported-config', error.message)
      assert.ok(error.message.includes(path), error.message)
      assert.ok(error.remedy)
      return true
    },
  )
}

test('what the machine cannot do is refused, never ignored', () => {
  refusedAt('type', { type: 'qemu' })
  refusedAt('vcpus', { vcpus: 2 })
  refusedAt('memoryKiB', { memoryKiB: 4 * 2 ** 20 })
  refusedAt('memoryKiB', { memoryKiB: 65_536, os: { kernel: '/kernel' } })
  refusedAt('currentMemoryKiB', { currentMemoryKiB: 65_536 })
  refusedAt('features.apic', { features: { apic: true } })
  refusedAt('devices.interfaces[0].type', { devices: { interfaces: [{ type: 'direct', dev: 'eth0' }] } })
  refusedAt('devices.interfaces', { devices: { interfaces: [{ type: 'user' }, { type: 'user' }] } })
  refusedAt('devices.interfaces[0].ips', {
    devices: { interfaces: [{ type: 'bridge', bridge: 'br0', ips: [{ address: '10.0.0.1' }] }] },
  })
  refusedAt('devices.graphics[0]', { devices: { graphics: [{}] } })
  refusedAt('devices.disks[0].bus', { devices: { disks: [{ file: '/a', target: 'vda', bus: 'virtio' }] } })
  refusedAt('devices.disks[0].format', {
    devices: { disks: [{ file: '/a', target: 'hda', format: 'qcow2' }] },
  })
  refusedAt('devices.disks[0].cache', {
    devices: { disks: [{ file: '/a', target: 'hda', cache: 'writeback' }] },
  })
  refusedAt('devices.disks[0].readonly', {
    devices: { disks: [{ file: '/a', target: 'hda', readonly: true }] },
  })
  const disks = ['hda', 'hdb', 'hdc'].map((target) => ({ file: `/${target}`, target }))
  refusedAt('devices.disks[2]', { devices: { disks } })
  refusedAt('os.boot[0]', { os: { boot: ['network'] } })
})

test('an initial RAM disk must fit beside the kernel', () => {
  const definition = completeDefinition({ ...plain, memoryKiB: 66_000, os: { kernel: '/kernel' } })
  checkInitrdFits(definition, 100_000)
  assert.throws(() => checkInitrdFits(definition, 2 ** 20), {
    code: 'unsupported-config',
    remedy: /MiB or more/u,
  })
})

test('disks get their drives, and empty drives none', () => {
  const definition = completeDefinition({
    ...plain,
    devices: {
      disks: [
        { file: '/cd', target: 'hdc', device: 'cdrom', bus: 'ide' },
        { file: '/one', target: 'hda', bus: 'ide' },
        { target: 'fda', device: 'floppy', bus: 'fdc' },
        { file: '/two', target: 'fdb', device: 'floppy', bus: 'fdc' },
        { file: '/three', target: 'hdb' },
      ],
    },
  })
  const found = assignSlots(definition).map(({ slot, disk }) => [slot, disk.file])
  assert.deepEqual(found, [
    ['cdrom', '/cd'],
    ['hda', '/one'],
    ['fdb', '/two'],
    ['hdb', '/three'],
  ])
})

test('the boot order is what the firmware reads', () => {
  const order = (boot: ('hd' | 'cdrom' | 'fd')[]) => bootOrder(completeDefinition({ ...plain, os: { boot } }))
  assert.equal(order([]), 0x132)
  assert.equal(order(['cdrom']), 0x123)
  assert.equal(order(['cdrom', 'fd']), 0x213)
  assert.equal(order(['fd', 'hd', 'cdrom']), 0x321)
})

test('there is always a serial port, and a console is one', () => {
  assert.deepEqual(serialPortNames(completeDefinition(plain)), [['serial0']])
  const definition = completeDefinition({
    ...plain,
    devices: { serials: [{ alias: 'ua-first' }, {}], consoles: [{}] },
  })
  assert.deepEqual(serialPortNames(definition), [
    ['ua-first', 'serial0', 'console0'],
    ['serial1', 'serial1'],
  ])
})
