/**
 * What a domain shall be: libvirt's `<domain>` as a typed description.
 *
 * Source: libvirt's "Domain XML format" (formatdomain). Fields stand in the order in which libvirt prints
 * them. To add an element, add its entry here: type, parsers, printers, JSON schema and reference follow.
 */
import * as s from './schema.ts'

const name = /^[^/\n\r\t\0]+$/u
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u
const mac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/u
const absolutePath = /^\/[^\0\n]*$/u

const path = <const O extends s.FieldOptions>(doc: string, options: O) =>
  s.string(doc, { ...options, pattern: absolutePath, patternName: 'an absolute path', maxLength: 4095 })

const Address = s.object('Address', 'Where the device sits on its bus', {
  type: s.choice('kind of address', ['pci', 'drive', 'virtio-serial', 'ccid', 'usb', 'isa'], {
    xml: '@type',
  }),
  domain: s.string('PCI domain', { xml: '@domain', optional: true, maxLength: 16 }),
  controller: s.string('controller index', { xml: '@controller', optional: true, maxLength: 16 }),
  bus: s.string('bus number', { xml: '@bus', optional: true, maxLength: 16 }),
  slot: s.string('PCI slot', { xml: '@slot', optional: true, maxLength: 16 }),
  function: s.string('PCI function', { xml: '@function', optional: true, maxLength: 16 }),
  multifunction: s.boolean('whether other functions share the slot', {
    xml: '@multifunction',
    as: 'on-off',
    optional: true,
  }),
  target: s.string('drive target', { xml: '@target', optional: true, maxLength: 16 }),
  unit: s.string('drive unit', { xml: '@unit', optional: true, maxLength: 16 }),
  port: s.string('USB or virtio-serial port', { xml: '@port', optional: true, maxLength: 16 }),
})
const address = s.field(Address, { xml: 'address', optional: true })
const alias = s.string('name of the device in the hypervisor', {
  xml: 'alias/@name',
  optional: true,
  maxLength: 256,
})
const bootOrder = s.integer('place in the boot order, from 1', {
  xml: 'boot/@order',
  optional: true,
  min: 1,
  max: 9999,
})

export const Disk = s.object('Disk', 'A disk, CD-ROM or floppy', {
  type: s.choice('kind of source', ['file', 'block'], { xml: '@type', default: 'file' }),
  device: s.choice('how the guest sees it', ['disk', 'cdrom', 'floppy'], { xml: '@device', default: 'disk' }),
  driver: s.choice('who serves it', ['qemu'], { xml: 'driver/@name', optional: true }),
  format: s.choice('image format; never guessed from the content', ['raw', 'qcow2'], {
    xml: 'driver/@type',
    default: 'raw',
  }),
  cache: s.choice(
    'host cache mode',
    ['default', 'none', 'writethrough', 'writeback', 'directsync', 'unsafe'],
    { xml: 'driver/@cache', optional: true },
  ),
  io: s.choice('I/O engine', ['native', 'threads', 'io_uring'], { xml: 'driver/@io', optional: true }),
  discard: s.choice('whether the guest may give blocks back', ['ignore', 'unmap'], {
    xml: 'driver/@discard',
    optional: true,
  }),
  file: path('image file on the host', { xml: 'source/@file', optional: true }),
  block: path('block device on the host', { xml: 'source/@dev', optional: true }),
  target: s.string('name of the device, an ordering hint for the guest', {
    xml: 'target/@dev',
    pattern: /^[a-z]{2,3}[a-z0-9]{1,8}$/u,
    patternName: "a device name such as 'vda'",
  }),
  bus: s.choice('kind of device', ['virtio', 'ide', 'sata', 'scsi', 'usb', 'fdc'], {
    xml: 'target/@bus',
    optional: true,
  }),
  readonly: s.boolean('whether the guest can only read', {
    xml: 'readonly',
    as: 'presence',
    default: false,
  }),
  serial: s.string('serial number', { xml: 'serial', optional: true, maxLength: 256 }),
  bootOrder,
  alias,
  address,
})

export const Controller = s.object('Controller', 'A bus controller', {
  type: s.choice('kind of bus', ['pci', 'ide', 'sata', 'scsi', 'usb', 'virtio-serial', 'fdc'], {
    xml: '@type',
  }),
  index: s.integer('which one of its kind', { xml: '@index', optional: true, min: 0, max: 255 }),
  model: s.string('model name', { xml: '@model', optional: true, maxLength: 64 }),
  alias,
  address,
})

export const Interface = s.object('Interface', 'A network interface', {
  type: s.choice('how it is connected', ['user', 'network', 'bridge', 'ethernet', 'direct'], {
    xml: '@type',
  }),
  mac: s.string('hardware address', {
    xml: 'mac/@address',
    optional: true,
    pattern: mac,
    patternName: "a MAC address such as '52:54:00:12:34:56'",
  }),
  network: s.string('name of the network', { xml: 'source/@network', optional: true, maxLength: 255 }),
  bridge: s.string('name of the bridge', { xml: 'source/@bridge', optional: true, maxLength: 15 }),
  dev: s.string('host link', { xml: 'source/@dev', optional: true, maxLength: 15 }),
  target: s.string('name of the host side', { xml: 'target/@dev', optional: true, maxLength: 15 }),
  model: s.choice('model of the card', ['virtio', 'e1000', 'e1000e', 'rtl8139', 'ne2k_pci'], {
    xml: 'model/@type',
    optional: true,
  }),
  bootOrder,
  alias,
  address,
})

const characterSource = {
  type: s.choice('what is behind it', ['pty', 'unix', 'file', 'null'], { xml: '@type', default: 'pty' }),
  path: path('socket, file or terminal on the host', { xml: 'source/@path', optional: true }),
} as const

export const Serial = s.object('Serial', 'A serial port', {
  ...characterSource,
  target: s.choice('kind of port', ['isa-serial', 'pci-serial', 'usb-serial', 'system-serial'], {
    xml: 'target/@type',
    optional: true,
  }),
  port: s.integer('number of the port', { xml: 'target/@port', optional: true, min: 0, max: 255 }),
  alias,
  address,
})

export const Console = s.object('Console', 'The console: for a full machine, its first serial port', {
  ...characterSource,
  target: s.choice('what carries it', ['serial', 'virtio'], { xml: 'target/@type', default: 'serial' }),
  port: s.integer('number of the port', { xml: 'target/@port', optional: true, min: 0, max: 255 }),
  alias,
  address,
})

export const Channel = s.object('Channel', 'A channel between host and guest', {
  type: s.choice('what is behind it', ['unix'], { xml: '@type', default: 'unix' }),
  path: path('socket on the host', { xml: 'source/@path', optional: true }),
  target: s.choice('kind of channel', ['virtio'], { xml: 'target/@type', default: 'virtio' }),
  name: s.string('name in the guest', { xml: 'target/@name', maxLength: 255 }),
  alias,
  address,
})

export const InputDevice = s.object('InputDevice', 'A keyboard, mouse or tablet', {
  type: s.choice('kind', ['tablet', 'mouse', 'keyboard'], { xml: '@type' }),
  bus: s.choice('how it is connected', ['usb', 'ps2', 'virtio'], { xml: '@bus', optional: true }),
  alias,
  address,
})

export const Graphics = s.object('Graphics', 'A remote screen', {
  type: s.choice('protocol', ['vnc'], { xml: '@type', default: 'vnc' }),
  socket: path('unix socket it listens on; chosen by visor when absent', { xml: '@socket', optional: true }),
})

export const Video = s.object('Video', 'A graphics card', {
  model: s.choice('model', ['none', 'vga', 'virtio', 'bochs', 'cirrus', 'qxl', 'ramfb'], {
    xml: 'model/@type',
    default: 'vga',
  }),
  vramKiB: s.integer('video memory', { xml: 'model/@vram', optional: true, min: 1, max: 1048576 }),
  heads: s.integer('number of screens', { xml: 'model/@heads', optional: true, min: 1, max: 16 }),
  primary: s.boolean('whether it is the first screen', {
    xml: 'model/@primary',
    as: 'yes-no',
    optional: true,
  }),
  alias,
  address,
})

export const Rng = s.object('Rng', 'A source of randomness', {
  model: s.choice('model', ['virtio'], { xml: '@model', default: 'virtio' }),
  backend: s.choice('where it comes from', ['random', 'builtin'], {
    xml: 'backend/@model',
    default: 'random',
  }),
  source: path('device on the host', { xml: 'backend', optional: true }),
  alias,
  address,
})

export const MemoryBalloon = s.object('MemoryBalloon', 'The balloon that gives memory back', {
  model: s.choice('model', ['virtio', 'none'], { xml: '@model', default: 'virtio' }),
  alias,
  address,
})

export const Devices = s.object('Devices', 'Everything that is plugged in', {
  emulator: path('program that runs the machine', { xml: 'emulator', optional: true }),
  disks: s.array('disks', Disk, { xml: 'disk', default: [], maxItems: 512 }),
  controllers: s.array('controllers', Controller, { xml: 'controller', default: [], maxItems: 256 }),
  interfaces: s.array('network interfaces', Interface, { xml: 'interface', default: [], maxItems: 256 }),
  serials: s.array('serial ports', Serial, { xml: 'serial', default: [], maxItems: 16 }),
  consoles: s.array('consoles', Console, { xml: 'console', default: [], maxItems: 16 }),
  channels: s.array('channels', Channel, { xml: 'channel', default: [], maxItems: 64 }),
  inputs: s.array('input devices', InputDevice, { xml: 'input', default: [], maxItems: 16 }),
  graphics: s.array('remote screens', Graphics, { xml: 'graphics', default: [], maxItems: 4 }),
  videos: s.array('graphics cards', Video, { xml: 'video', default: [], maxItems: 4 }),
  memballoon: s.field(MemoryBalloon, { xml: 'memballoon', optional: true }),
  rngs: s.array('randomness', Rng, { xml: 'rng', default: [], maxItems: 4 }),
})

export const CpuTopology = s.object('CpuTopology', 'How the processors are laid out', {
  sockets: s.integer('sockets', { xml: '@sockets', min: 1, max: 4096 }),
  dies: s.integer('dies in a socket', { xml: '@dies', optional: true, min: 1, max: 4096 }),
  cores: s.integer('cores in a die', { xml: '@cores', min: 1, max: 4096 }),
  threads: s.integer('threads in a core', { xml: '@threads', min: 1, max: 4096 }),
})

export const CpuFeature = s.object('CpuFeature', 'One processor feature', {
  policy: s.choice('what about it', ['force', 'require', 'optional', 'disable', 'forbid'], {
    xml: '@policy',
    default: 'require',
  }),
  name: s.string('name', {
    xml: '@name',
    maxLength: 64,
    pattern: /^[\w.-]+$/u,
    patternName: 'a feature name',
  }),
})

export const Cpu = s.object('Cpu', 'The processor the guest sees', {
  mode: s.choice('how the model is chosen', ['custom', 'host-model', 'host-passthrough', 'maximum'], {
    xml: '@mode',
    default: 'custom',
  }),
  match: s.choice('how closely', ['minimum', 'exact', 'strict'], { xml: '@match', optional: true }),
  check: s.choice('what is checked', ['none', 'partial', 'full'], { xml: '@check', optional: true }),
  model: s.string('name of the model', {
    xml: 'model',
    optional: true,
    maxLength: 128,
    pattern: /^[\w.-]+$/u,
    patternName: 'a model name',
  }),
  topology: s.field(CpuTopology, { xml: 'topology', optional: true }),
  features: s.array('features', CpuFeature, { xml: 'feature', default: [], maxItems: 512 }),
})

export const OperatingSystem = s.object('OperatingSystem', 'How the machine boots', {
  type: s.choice('kind of guest', ['hvm'], { xml: 'type', default: 'hvm' }),
  arch: s.string('architecture', {
    xml: 'type/@arch',
    optional: true,
    maxLength: 32,
    pattern: /^[a-z0-9_]+$/u,
    patternName: 'an architecture',
  }),
  machine: s.string('machine type', {
    xml: 'type/@machine',
    optional: true,
    maxLength: 64,
    pattern: /^[\w.-]+$/u,
    patternName: 'a machine type',
  }),
  kernel: path('kernel to boot directly', { xml: 'kernel', optional: true }),
  initrd: path('its initial RAM disk', { xml: 'initrd', optional: true }),
  commandLine: s.string('its command line', { xml: 'cmdline', optional: true, maxLength: 4096 }),
  boot: s.array('devices to boot from, in order', s.choice('device', ['hd', 'cdrom', 'network', 'fd']), {
    xml: 'boot/@dev',
    default: [],
    maxItems: 4,
  }),
})

export const Features = s.object('Features', 'Features of the machine', {
  acpi: s.boolean('power management tables', { xml: 'acpi', as: 'presence', default: false }),
  apic: s.boolean('interrupt controller', { xml: 'apic', as: 'presence', default: false }),
})

export const Clock = s.object('Clock', 'The clock the guest sees', {
  offset: s.choice('what it follows', ['utc', 'localtime'], { xml: '@offset', default: 'utc' }),
})

const lifecycleAction = ['destroy', 'restart', 'preserve', 'rename-restart'] as const

export const DomainDefinition = s.object('DomainDefinition', 'A virtual machine or container, as wanted', {
  type: s.choice('who runs it', ['qemu', 'kvm', 'v86', 'test'], { xml: '@type' }),
  name: s.string('name, one of a kind on its host', {
    xml: 'name',
    minLength: 1,
    maxLength: 255,
    pattern: name,
    patternName: 'a name without slashes or control characters',
  }),
  uuid: s.string('identity; made by visor when absent', {
    xml: 'uuid',
    optional: true,
    pattern: uuid,
    patternName: 'a uuid in lower case',
  }),
  title: s.string('one line about it', { xml: 'title', optional: true, maxLength: 1024 }),
  description: s.string('any text about it', { xml: 'description', optional: true, maxLength: 65536 }),
  metadata: s.fragment('data of other programs, kept as written', { xml: 'metadata', optional: true }),
  memoryKiB: s.size('memory at start, the most there can be', {
    xml: 'memory',
    unit: 'KiB',
    min: 1024,
    max: 2 ** 43,
  }),
  currentMemoryKiB: s.size('memory given by the balloon', {
    xml: 'currentMemory',
    unit: 'KiB',
    optional: true,
    min: 1,
    max: 2 ** 43,
  }),
  vcpus: s.integer('virtual processors, the most there can be', {
    xml: 'vcpu',
    default: 1,
    min: 1,
    max: 4096,
  }),
  currentVcpus: s.integer('virtual processors at start', {
    xml: 'vcpu/@current',
    optional: true,
    min: 1,
    max: 4096,
  }),
  os: s.field(OperatingSystem, { xml: 'os', default: {} }),
  features: s.field(Features, { xml: 'features', default: {} }),
  cpu: s.field(Cpu, { xml: 'cpu', optional: true }),
  clock: s.field(Clock, { xml: 'clock', default: {} }),
  onPoweroff: s.choice('what follows a power-off', lifecycleAction, {
    xml: 'on_poweroff',
    default: 'destroy',
  }),
  onReboot: s.choice('what follows a reboot', lifecycleAction, { xml: 'on_reboot', default: 'restart' }),
  onCrash: s.choice('what follows a crash', lifecycleAction, { xml: 'on_crash', default: 'destroy' }),
  devices: s.field(Devices, { xml: 'devices', default: {} }),
})

/** A domain as wanted, complete with its defaults. */
export type DomainDefinition = s.Output<typeof DomainDefinition>
/** A domain as a person or program writes it. */
export type DomainDefinitionInput = s.Input<typeof DomainDefinition>
export type Disk = s.Output<typeof Disk>
export type Interface = s.Output<typeof Interface>
export type Devices = s.Output<typeof Devices>
