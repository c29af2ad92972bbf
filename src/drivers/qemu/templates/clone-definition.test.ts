import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DomainDefinition, parse } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { checkClonable } from './check-clonable.ts'
import { cloneDefinition } from './clone-definition.ts'
import { chooseNames } from './names.ts'

const template = parse(DomainDefinition, {
  type: 'qemu',
  name: 'gold',
  uuid: '00000000-0000-4000-8000-000000000001',
  genid: '00000000-0000-4000-8000-000000000002',
  memoryKiB: 65_536,
  os: { kernel: '/k', commandLine: 'quiet visor.hostname=gold' },
  devices: {
    disks: [
      { file: '/disks/a.raw', target: 'vda', alias: 'disk0' },
      { file: '/disks/cd.iso', target: 'sda', device: 'cdrom', readonly: true, alias: 'disk1' },
    ],
    interfaces: [
      {
        type: 'user',
        target: 'web0',
        mac: '52:54:00:00:00:01',
        alias: 'net0',
        portForwards: [{ proto: 'tcp', ranges: [{ start: 8080, to: 80 }] }],
      },
    ],
    vsock: { cid: 7 },
    channels: [{ name: 'a', path: '/run/a.sock', alias: 'channel0' }],
    graphics: [
      { type: 'vnc', port: 5901, websocket: 5701 },
      { type: 'spice', tlsPort: 5902 },
    ],
  },
}) as CompleteDefinition
const disks = [{ alias: 'disk0', file: '/disks/a.raw', format: 'raw', sizeBytes: 512 }] as const
const cloneOf = (uuid: string, name: string) =>
  cloneDefinition(template, disks, { uuid, name, directory: '/c' })

test('a clone has all of its own that only one machine can have', () => {
  const [a, b] = ['00000000-0000-4000-8000-00000000000a', '00000000-0000-4000-8000-00000000000b'] as const
  const [one, two] = [cloneOf(a, 'one'), cloneOf(b, 'two')]
  assert.deepEqual(cloneOf(a, 'one'), one)
  assert.equal(one.os.commandLine, 'quiet visor.hostname=one')
  assert.equal(one.devices.disks[0]?.file, '/c/disk0.qcow2')
  assert.equal(one.devices.disks[1]?.file, '/disks/cd.iso')
  assert.equal(one.devices.channels[0]?.path, undefined)
  assert.deepEqual(
    one.devices.graphics.map(({ port, websocket, tlsPort }) => [port, websocket, tlsPort]),
    [
      [-1, -1, undefined],
      [undefined, undefined, -1],
    ],
  )
  // A port of the host leads to one guest only.
  assert.deepEqual(
    [template, one].map(({ devices }) => devices.interfaces[0]?.portForwards.length),
    [1, 0],
  )
  assert.equal(one.devices.interfaces[0]?.target, undefined)
  const cids = new Set([template, one, two].map(({ devices }) => devices.vsock?.cid))
  assert.equal(cids.size, 3)
  const macs = new Set([template, one, two].map(({ devices }) => devices.interfaces[0]?.mac))
  const genids = new Set([template, one, two].map(({ genid }) => genid))
  assert.deepEqual([macs.size, genids.size], [3, 3])
  assert.doesNotThrow(() => parse(DomainDefinition, one))
})

test('clones take the name that was given, or the next numbers that are free', () => {
  const taken = (name: string) => name === 'gold-2' || name === 'web'
  const names = (count: number, name?: string) => chooseNames({ template: 'gold', count, name, taken })
  assert.deepEqual(names(3), ['gold-1', 'gold-3', 'gold-4'])
  assert.deepEqual(names(1, 'db'), ['db'])
  assert.deepEqual(names(2, 'web'), ['web-1', 'web-2'])
  assert.throws(() => names(1, 'web'), { code: 'already-exists' })
})

test('what no copy can be made of is refused by its path', () => {
  checkClonable(template)
  const refused = (path: string, more: object) =>
    assert.throws(() => checkClonable({ ...template, ...more }), { code: 'unsupported-config', path })
  refused('devices.tpms[0]', {
    devices: { ...template.devices, tpms: [{ backend: 'passthrough', device: '/dev/tpm0' }] },
  })
  refused('devices.filesystems[0]', {
    devices: { ...template.devices, filesystems: [{ driver: 'virtiofs' }] },
  })
  for (const [path, devices] of Object.entries({
    'devices.hostdevs[0].type': { hostdevs: [{ type: 'usb', vendor: '0x1', product: '0x2' }] },
    'devices.smartcards[0].card': { smartcards: [{ card: 'host' }] },
    'devices.inputs[0].type': { inputs: [{ type: 'evdev', eventDevice: '/dev/input/event0' }] },
    'devices.disks[0].type': { disks: [{ type: 'vhostuser', socket: '/s', target: 'vda' }] },
    'devices.disks[0].shareable': { disks: [{ file: '/a', target: 'vda', shareable: true }] },
    'devices.disks[0].encryption': { disks: [{ file: '/a', target: 'vda', encryption: { format: 'luks' } }] },
    'devices.disks[0].transient': { disks: [{ file: '/a', target: 'vda', transient: true }] },
    'devices.disks[0].device': { disks: [{ file: '/a', target: 'sda', device: 'lun' }] },
    'devices.interfaces[0].type': { interfaces: [{ type: 'server', sourcePort: 9 }] },
    'devices.audios[0].path': { audios: [{ id: 1, type: 'file', path: '/sound' }] },
    'devices.graphics[0].address': { graphics: [{ type: 'dbus', address: 'unix:path=/bus' }] },
  }))
    refused(path, { devices: { ...template.devices, ...devices } })
  for (const interfaces of [
    [{ type: 'ethernet', target: 'mine0', managedTarget: false }],
    [{ type: 'vhostuser' }],
  ])
    refused('devices.interfaces[0].type', { devices: { ...template.devices, interfaces } })
  refused('maxMemoryKiB', { maxMemoryKiB: 131_072 })
  refused('devices.serials[0].path', {
    devices: { ...template.devices, serials: [{ type: 'file', path: '/log', alias: 'serial0' }] },
  })
})
