/**
 * The devices of a domain: libvirt's `<devices>`.
 *
 * Source: libvirt's "Domain XML format", devices; the orders are those of its output. To add a device, add
 * its description here and its list in {@link Devices}.
 */
import { aLink, aName, aNumber, oneWord, path, unknown, words } from './domain-words.ts'
import * as s from './schema.ts'

const mac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/u

const Address = s.object('Address', 'Place of a device on its bus', {
  type: s.choice('kind of address', ['pci', 'drive', 'virtio-serial', 'ccid', 'usb', 'isa'], {
    xml: '@type',
  }),
  domain: s.string('PCI domain', { xml: '@domain', optional: true, ...aNumber }),
  controller: s.string('controller index', { xml: '@controller', optional: true, ...aNumber }),
  bus: s.string('bus number', { xml: '@bus', optional: true, ...aNumber }),
  slot: s.string('PCI slot', { xml: '@slot', optional: true, ...aNumber }),
  function: s.string('PCI function', { xml: '@function', optional: true, ...aNumber }),
  multifunction: s.boolean('whether other functions share the slot', {
    xml: '@multifunction',
    as: 'on-off',
    optional: true,
  }),
  target: s.string('drive target', { xml: '@target', optional: true, ...aNumber }),
  unit: s.string('drive unit', { xml: '@unit', optional: true, ...aNumber }),
  port: s.string('USB or virtio-serial port', {
    xml: '@port',
    optional: true,
    pattern: /^\d{1,5}(?:\.\d{1,5}){0,5}$/u,
    patternName: "a port such as '1' or '1.2'",
  }),
  unknown,
})
const address = s.field(Address, { xml: 'address', optional: true, generated: true })
const alias = s.string('name of the device in the hypervisor', {
  xml: 'alias/@name',
  optional: true,
  generated: true,
  inert: true,
  maxLength: 256,
  ...oneWord,
})
/** The end of every device in libvirt's output. */
const deviceOrder = 'boot alias master rom address'

const bootOrder = s.integer('place in the boot order, from 1', {
  xml: 'boot/@order',
  optional: true,
  min: 1,
  max: 9999,
})

export const Disk = s.object(
  'Disk',
  'A disk, CD-ROM or floppy',
  {
    type: s.choice('kind of source', ['file', 'block'], { xml: '@type', default: 'file' }),
    device: s.choice('kind of drive the guest sees', ['disk', 'cdrom', 'floppy'], {
      xml: '@device',
      default: 'disk',
    }),
    driver: s.choice('program that serves it', ['qemu'], {
      xml: 'driver/@name',
      optional: true,
      inert: true,
    }),
    format: s.choice('image format, never guessed from the content', ['raw', 'qcow2'], {
      xml: 'driver/@type',
      default: 'raw',
      quiet: true,
    }),
    cache: s.choice(
      'host cache mode',
      ['default', 'none', 'writethrough', 'writeback', 'directsync', 'unsafe'],
      { xml: 'driver/@cache', optional: true },
    ),
    io: s.choice('I/O engine', ['native', 'threads', 'io_uring'], { xml: 'driver/@io', optional: true }),
    discard: s.choice("fate of the guest's discard requests", ['ignore', 'unmap'], {
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
    bus: s.choice(
      'kind of bus; that of the target name when absent',
      ['virtio', 'ide', 'sata', 'scsi', 'usb', 'fdc'],
      {
        xml: 'target/@bus',
        optional: true,
      },
    ),
    readonly: s.boolean('write protection', { xml: 'readonly', as: 'presence', default: false }),
    serial: s.string('serial number', {
      xml: 'serial',
      optional: true,
      maxLength: 256,
      pattern: /^[\w.+\- ]+$/u,
      patternName: 'letters, digits, spaces and _.+-',
    }),
    bootOrder,
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words(
        '@type @device @model @rawio @sgio @snapshot driver auth source',
        'backingStore backenddomain geometry blockio mirror target iotune readonly',
        'shareable transient serial wwn vendor product encryption',
        deviceOrder,
      ),
      driver: words(
        '@name @type @cache @error_policy @rerror_policy @io @ioeventfd @event_idx',
        '@copy_on_read @discard @iothread @detect_zeroes @discard_no_unref @queues',
      ),
    },
    runtime: {
      'source/@index': 'number of the node in the hypervisor',
      'target/@tray': 'whether the tray is open',
    },
    inertXml: { backingStore: { reason: 'the image itself says what it is based on' } },
  },
)

export const Controller = s.object(
  'Controller',
  'A bus controller',
  {
    type: s.choice('kind of bus', ['pci', 'ide', 'sata', 'scsi', 'usb', 'virtio-serial', 'fdc'], {
      xml: '@type',
    }),
    index: s.integer('number among its kind', { xml: '@index', optional: true, min: 0, max: 255 }),
    model: s.string('model', { xml: '@model', optional: true, maxLength: 64, ...oneWord }),
    ports: s.integer('number of ports', { xml: '@ports', optional: true, min: 0, max: 1024 }),
    modelName: s.string("hypervisor's name of the model", {
      xml: 'model/@name',
      optional: true,
      maxLength: 64,
      ...oneWord,
    }),
    chassis: s.integer('PCI chassis', { xml: 'target/@chassis', optional: true, min: 0, max: 255 }),
    port: s.string('PCI port', { xml: 'target/@port', optional: true, ...aNumber }),
    alias,
    startPort: s.integer('first port on the USB 2 companion', {
      xml: 'master/@startport',
      optional: true,
      min: 0,
      max: 255,
    }),
    address,
    unknown,
  },
  {
    order: {
      '.': words('@type @index @model @ports @vectors driver model target', deviceOrder),
    },
  },
)

export const Interface = s.object(
  'Interface',
  'A network interface',
  {
    type: s.choice('kind of connection', ['user', 'network', 'bridge', 'ethernet', 'direct'], {
      xml: '@type',
    }),
    mac: s.string('hardware address; made by visor when absent', {
      xml: 'mac/@address',
      optional: true,
      generated: true,
      normalize: 'mac',
      pattern: mac,
      patternName: "a MAC address such as '52:54:00:12:34:56'",
    }),
    network: s.string('name of the network', {
      xml: 'source/@network',
      optional: true,
      maxLength: 255,
      ...aName,
    }),
    bridge: s.string('name of the bridge', { xml: 'source/@bridge', optional: true, ...aLink }),
    dev: s.string('host link', { xml: 'source/@dev', optional: true, ...aLink }),
    mode: s.choice('mode of the macvtap link', ['vepa', 'bridge', 'private', 'passthrough'], {
      xml: 'source/@mode',
      optional: true,
    }),
    target: s.string('name of the host side', {
      xml: 'target/@dev',
      optional: true,
      generated: true,
      ...aLink,
    }),
    model: s.choice('model of the card', ['virtio', 'e1000', 'e1000e', 'rtl8139', 'ne2k_pci'], {
      xml: 'model/@type',
      optional: true,
    }),
    link: s.choice('state of the cable', ['up', 'down'], { xml: 'link/@state', optional: true }),
    mtu: s.integer('largest packet, in bytes', { xml: 'mtu/@size', optional: true, min: 68, max: 65_535 }),
    bootOrder,
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words(
        '@type @managed @trustGuestRxFilters mac source vlan virtualport bandwidth port ip route script',
        'downscript backenddomain target guest model driver backend filterref tune link mtu teaming coalesce',
        deviceOrder,
      ),
    },
    runtime: { 'source/@portid': 'identity of the port on the network' },
  },
)

const characterSource = {
  type: s.choice('kind of host side', ['pty', 'unix', 'file', 'null'], { xml: '@type', default: 'pty' }),
  mode: s.choice('whether the host side of a socket waits or calls', ['bind', 'connect'], {
    xml: 'source/@mode',
    optional: true,
  }),
  path: path('socket, file or terminal on the host', { xml: 'source/@path', optional: true }),
} as const
const characterOptions = {
  order: { '.': words('@type @tty source protocol log target', deviceOrder) },
} as const

export const Serial = s.object(
  'Serial',
  'A serial port',
  {
    ...characterSource,
    target: s.choice('kind of port', ['isa-serial', 'pci-serial', 'usb-serial', 'system-serial'], {
      xml: 'target/@type',
      optional: true,
    }),
    port: s.integer('number of the port', { xml: 'target/@port', optional: true, min: 0, max: 255 }),
    model: s.string('model of the port', {
      xml: 'target/model/@name',
      optional: true,
      maxLength: 64,
      ...oneWord,
    }),
    alias,
    address,
    unknown,
  },
  characterOptions,
)

export const Console = s.object(
  'Console',
  'The console: for a full machine, its first serial port',
  {
    ...characterSource,
    target: s.choice('kind of device that carries it', ['serial', 'virtio'], {
      xml: 'target/@type',
      default: 'serial',
    }),
    port: s.integer('number of the port', { xml: 'target/@port', optional: true, min: 0, max: 255 }),
    alias,
    address,
    unknown,
  },
  {
    ...characterOptions,
    runtime: { '@tty': 'terminal of the running machine, as source/@path says it too' },
  },
)

export const Channel = s.object(
  'Channel',
  'A channel between host and guest, such as that of the guest agent',
  {
    type: s.choice('kind of host side', ['unix'], { xml: '@type', default: 'unix' }),
    mode: characterSource.mode,
    path: path('socket on the host; chosen by visor when absent', { xml: 'source/@path', optional: true }),
    target: s.choice('kind of channel', ['virtio'], { xml: 'target/@type', default: 'virtio' }),
    name: s.string("name in the guest: 'org.qemu.guest_agent.0'", {
      xml: 'target/@name',
      maxLength: 255,
      ...oneWord,
    }),
    alias,
    address,
    unknown,
  },
  { ...characterOptions, runtime: { 'target/@state': 'whether the guest has it open' } },
)

export const InputDevice = s.object('InputDevice', 'A keyboard, mouse or tablet', {
  type: s.choice('kind', ['tablet', 'mouse', 'keyboard'], { xml: '@type' }),
  bus: s.choice('kind of bus', ['usb', 'ps2', 'virtio'], { xml: '@bus', optional: true }),
  alias,
  address,
  unknown,
})

export const GraphicsListen = s.object('GraphicsListen', 'An address that a screen listens on', {
  type: s.choice('kind of address', ['address', 'socket', 'none'], { xml: '@type' }),
  address: s.string('IP address', { xml: '@address', optional: true, maxLength: 255, ...oneWord }),
  socket: path('unix socket', { xml: '@socket', optional: true }),
  unknown,
})

export const Graphics = s.object('Graphics', 'A remote screen', {
  type: s.choice('protocol', ['vnc'], { xml: '@type', default: 'vnc' }),
  socket: path('unix socket it listens on; chosen by visor when neither it nor a port is given', {
    xml: '@socket',
    optional: true,
  }),
  port: s.integer('TCP port; -1 for one that is free', {
    xml: '@port',
    optional: true,
    min: -1,
    max: 65_535,
  }),
  autoport: s.boolean('choice of a free port', { xml: '@autoport', as: 'yes-no', optional: true }),
  listen: s.string('IP address it listens on', {
    xml: '@listen',
    optional: true,
    maxLength: 255,
    ...oneWord,
  }),
  keymap: s.string('keyboard layout', { xml: '@keymap', optional: true, maxLength: 32, ...oneWord }),
  listens: s.array('addresses it listens on', GraphicsListen, { xml: 'listen', default: [], maxItems: 4 }),
  alias,
  unknown,
})

export const Video = s.object('Video', 'A graphics card', {
  model: s.choice('model', ['none', 'vga', 'virtio', 'bochs', 'cirrus', 'qxl', 'ramfb'], {
    xml: 'model/@type',
    default: 'vga',
  }),
  ramKiB: s.integer('main memory of a qxl card', { xml: 'model/@ram', optional: true, min: 1, max: 1048576 }),
  vramKiB: s.integer('video memory', { xml: 'model/@vram', optional: true, min: 1, max: 1048576 }),
  vgaMemoryKiB: s.integer('VGA memory of a qxl card', {
    xml: 'model/@vgamem',
    optional: true,
    min: 1,
    max: 1048576,
  }),
  heads: s.integer('number of screens', { xml: 'model/@heads', optional: true, min: 1, max: 16 }),
  primary: s.boolean('precedence over other cards', { xml: 'model/@primary', as: 'yes-no', optional: true }),
  alias,
  address,
  unknown,
})

export const Rng = s.object('Rng', 'A source of randomness', {
  model: s.choice('model', ['virtio'], { xml: '@model', default: 'virtio' }),
  rateBytes: s.integer('most bytes in a period', {
    xml: 'rate/@bytes',
    optional: true,
    min: 1,
    max: 2 ** 31,
  }),
  ratePeriodMs: s.integer('length of a period', {
    xml: 'rate/@period',
    optional: true,
    min: 1,
    max: 2 ** 31,
  }),
  backend: s.choice('origin of the randomness', ['random', 'builtin'], {
    xml: 'backend/@model',
    default: 'random',
  }),
  source: path('device on the host', { xml: 'backend', optional: true }),
  alias,
  address,
  unknown,
})

export const MemoryBalloon = s.object('MemoryBalloon', 'The balloon that gives memory back', {
  model: s.choice('model', ['virtio', 'none'], { xml: '@model', default: 'virtio' }),
  autodeflate: s.boolean('deflation before the guest runs out of memory', {
    xml: '@autodeflate',
    as: 'on-off',
    optional: true,
  }),
  freePageReporting: s.boolean('return of free pages to the host', {
    xml: '@freePageReporting',
    as: 'on-off',
    optional: true,
  }),
  statsPeriodSeconds: s.integer('time between statistics', {
    xml: 'stats/@period',
    optional: true,
    min: 0,
    max: 86_400,
  }),
  alias,
  address,
  unknown,
})

export const Devices = s.object(
  'Devices',
  'Everything that is plugged in',
  {
    emulator: path('program that runs the machine', { xml: 'emulator', optional: true }),
    disks: s.array('disks', Disk, { xml: 'disk', default: [], maxItems: 512, key: ['target'] }),
    controllers: s.array('controllers', Controller, {
      xml: 'controller',
      default: [],
      maxItems: 256,
      key: ['type', 'index'],
    }),
    interfaces: s.array('network interfaces', Interface, {
      xml: 'interface',
      default: [],
      maxItems: 256,
      key: ['mac'],
    }),
    serials: s.array('serial ports', Serial, { xml: 'serial', default: [], maxItems: 16 }),
    consoles: s.array('consoles', Console, { xml: 'console', default: [], maxItems: 16 }),
    channels: s.array('channels', Channel, { xml: 'channel', default: [], maxItems: 64, key: ['name'] }),
    inputs: s.array('input devices', InputDevice, { xml: 'input', default: [], maxItems: 16 }),
    graphics: s.array('remote screens', Graphics, { xml: 'graphics', default: [], maxItems: 4 }),
    videos: s.array('graphics cards', Video, { xml: 'video', default: [], maxItems: 4 }),
    memballoon: s.field(MemoryBalloon, { xml: 'memballoon', optional: true }),
    rngs: s.array('sources of randomness', Rng, { xml: 'rng', default: [], maxItems: 4 }),
    unknown,
  },
  {
    order: {
      '.': words(
        'emulator disk controller lease filesystem interface smartcard serial',
        'parallel console channel input tpm graphics sound audio video hostdev',
        'redirdev redirfilter hub watchdog memballoon rng nvram panic shmem',
        'memory iommu vsock crypto',
      ),
    },
    inertXml: {
      audio: {
        reason: 'a host sound system that nothing is connected to',
        when: /^<audio\s+(?:id=["']\d+["']\s+)?type=["']none["']\s*\/>$/u,
      },
    },
  },
)

export type Disk = s.Output<typeof Disk>
export type Controller = s.Output<typeof Controller>
export type Interface = s.Output<typeof Interface>
export type Serial = s.Output<typeof Serial>
export type Console = s.Output<typeof Console>
export type Channel = s.Output<typeof Channel>
export type InputDevice = s.Output<typeof InputDevice>
export type Graphics = s.Output<typeof Graphics>
export type Video = s.Output<typeof Video>
export type Devices = s.Output<typeof Devices>
