import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { DomainDefinitionInput, VisorError } from '../../../model/index.ts'
import type { DiskImage } from '../disks/disk-image.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { driverPaths } from '../paths.ts'
import { buildCommandLine } from './command-line.ts'
import { type CompleteDefinition, completeDefinition } from './definition.ts'
import { keyValue } from './key-value.ts'

const emulator: Emulator = {
  path: '/usr/bin/qemu-system-x86_64',
  arch: 'x86_64',
  version: '7.2.22',
  machines: [
    { name: 'pc-q35-7.2', alias: 'q35', maxCpus: 288, hotplugCpus: true },
    { name: 'pc-i440fx-7.2', alias: 'pc', maxCpus: 255, hotplugCpus: true },
    { name: 'pc-q35-5.1', maxCpus: 288, hotplugCpus: true },
    { name: 'microvm', maxCpus: 288, hotplugCpus: true },
  ],
  cpuModels: ['qemu64', 'max', 'host'],
  devices: [
    ...['virtio-vga', 'bochs-display', 'vmgenid', 'VGA', 'virtio-net-pci', 'isa-serial', 'isa-parallel'],
    ...['pcie-root-port', 'virtio-scsi-pci', 'ich9-ahci', 'isa-fdc', 'qemu-xhci', 'virtio-serial-pci'],
  ],
  sandbox: true,
}
const minimal: DomainDefinitionInput = { type: 'qemu', name: 'one', memoryKiB: 65_536 }

function complete(more: Partial<DomainDefinitionInput> = {}, kvmWorks = false): Promise<CompleteDefinition> {
  return completeDefinition({ ...minimal, ...more } as DomainDefinitionInput, {
    findEmulator: async (arch) => (arch === 'x86_64' ? emulator : undefined),
    kvm: async () => ({ works: kvmWorks, detail: 'A reason.' }),
  })
}

async function argumentsOf(more: Partial<DomainDefinitionInput>, images: [string, DiskImage][] = []) {
  const definition = await complete(more)
  const paths = driverPaths('/state', '/run/v').of(definition.uuid)
  return buildCommandLine({ definition, emulator, paths, images: new Map(images) })
}

/** The values of an option that is there any number of times. */
const valuesOf = (args: readonly string[], option: string) =>
  args.flatMap((arg, index) => (args[index - 1] === option ? [arg] : []))

test('queues of disks do not change with processors that are plugged in', async () => {
  const devices = {
    disks: [
      { target: 'vda', file: '/a' },
      { target: 'sda', file: '/b', bus: 'scsi' as const },
    ],
  }
  const image = (path: string): DiskImage => ({ path, format: 'raw' })
  const images: [string, DiskImage][] = [
    ['virtio-disk0', image('/a')],
    ['scsi0-0-0-0', image('/b')],
  ]
  const queuesOf = async (more: Partial<DomainDefinitionInput>) =>
    valuesOf(await argumentsOf({ devices, ...more }, images), '-device').flatMap((value) => {
      const queues = /num[-_]queues"?[:=](\d+)/u.exec(value)?.[1]
      return queues === undefined ? [] : Number(queues)
    })
  assert.deepEqual(await queuesOf({ vcpus: 4, currentVcpus: 1 }), [4, 4])
  assert.deepEqual(await queuesOf({ vcpus: 4 }), [4, 4])
  assert.deepEqual(await queuesOf({ vcpus: 1 }), [])
  assert.deepEqual(await queuesOf({ vcpus: 4, os: { machine: 'pc-q35-5.1' } }), [])
})

test('a definition is completed with what would else be chosen at every start', async () => {
  const definition = await complete({
    devices: {
      disks: [
        { target: 'vda', file: '/a' },
        { target: 'hdc', device: 'cdrom' },
      ],
      interfaces: [{ type: 'user' }],
      consoles: [{}],
    },
  })
  assert.match(definition.uuid, /^[0-9a-f-]{36}$/u)
  assert.equal(definition.os.machine, 'pc-q35-7.2')
  assert.deepEqual([definition.features.acpi, definition.features.apic], [true, true])
  const { disks, interfaces, serials, consoles, memballoon } = definition.devices
  assert.deepEqual(
    disks.map(({ bus, alias }) => [bus, alias]),
    [
      ['virtio', 'virtio-disk0'],
      ['sata', 'sata-disk1'],
    ],
  )
  assert.match(interfaces[0]?.mac ?? '', /^52:54:00(:[0-9a-f]{2}){3}$/u)
  assert.equal(serials[0]?.alias, 'serial0')
  assert.equal(consoles[0]?.alias, 'serial0')
  assert.equal(memballoon?.model, 'virtio')
  const again = await completeDefinition(structuredClone(definition), {
    findEmulator: async () => emulator,
    kvm: async () => ({ works: false, detail: '' }),
  })
  assert.deepEqual(again, definition)
})

test('an IDE disk asks for a pc; a named machine keeps the features it was given', async () => {
  const ide = await complete({ devices: { disks: [{ target: 'hda', file: '/a', bus: 'ide' }] } })
  assert.equal(ide.os.machine, 'pc-i440fx-7.2')
  const named = await complete({ os: { machine: 'q35' } })
  assert.equal(named.features.acpi, false)
})

const refusals: [string, Partial<DomainDefinitionInput>, RegExp][] = [
  ['KVM that does not work', { type: 'kvm' }, /A reason/u],
  ['the processor of the host under emulation', { cpu: { mode: 'host-passthrough' } }, /needs type 'kvm'/u],
  ['a machine type there is not', { os: { machine: 'nosuch' } }, /nosuch/u],
  ['a processor there is not', { cpu: { model: 'nosuch' } }, /nosuch/u],
  ['too many processors', { vcpus: 300 }, /at most 288/u],
  ['a graphics card this QEMU has not', { devices: { videos: [{ model: 'qxl' }] } }, /qxl-vga/u],
  ['another name after power-off', { onPoweroff: 'rename-restart' }, /destroy/u],
  ['a screen for everyone', { devices: { graphics: [{ port: 5900, listen: '0.0.0.0' }] } }, /password/u],
  ['a card this QEMU has not', { devices: { interfaces: [{ type: 'user', model: 'igb' }] } }, /igb/u],
  [
    'all ports of the host',
    { devices: { interfaces: [{ type: 'user', portForwards: [{ proto: 'tcp' }] }] } },
    /all ports/u,
  ],
  ['a watchdog of other machines', { devices: { watchdogs: [{ model: 'diag288' }] } }, /itco/u],
  [
    'io native without cache none',
    { devices: { disks: [{ target: 'vda', file: '/a', io: 'native' }] } },
    /cache mode/u,
  ],
]
for (const [what, more, message] of refusals)
  test(`${what} is refused before anything changes`, () =>
    assert.rejects(complete(more), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'unsupported-config')
      assert.match(error.message, message)
      return true
    }))

test('texts of users stay within their argument', async () => {
  const file = '/disks/a,readonly=off "b" {c}.raw'
  const args = await argumentsOf(
    {
      name: 'x,guest=y',
      os: { kernel: '/k,1', commandLine: 'a=b, c -boot', initrd: '/i' },
      devices: {
        disks: [{ target: 'vda', file, serial: 'S 1' }],
        serials: [{ type: 'unix', path: '/a,server=off' }],
      },
    },
    [['virtio-disk0', { path: file, format: 'raw' }]],
  )
  assert.deepEqual(valuesOf(args, '-name'), ['guest=x,,guest=y,debug-threads=on'])
  assert.deepEqual(valuesOf(args, '-append'), ['a=b, c -boot'])
  assert.deepEqual(valuesOf(args, '-kernel'), ['/k,1'])
  const [node] = valuesOf(args, '-blockdev').map((json) => JSON.parse(json))
  assert.equal(node.file.filename, file)
  assert.ok(valuesOf(args, '-chardev').some((value) => value.includes('path=/a,,server=off,server=on')))
})

test('every backing image is spelt out, read-only, and none is left to the header', async () => {
  const base: DiskImage = { path: '/base', format: 'raw' }
  const image: DiskImage = {
    path: '/top',
    format: 'qcow2',
    backing: { path: '/mid', format: 'qcow2', backing: base },
  }
  const args = await argumentsOf({ devices: { disks: [{ target: 'vda', file: '/top', format: 'qcow2' }] } }, [
    ['virtio-disk0', image],
  ])
  const node = JSON.parse(valuesOf(args, '-blockdev')[0] ?? '')
  assert.equal(node['read-only'], false)
  assert.equal(node.backing['read-only'], true)
  assert.equal(node.backing.backing.driver, 'raw')
  const alone = await argumentsOf({ devices: { disks: [{ target: 'vda', file: '/a', format: 'qcow2' }] } }, [
    ['virtio-disk0', { path: '/a', format: 'qcow2' }],
  ])
  assert.equal(JSON.parse(valuesOf(alone, '-blockdev')[0] ?? '').backing, null)
})

test('boot order is that of the devices, or of the kinds in the definition', async () => {
  const disks = [
    { target: 'vda', file: '/a' },
    { target: 'sda', device: 'cdrom' as const },
  ]
  const images: [string, DiskImage][] = [['virtio-disk0', { path: '/a', format: 'raw' }]]
  const kinds = await argumentsOf({ os: { boot: ['cdrom', 'hd'] }, devices: { disks } }, images)
  const indexes = (args: readonly string[]) =>
    valuesOf(args, '-device').flatMap(
      (value) => /id=([^,]*).*bootindex=(\d+)/u.exec(value)?.slice(1).join(' ') ?? [],
    )
  assert.deepEqual(indexes(kinds), ['virtio-disk0 2', 'sata-disk1 1'])
  const single = await argumentsOf({
    devices: { disks: disks.map((disk) => ({ ...disk, ...(disk.device ? { bootOrder: 1 } : {}) })) },
  })
  assert.deepEqual(indexes(single), ['sata-disk1 1'])
})

test('SATA disks get a port each, and another controller when there are more', async () => {
  const disks = Array.from({ length: 7 }, (_, index) => ({
    target: `sd${String.fromCharCode(97 + index)}`,
    device: 'cdrom' as const,
  }))
  const args = await argumentsOf({ devices: { disks: disks.slice(0, 6) } })
  const buses = valuesOf(args, '-device').flatMap((value) => /bus=(ide\.\d)/u.exec(value)?.[1] ?? [])
  assert.deepEqual(buses, ['ide.0', 'ide.1', 'ide.2', 'ide.3', 'ide.4', 'ide.5'])
  const more = valuesOf(await argumentsOf({ devices: { disks } }), '-device')
  assert.ok(
    more.some((value) => value.startsWith('ich9-ahci,id=sata1,')),
    more.join('\n'),
  )
  assert.ok(more.some((value) => value.includes('bus=sata1.0')))
})

test('no value ends its field', () => {
  fc.assert(
    fc.property(fc.string(), (value) => {
      const argument = keyValue('first', { key: value })
      // As QEMU reads it: two commas are one, one comma ends.
      assert.equal(
        argument.slice('first,key='.length).replaceAll(',,', ''.padEnd(1, '\0')).includes(','),
        false,
      )
    }),
  )
})

test('memory in a file has the name that QEMU gives memory of its own', async () => {
  const definition = await complete({ os: { machine: 'q35' } })
  const paths = driverPaths('/state', '/run/v').of(definition.uuid)
  const machines = [{ name: 'pc-q35-7.2', alias: 'q35', maxCpus: 288, hotplugCpus: true, ramId: 'q35.ram' }]
  const line = (version: string, share: boolean) =>
    buildCommandLine({
      ...{ definition, paths, images: new Map() },
      emulator: { ...emulator, version, machines },
      memory: { file: '/t/a,b', share },
    })
  const [object] = valuesOf(line('7.2.22', false), '-object')
  assert.equal(
    object,
    'memory-backend-file,id=q35.ram,size=65536k,mem-path=/t/a,,b,share=off,dump=off',
    'before 8.2',
  )
  assert.match(valuesOf(line('8.2.0', false), '-object')[0] ?? '', /share=off,readonly=on,rom=off/u)
  assert.match(valuesOf(line('8.2.0', true), '-object')[0] ?? '', /share=on,dump=off$/u)
  assert.match(valuesOf(line('7.2.22', false), '-machine')[0] ?? '', /memory-backend=q35\.ram/u)
})

test('cards on sockets, and of another program, are said as QEMU wants them', async () => {
  const socket = { sourceAddress: '127.0.0.1', sourcePort: 1 }
  const args = await argumentsOf({
    devices: {
      interfaces: [
        {
          ...{ type: 'vhostuser', path: '/run/a,b', mode: 'client', queues: 2 },
          ...{ reconnect: true, reconnectSeconds: 10 },
        },
        { type: 'vhostuser', path: '/run/c', mode: 'server' },
        { type: 'udp', ...socket, localAddress: '127.0.0.1', localPort: 2 },
        { type: 'mcast', sourceAddress: '230.0.0.1', sourcePort: 3 },
        { type: 'server', ...socket },
        { type: 'client', ...socket },
        { type: 'ethernet', sendBufferBytes: 65_536 },
      ],
    },
  })
  assert.deepEqual(valuesOf(args, '-netdev'), [
    'vhost-user,id=hostnet0,chardev=charnet0,queues=2',
    'vhost-user,id=hostnet1,chardev=charnet1',
    'socket,id=hostnet2,udp=127.0.0.1:1,localaddr=127.0.0.1:2',
    'socket,id=hostnet3,mcast=230.0.0.1:3',
    'socket,id=hostnet4,listen=127.0.0.1:1',
    'socket,id=hostnet5,connect=127.0.0.1:1',
    'tap,id=hostnet6,fd=5,sndbuf=65536',
  ])
  const sockets = valuesOf(args, '-chardev').filter((one) => one.includes('charnet'))
  assert.deepEqual(sockets, [
    'socket,id=charnet0,path=/run/a,,b,reconnect=10',
    'socket,id=charnet1,path=/run/c,server=on',
  ])
  assert.match(String(valuesOf(args, '-object')[0]), /^memory-backend-memfd,.*share=on/u)
})

test('a card of another program wants memory that it sees', async () => {
  const devices = { interfaces: [{ type: 'vhostuser' as const, path: '/s', mode: 'client' as const }] }
  await assert.rejects(complete({ devices, memoryBacking: { access: 'private' } }), {
    code: 'unsupported-config',
    message: /devices\.interfaces\[0\]\.type.*shared/u,
  })
})

const misspelt: Record<string, [Partial<DomainDefinitionInput>, RegExp, string]> = {
  'a machine': [{ os: { machine: 'q36' } }, /os\.machine.*did you mean 'q35'/u, '-machine help'],
  'a version': [{ os: { machine: 'pc-q35-7.9' } }, /did you mean 'pc-q35-7\.2'/u, '-machine help'],
  'a processor': [{ cpu: { model: 'Qemu46' } }, /cpu\.model.*did you mean 'qemu64'/u, '-cpu help'],
  'a card that this QEMU has not': [
    { devices: { interfaces: [{ type: 'user', model: 'igb' }] } },
    /interfaces\[0\]\.model.*has no device 'igb'/u,
    '-device help',
  ],
  'a controller': [
    { devices: { controllers: [{ type: 'scsi', model: 'lsilogik' }] } },
    /did you mean 'lsilogic'/u,
    'lsisas1068',
  ],
}
for (const [what, [input, message, remedy]] of Object.entries(misspelt))
  test(`${what} with a name that is not known is told with what was meant, and where all are`, async () => {
    await assert.rejects(complete(input), (error: VisorError) => {
      assert.equal(error.code, 'unsupported-config')
      assert.match(error.message, message)
      assert.ok(error.remedy?.includes(remedy), error.remedy)
      return true
    })
  })

const wrongModels: Record<string, [DomainDefinitionInput['devices'], RegExp]> = {
  interfaces: [{ interfaces: [{ type: 'user', model: 'virtio-net' as 'virtio' }] }, /mean 'virtio'/u],
  sounds: [{ sounds: [{ model: 'ach97' as 'ac97' }] }, /mean 'ac97'/u],
  videos: [{ videos: [{ model: 'qlx' as 'qxl' }] }, /mean 'qxl'/u],
  watchdogs: [{ watchdogs: [{ model: 'i6300es' as 'i6300esb' }] }, /mean 'i6300esb'/u],
}
for (const [kind, [devices, message]] of Object.entries(wrongModels))
  test(`a model of ${kind} that nobody knows is told with those there are`, () =>
    assert.rejects(complete({ devices }), { code: 'unsupported-config', message }))

test("QEMU's own network says where the host and DNS are, and what to boot", async () => {
  const ip = { address: '10.1.2.0', prefix: 24 }
  const netdev = async (more: object) =>
    valuesOf(
      await argumentsOf({ devices: { interfaces: [{ type: 'user', ips: [{ ...ip, ...more }] }] } }),
      '-netdev',
    )
  assert.deepEqual(await netdev({ gateway: '10.1.2.9', dns: '10.1.2.8', tftpRoot: '/a,b', bootFile: 'c' }), [
    'user,id=hostnet0,net=10.1.2.0/24,host=10.1.2.9,dns=10.1.2.8,tftp=/a,,b,bootfile=c',
  ])
  for (const wrong of [{ gateway: '10.1.3.9' }, { dns: 'fd00::1' }, { bootFile: 'c' }])
    await assert.rejects(netdev(wrong), { code: 'unsupported-config' })
})
