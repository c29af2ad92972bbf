import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Capabilities, DomainDefinition, type Image, parse, VisorError } from '../model/index.ts'
import { buildDefinition, type MachineWanted } from './build-definition.ts'
import { chooseMachine, type MachineChoice } from './choose-machine.ts'

const capabilities = (
  driver: string,
  arch: string,
  domainTypes: string[],
  notes: string[] = [],
): Capabilities => ({
  driver,
  kind: 'full',
  hosting: 'hosted',
  guests: [{ arch, osType: 'hvm', domainTypes, machines: [], cpuModels: [] }],
  notes,
})
const slow = 'KVM is there but does not work.'
const host = [capabilities('qemu', 'x86_64', ['qemu'], [slow]), capabilities('v86', 'i686', ['v86'])]
const fast = [capabilities('qemu', 'x86_64', ['kvm', 'qemu'])]

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted

test('the first driver with its best type runs the machine, and says why it is slow', () => {
  assert.deepEqual(chooseMachine(host, {}), { driver: 'qemu', type: 'qemu', arch: 'x86_64', notes: [slow] })
  assert.deepEqual(chooseMachine(fast, {}), { driver: 'qemu', type: 'kvm', arch: 'x86_64', notes: [] })
  assert.equal(chooseMachine(fast, { accel: 'tcg' }).type, 'qemu')
  assert.equal(chooseMachine(host, { driver: 'v86' }).type, 'v86')
  const test = capabilities('test', 'x86_64', ['test'])
  assert.equal(chooseMachine([test, ...host], {}).driver, 'qemu')
  assert.equal(chooseMachine([test], {}).driver, 'test')
})

test('an i686 image runs on x86_64, not the other way round', () => {
  assert.equal(chooseMachine(host, { arch: 'i686' }).driver, 'qemu')
  assert.throws(() => chooseMachine(host, { driver: 'v86', arch: 'x86_64' }), code('unsupported-config'))
})

test('what cannot be had is refused with what can', () => {
  assert.throws(
    () => chooseMachine(host, { accel: 'kvm' }),
    (error) => code('unsupported-config')(error) && String(error).includes(slow),
  )
  assert.throws(
    () => chooseMachine(host, { driver: 'xen' }),
    (error) => code('unavailable')(error) && (error as VisorError).remedy?.includes('qemu, v86'),
  )
  assert.throws(() => chooseMachine([], {}), code('unavailable'))
})

const image: Image = {
  name: 'micro',
  arch: 'x86_64',
  kind: 'kernel',
  kernel: '/images/vmlinuz',
  initrd: '/images/initrd',
  commandLine: 'console=ttyS0',
  sizeBytes: 1,
  sha256: '',
  createdAt: '2026-01-01T00:00:00Z',
  sources: [],
}
const qemu: MachineChoice = { driver: 'qemu', type: 'kvm', arch: 'x86_64', notes: [] }
const v86: MachineChoice = { driver: 'v86', type: 'v86', arch: 'i686', notes: [] }
const wanted = (more: Partial<MachineWanted>): MachineWanted => ({
  name: 'web',
  cpus: 2,
  memoryKiB: 2 ** 20,
  disks: [],
  networks: ['user'],
  headless: false,
  ...more,
})
const build = (more: Partial<MachineWanted>, choice = qemu) =>
  parse(DomainDefinition, buildDefinition(wanted(more), choice))

test('a machine has a console, randomness, a balloon and a screen', () => {
  const { devices, vcpus, memoryKiB, os } = build({ image })
  assert.equal(vcpus, 2)
  assert.equal(memoryKiB, 2 ** 20)
  assert.equal(os.kernel, '/images/vmlinuz')
  assert.equal(os.commandLine, 'console=ttyS0')
  assert.equal(devices.serials.length, 1)
  assert.equal(devices.rngs.length, 1)
  assert.equal(devices.graphics.length, 1)
  assert.equal(devices.interfaces[0]?.model, 'virtio')
  assert.equal(build({ image, headless: true }).devices.graphics.length, 0)
})

test('the embedded machine gets what it has', () => {
  const { devices } = build({ disks: [{ file: '/a', format: 'raw', device: 'disk', readonly: false }] }, v86)
  assert.equal(devices.disks[0]?.bus, 'ide')
  assert.equal(devices.disks[0]?.target, 'hda')
  assert.equal(devices.rngs.length, 0)
})

test('a kernel of one own replaces that of the image, with its initrd and arguments', () => {
  const { os } = build({ image, kernel: '/my/kernel' })
  assert.equal(os.kernel, '/my/kernel')
  assert.equal(os.initrd, undefined)
  assert.equal(os.commandLine, undefined)
  assert.equal(build({ image, commandLine: 'quiet' }).os.commandLine, 'quiet')
})

test('disks are counted per bus and boot before CD-ROMs', () => {
  const disk = { format: 'raw', device: 'disk', readonly: false } as const
  const { devices, os } = build({
    disks: [
      { ...disk, file: '/a' },
      { ...disk, file: '/b' },
      { ...disk, file: '/c', bus: 'sata' },
      { ...disk, file: '/d', device: 'cdrom', readonly: true },
    ],
  })
  assert.deepEqual(
    devices.disks.map(({ target, bus }) => `${target} ${bus}`),
    ['vda virtio', 'vdb virtio', 'sda sata', 'sdb sata'],
  )
  assert.deepEqual(os.boot, ['hd', 'cdrom'])
})

test('networks', () => {
  assert.deepEqual(build({ networks: ['none'] }).devices.interfaces, [])
  const [first, second] = build({ networks: ['network=lab', 'bridge=br0'] }).devices.interfaces
  assert.equal(first?.network, 'lab')
  assert.equal(second?.bridge, 'br0')
  for (const network of ['lab', 'bridge=', 'user=x', ''])
    assert.throws(() => build({ networks: [network] }), code('invalid-argument'), network)
})
