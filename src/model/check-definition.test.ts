import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  checkDefinition,
  DomainDefinition,
  type DomainDefinitionInput,
  parse,
  parseDefinition,
  type VisorError,
} from './index.ts'

const pathsOfFaults = (input: Partial<DomainDefinitionInput>): readonly string[] => {
  try {
    checkDefinition(parse(DomainDefinition, { type: 'qemu', name: 'a', memoryKiB: 65_536, ...input }))
    return []
  } catch (error) {
    return (error as VisorError).issues?.map(({ path }) => path) ?? [String(error)]
  }
}
const disk = { file: '/a', target: 'vda' }

const cases: [string, Partial<DomainDefinitionInput>, string[]][] = [
  ['nothing special', {}, []],
  ['more memory now than ever', { currentMemoryKiB: 65_537 }, ['currentMemoryKiB']],
  ['more processors now than ever', { vcpus: 2, currentVcpus: 3 }, ['currentVcpus']],
  [
    'topology and processors',
    { vcpus: 4, cpu: { topology: { sockets: 1, cores: 3, threads: 1 } } },
    ['cpu.topology'],
  ],
  ['topology that fits', { vcpus: 8, cpu: { topology: { sockets: 1, dies: 2, cores: 2, threads: 2 } } }, []],
  ['model of the host', { cpu: { mode: 'host-passthrough', model: 'x' } }, ['cpu.model']],
  [
    'a feature twice',
    { cpu: { model: 'x', features: [{ name: 'vmx' }, { name: 'vmx' }] } },
    ['cpu.features[1].name'],
  ],
  ['two disks, one target', { devices: { disks: [disk, disk] } }, ['devices.disks[1].target']],
  ['a disk without source', { devices: { disks: [{ target: 'vda' }] } }, ['devices.disks[0]']],
  ['an empty CD-ROM', { devices: { disks: [{ device: 'cdrom', target: 'sda', bus: 'sata' }] } }, []],
  [
    'a source of the other type',
    { devices: { disks: [{ ...disk, type: 'block', block: '/dev/a' }] } },
    ['devices.disks[0].file'],
  ],
  [
    'a CD-ROM on virtio',
    { devices: { disks: [{ device: 'cdrom', target: 'vda', bus: 'virtio' }] } },
    ['devices.disks[0].bus'],
  ],
  [
    'boot orders',
    {
      os: { boot: ['hd'] },
      devices: { disks: [{ ...disk, bootOrder: 1 }], interfaces: [{ type: 'user', bootOrder: 1 }] },
    },
    ['devices.interfaces[0].bootOrder', 'os.boot'],
  ],
  ['a command line without a kernel', { os: { commandLine: 'quiet' } }, ['os.commandLine']],
  [
    'two cards, one address, of a group',
    {
      devices: {
        interfaces: [
          { type: 'user', mac: '52:54:00:00:00:01' },
          { type: 'user', mac: '52:54:00:00:00:01' },
          { type: 'user', mac: '01:00:00:00:00:00' },
        ],
      },
    },
    ['devices.interfaces[1].mac', 'devices.interfaces[2].mac'],
  ],
  [
    'a bridge that is not named',
    { devices: { interfaces: [{ type: 'bridge', network: 'x' }] } },
    ['devices.interfaces[0]', 'devices.interfaces[0].network'],
  ],
  [
    'two channels of one name',
    { devices: { channels: [{ name: 'x' }, { name: 'x' }] } },
    ['devices.channels[1].name'],
  ],
  ['a file to nowhere', { devices: { serials: [{ type: 'file' }] } }, ['devices.serials[0]']],
  [
    'two controllers of one number',
    {
      devices: {
        controllers: [
          { type: 'usb' },
          { type: 'pci', index: 0 },
          { type: 'usb', index: 0 },
          { type: 'usb', index: 0 },
        ],
      },
    },
    ['devices.controllers[3]'],
  ],
  ['no card beside a card', { devices: { videos: [{ model: 'none' }, {}] } }, ['devices.videos[0]']],
  [
    'a screen with two sockets',
    { devices: { graphics: [{ socket: '/a', listens: [{ type: 'socket', socket: '/b' }] }] } },
    ['devices.graphics[0].listens[0].socket'],
  ],
]
for (const [name, input, paths] of cases)
  test(`what must fit together: ${name}`, () => assert.deepEqual(pathsOfFaults(input), paths))

test('mistakes are told with their line', () => {
  const text = 'type: qemu\nname: a\nmemory: 1GiB\ncurrentMemory: 2GiB\n'
  assert.throws(
    () => parseDefinition(text),
    /^VisorError: currentMemoryKiB: must be at most the memory, .*\(line 4, column 1\)\.$/u,
  )
})
