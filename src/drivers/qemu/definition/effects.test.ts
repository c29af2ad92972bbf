/**
 * No setting is silently ignored: each that a device can have is set, and either QEMU is told something else, or it
 * is refused, or it is listed here as work of the host's, seen by tests of its own.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  DomainDefinition,
  type DomainDefinitionInput,
  type schema,
  VisorError,
} from '../../../model/index.ts'
import { argumentsOf } from '../golden/cases.ts'

/** Work of visor's own, or of the host. */
const ofHost: readonly string[] = [
  ...['startupPolicy', 'transient', 'type'].map((field) => `disks.${field}`),
  ...['target', 'link', 'isolated', 'portGroup', 'filter', 'bridge', 'network', 'dev', 'mode', 'type'].map(
    (field) => `interfaces.${field}`,
  ),
  'interfaces.coalescedFrames',
  // There is one kind only, which libvirt wants said.
  ...['interfaces.sourceType', 'tpms.sourceType', 'tpms.sourceMode'],
  'interfaces.inbound.averageKBps',
  'interfaces.outbound.averageKBps',
  'interfaces.vlanTags.0.id',
  // What a running machine had there, and what libvirt prints for devices whether or not it says something.
  ...['serials', 'consoles', 'channels'].flatMap((list) =>
    ['path', 'mode', 'port'].map((f) => `${list}.${f}`),
  ),
  // QEMU always takes USB devices from their drivers; PCI devices are refused with it.
  'hostdevs.managed',
  // The monitor is told after the start.
  'memballoon.statsPeriodSeconds',
  // A screen of SPICE that may be anywhere is on a socket.
  'graphics.listen',
  'vsock.auto',
  'sharedMemories.name',
]

/** What goes without saying. */
const implied = [
  ...['controllers.model=virtio', 'hostdevs.model=vfio-pci'],
  'controllers.hotplug=true',
  ...['disks.readonly=true', 'filesystems.driver=path', 'serials.append=true', 'inputs.type=mouse'],
  ...['interfaces.driver=qemu', 'interfaces.queues=1', 'interfaces.backend=default', 'interfaces.rom=true'],
  ...['interfaces.managedTarget=true', 'graphics.autoport=true', 'graphics.clipboard=true'],
  ...['graphics.fileTransfer=true', 'graphics.gl=true', 'graphics.defaultMode=any', 'sounds.audio=1'],
  ...[
    'graphics.defaultMode=insecure',
    'disks.hosts.0.transport=tcp',
    'videos.heads=1',
    'videos.primary=true',
    'rngs.daemonProtocol=raw',
  ],
]

const texts = [
  ...['word', '/a/path', '0x1', '1', '10.0.0.1', '52:54:00:00:00:01', '0xffffffffffffffff'],
  ...['6695eb01-f6a4-8304-79aa-97f2502e193f', 'vdq', '0644', '0-1'],
]

interface Known extends schema.Schema {
  readonly fields?: Readonly<Record<string, Known>>
  readonly item?: Known
  readonly values?: readonly string[]
  readonly options: schema.Schema['options'] & { min?: number; max?: number; pattern?: RegExp }
}

/** Values that a field may have. */
function samples({ kind, values, options }: Known): unknown[] {
  const { min = 0, max = Number.MAX_SAFE_INTEGER, pattern } = options
  if (kind === 'choice') return [...(values ?? [])]
  // Not to have it goes without saying.
  if (kind === 'boolean') return [true]
  if (kind === 'string') return texts.filter((text) => pattern?.test(text) ?? true)
  return [...new Set([min, min + 1, 2, 64, 1024, 4096, 65_536])].filter((n) => n >= min && n <= max)
}

/** All settings below, each as a list of what leads to it and what it may be. */
function* leaves(schema: Known, path: string[]): Generator<[string[], Known]> {
  if (schema.options.inert || schema.kind === 'unknown' || schema.kind === 'fragment') return
  if (path.includes('backingStore') || path.at(-1) === 'alias' || path.length > 5) return
  if (schema.kind === 'array' && schema.item) yield* leaves(schema.item, [...path, '0'])
  else if (schema.fields)
    for (const [key, field] of Object.entries(schema.fields)) yield* leaves(field, [...path, key])
  else yield [path, schema]
}

type Plain = Record<string, unknown>

function withSetting(base: Plain, [key = '', ...rest]: readonly string[], value: unknown): Plain {
  const below = base[key]
  const next =
    rest.length === 0
      ? value
      : rest[0] === '0'
        ? [set(Array.isArray(below) ? below[0] : undefined, rest.slice(1), value)]
        : withSetting((below ?? {}) as Plain, rest, value)
  return { ...base, [key]: next }
}

const set = (base: unknown, rest: readonly string[], value: unknown): unknown =>
  rest.length === 0 ? value : withSetting((base ?? {}) as Plain, rest, value)

const valueAt = (base: unknown, path: readonly string[]): unknown =>
  path.reduce((value, key) => (value as Plain | undefined)?.[key], base)

const devices = (DomainDefinition as unknown as Known).fields?.devices?.fields ?? {}
const disk = { file: '/a', target: 'vda' }
const screen = (type: string) => ({ type, alias: 's' })

/** Devices to start from, by their list: settings mean something to some only. */
const bases: Record<string, Plain[]> = {
  disks: [
    disk,
    { ...disk, format: 'qcow2' },
    ...['sata', 'scsi', 'usb', 'nvme'].map((bus) => ({ ...disk, bus, target: 'sda' })),
    { ...disk, bus: 'sata', target: 'sda', device: 'cdrom' },
    { type: 'block', block: '/dev/a', target: 'vda' },
    { type: 'network', protocol: 'nbd', hosts: [{ name: 'h' }], name: 'x', target: 'vda' },
    { type: 'network', protocol: 'https', hosts: [{ name: 'h' }], name: 'x', target: 'vda' },
    { type: 'network', protocol: 'iscsi', hosts: [{ name: 'h' }], name: 'iqn.a:b/1', target: 'vda' },
  ],
  controllers: ['usb', 'sata', 'scsi', 'virtio-serial', 'nvme', 'ccid', 'pci'].map((type) => ({
    type,
    ...(type === 'pci' ? { model: 'pcie-root-port' } : {}),
    index: 3,
  })),
  filesystems: [{ source: '/a', target: 't', accessMode: 'mapped' }],
  interfaces: [
    { type: 'user' },
    { type: 'user', model: 'e1000e' },
    { type: 'bridge', bridge: 'b' },
    { type: 'network', network: 'n' },
    { type: 'ethernet' },
    { type: 'direct', dev: 'eth0' },
    { type: 'mcast', sourceAddress: '10.0.0.1', sourcePort: 1 },
    { type: 'server', sourceAddress: '10.0.0.1', sourcePort: 1 },
    { type: 'udp', sourceAddress: '10.0.0.1', sourcePort: 1, localAddress: '10.0.0.2', localPort: 2 },
    { type: 'vhostuser', path: '/s', mode: 'client' },
    { type: 'null' },
  ],
  serials: [
    { type: 'pty' },
    { type: 'file', path: '/f' },
    { type: 'unix', path: '/s', mode: 'bind' },
    { type: 'unix', path: '/s', mode: 'connect' },
    { type: 'tcp', host: 'h', service: '1', mode: 'connect' },
    { type: 'udp', host: 'h', service: '1', mode: 'connect' },
    { type: 'null' },
  ],
  consoles: [{ target: 'virtio' }, { target: 'serial' }],
  channels: [{ name: 'n' }, { name: 'n', type: 'pty' }],
  smartcards: [
    { card: 'passthrough', type: 'unix', path: '/s', mode: 'connect' },
    { card: 'passthrough', type: 'tcp', host: 'h', service: '1', mode: 'connect' },
    { card: 'host-certificates', certificates: ['a', 'b', 'c'] },
    { card: 'host' },
  ],
  tpms: [
    { backend: 'external', socket: '/s' },
    { backend: 'passthrough', device: '/dev/tpm0' },
  ],
  redirdevs: [{ type: 'tcp', host: 'h', service: '1', mode: 'connect' }],
  inputs: [
    ...['tablet', 'mouse', 'keyboard'].flatMap((type) => ['usb', 'virtio'].map((bus) => ({ type, bus }))),
    { type: 'keyboard', bus: 'ps2' },
    { type: 'evdev', eventDevice: '/dev/input/event0' },
    { type: 'passthrough', bus: 'virtio', hostDevice: '/dev/input/event0' },
  ],
  graphics: ['vnc', 'spice', 'egl-headless'].map(screen),
  sounds: ['ich6', 'ich9', 'ac97', 'usb', 'sb16', 'es1370'].map((model) => ({ model })),
  videos: ['vga', 'virtio', 'qxl', 'bochs', 'cirrus', 'vmvga', 'ramfb'].map((model) => ({ model })),
  hostdevs: [
    { type: 'usb', vendor: '0x1', product: '0x2' },
    { type: 'pci', hostBus: '1', hostSlot: '1' },
    { type: 'mdev', uuid: '53764d0e-85a0-42b4-af5c-2046b460b1dc' },
    { type: 'scsi', adapter: 'scsi_host0', hostTarget: '1', hostUnit: '3' },
    { type: 'scsi', protocol: 'iscsi', name: 'iqn.a:b/1', hosts: [{ name: 'h' }] },
  ],
  hubs: [{}],
  watchdogs: ['itco', 'i6300esb', 'ib700'].map((model) => ({ model })),
  rngs: [
    { backend: 'random', source: '/dev/random' },
    { backend: 'builtin' },
    { backend: 'egd', daemonType: 'unix', daemonPath: '/s', daemonMode: 'connect' },
  ],
  panics: ['isa', 'pvpanic'].map((model) => ({ model })),
  sharedMemories: [
    { name: 'm', model: 'ivshmem-plain', sizeKiB: 4096 },
    { name: 'm', model: 'ivshmem-doorbell', server: '/s' },
  ],
  cryptos: [{ model: 'virtio', backend: 'builtin' }],
  memballoon: [{}, { model: 'none' }],
  vsock: [{ cid: 3 }],
  iommu: [{ model: 'intel' }, { model: 'virtio' }],
}

async function told(list: string, device: Plain): Promise<string | undefined> {
  const of = devices[list]?.kind === 'array' ? [device] : device
  const input = {
    type: 'qemu',
    name: 'one',
    uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f',
    memoryKiB: 262_144,
    os: { arch: 'x86_64', machine: 'q35' },
    devices: { [list]: of },
  } as unknown as DomainDefinitionInput
  return argumentsOf(input).then(
    (args) => args.join('\n'),
    (error: unknown) => {
      if (error instanceof VisorError && error.code !== 'internal') return undefined
      throw error
    },
  )
}

for (const [list, some] of Object.entries(bases))
  test(`no setting of ${list} is silently ignored`, async () => {
    const schema = devices[list]
    const ignored: string[] = []
    const item = schema?.kind === 'array' ? schema.item : schema
    for (const base of some) {
      const before = await told(list, base)
      assert.ok(before !== undefined, `${list}: ${JSON.stringify(base)} can be had`)
      for (const [path, leaf] of leaves(item as Known, [])) {
        const name = [list, ...path].join('.')
        if (ofHost.includes(name) || /^disks\.throttle\.|address\.type$/u.test(name)) continue
        const values = samples(leaf).filter(
          (value) =>
            value !== leaf.options.default &&
            value !== valueAt(base, path) &&
            !implied.includes(`${name}=${value}`),
        )
        const all = await Promise.all(values.map((value) => told(list, withSetting(base, path, value))))
        const accepted = all.filter((one) => one !== undefined)
        if (accepted.length > 0 && accepted.every((one) => one === before))
          ignored.push(`${name} of ${JSON.stringify(base)}`)
      }
    }
    assert.deepEqual(ignored, [])
  })
