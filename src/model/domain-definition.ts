/**
 * What a domain shall be: libvirt's `<domain>` as a typed description.
 *
 * Source: libvirt's "Domain XML format" (formatdomain). Fields stand in the order in which libvirt prints
 * them. To add an element, add its entry here: type, parsers, printers, JSON schema and reference follow.
 * What has no entry is kept in `unknown` and refused by drivers, unless it is listed as inert here.
 */
import * as s from './schema.ts'

const name = /^(?!\.\.?$)[^/\p{Cc}]+$/u
const patternName = 'a name without slashes or control characters'
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u
const mac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/u
const absolutePath = /^\/[^\p{Cc}]*$/u

/** What every object of the XML ends with. */
const unknown = s.unknown()

// Narrower than libvirt's: these become parts of command lines and file names, where no quoting reaches.
const oneWord = { pattern: /^[\w.+:-]+$/u, patternName: 'one word of letters, digits and _.+:-' } as const
const number = {
  pattern: /^(?:0x[0-9a-fA-F]{1,8}|\d{1,10})$/u,
  patternName: "a number such as '2' or '0x02'",
} as const
/** Source: the kernel's dev_valid_name. */
const link = { pattern: /^(?!\.\.?$)[^/\s:]{1,15}$/u, patternName: 'the name of a network link' } as const

const path = <const O extends s.FieldOptions>(doc: string, options: O) =>
  s.string(doc, { ...options, pattern: absolutePath, patternName: 'an absolute path', maxLength: 4095 })

const Address = s.object('Address', 'Place of a device on its bus', {
  type: s.choice('kind of address', ['pci', 'drive', 'virtio-serial', 'ccid', 'usb', 'isa'], {
    xml: '@type',
  }),
  domain: s.string('PCI domain', { xml: '@domain', optional: true, ...number }),
  controller: s.string('controller index', { xml: '@controller', optional: true, ...number }),
  bus: s.string('bus number', { xml: '@bus', optional: true, ...number }),
  slot: s.string('PCI slot', { xml: '@slot', optional: true, ...number }),
  function: s.string('PCI function', { xml: '@function', optional: true, ...number }),
  multifunction: s.boolean('whether other functions share the slot', {
    xml: '@multifunction',
    as: 'on-off',
    optional: true,
  }),
  target: s.string('drive target', { xml: '@target', optional: true, ...number }),
  unit: s.string('drive unit', { xml: '@unit', optional: true, ...number }),
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
const words = (...lines: string[]): string[] => lines.join(' ').split(' ')

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
    port: s.string('PCI port', { xml: 'target/@port', optional: true, ...number }),
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
      pattern: name,
      patternName,
    }),
    bridge: s.string('name of the bridge', { xml: 'source/@bridge', optional: true, ...link }),
    dev: s.string('host link', { xml: 'source/@dev', optional: true, ...link }),
    mode: s.choice('mode of the macvtap link', ['vepa', 'bridge', 'private', 'passthrough'], {
      xml: 'source/@mode',
      optional: true,
    }),
    target: s.string('name of the host side', {
      xml: 'target/@dev',
      optional: true,
      generated: true,
      ...link,
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
    disks: s.array('disks', Disk, { xml: 'disk', default: [], maxItems: 512, key: 'target' }),
    controllers: s.array('controllers', Controller, { xml: 'controller', default: [], maxItems: 256 }),
    interfaces: s.array('network interfaces', Interface, {
      xml: 'interface',
      default: [],
      maxItems: 256,
      key: 'mac',
    }),
    serials: s.array('serial ports', Serial, { xml: 'serial', default: [], maxItems: 16 }),
    consoles: s.array('consoles', Console, { xml: 'console', default: [], maxItems: 16 }),
    channels: s.array('channels', Channel, { xml: 'channel', default: [], maxItems: 64, key: 'name' }),
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

const processors = (doc: string, xml: string) => s.integer(doc, { xml, min: 1, max: 4096 })

export const CpuTopology = s.object('CpuTopology', 'Layout of the processors', {
  sockets: processors('number of sockets', '@sockets'),
  dies: s.integer('dies in a socket', { xml: '@dies', optional: true, min: 1, max: 4096 }),
  cores: processors('cores in a die', '@cores'),
  threads: processors('threads in a core', '@threads'),
  unknown,
})

export const CpuFeature = s.object('CpuFeature', 'One processor feature', {
  policy: s.choice('treatment', ['force', 'require', 'optional', 'disable', 'forbid'], {
    xml: '@policy',
    default: 'require',
  }),
  name: s.string('name', {
    xml: '@name',
    maxLength: 64,
    pattern: /^[\w.-]+$/u,
    patternName: 'a feature name',
  }),
  unknown,
})

export const Cpu = s.object(
  'Cpu',
  'The processor the guest sees',
  {
    mode: s.choice('origin of the model', ['custom', 'host-model', 'host-passthrough', 'maximum'], {
      xml: '@mode',
      default: 'custom',
    }),
    match: s.choice('strictness of the match', ['minimum', 'exact', 'strict'], {
      xml: '@match',
      optional: true,
    }),
    check: s.choice('check before the start', ['none', 'partial', 'full'], { xml: '@check', optional: true }),
    migratable: s.boolean('restriction to features that can move to another host', {
      xml: '@migratable',
      as: 'on-off',
      optional: true,
    }),
    model: s.string('name of the model', {
      xml: 'model',
      optional: true,
      maxLength: 128,
      pattern: /^[\w.-]+$/u,
      patternName: 'a model name',
    }),
    fallback: s.choice('leave to take a similar model', ['allow', 'forbid'], {
      xml: 'model/@fallback',
      optional: true,
    }),
    topology: s.field(CpuTopology, { xml: 'topology', optional: true }),
    features: s.array('features', CpuFeature, { xml: 'feature', default: [], maxItems: 512, key: 'name' }),
    unknown,
  },
  {
    order: {
      '.': words('@mode @match @check @migratable model vendor topology cache maxphysaddr', 'feature numa'),
    },
  },
)

const bootDevice = s.choice('device', ['hd', 'cdrom', 'network', 'fd'])

export const OperatingSystem = s.object(
  'OperatingSystem',
  'Way the machine boots',
  {
    type: s.choice('kind of guest', ['hvm'], { xml: 'type', default: 'hvm' }),
    arch: s.string('architecture', {
      xml: 'type/@arch',
      optional: true,
      generated: true,
      maxLength: 32,
      pattern: /^[a-z0-9_]+$/u,
      patternName: 'an architecture',
    }),
    machine: s.string('machine type', {
      xml: 'type/@machine',
      optional: true,
      generated: true,
      maxLength: 64,
      pattern: /^[\w.-]+$/u,
      patternName: 'a machine type',
    }),
    kernel: path('kernel to boot directly', { xml: 'kernel', optional: true }),
    initrd: path('initial RAM disk of the kernel', { xml: 'initrd', optional: true }),
    commandLine: s.string('command line of the kernel', { xml: 'cmdline', optional: true, maxLength: 4096 }),
    boot: s.array('devices to boot from, in order', bootDevice, {
      xml: 'boot/@dev',
      default: [],
      maxItems: 4,
    }),
    bootMenu: s.boolean('menu of boot devices at start', {
      xml: 'bootmenu/@enable',
      as: 'yes-no',
      optional: true,
    }),
    unknown,
  },
  {
    order: {
      '.': words(
        '@firmware type firmware init initarg initenv initdir inituser initgroup',
        'loader nvram kernel initrd cmdline dtb acpi boot bootmenu bios smbios',
      ),
    },
  },
)

export const Features = s.object(
  'Features',
  'Features of the machine',
  {
    acpi: s.boolean('power management tables', { xml: 'acpi', as: 'presence', default: false }),
    apic: s.boolean('interrupt controller', { xml: 'apic', as: 'presence', default: false }),
    pae: s.boolean('physical addresses of more than 32 bits', { xml: 'pae', as: 'presence', default: false }),
    vmport: s.boolean("VMware's port for the mouse", { xml: 'vmport/@state', as: 'on-off', optional: true }),
    unknown,
  },
  {
    order: {
      '.': words(
        'acpi apic pae hap viridian privnet hyperv kvm pvspinlock capabilities pmu vmport gic smm ioapic hpt',
        'vmcoreinfo htm nested-hv msrs ccf-assist xen cfpc sbbc ibs tcg async-teardown',
      ),
    },
  },
)

export const Timer = s.object('Timer', 'A clock chip or clock protocol', {
  name: s.choice('name', ['rtc', 'pit', 'hpet', 'kvmclock', 'tsc', 'hypervclock', 'platform', 'armvtimer'], {
    xml: '@name',
  }),
  present: s.boolean('presence', { xml: '@present', as: 'yes-no', optional: true }),
  tickPolicy: s.choice('fate of ticks that were missed', ['delay', 'catchup', 'merge', 'discard'], {
    xml: '@tickpolicy',
    optional: true,
  }),
  unknown,
})

export const Clock = s.object('Clock', 'The clock the guest sees', {
  offset: s.choice('time it starts from', ['utc', 'localtime'], { xml: '@offset', default: 'utc' }),
  timers: s.array('clock chips', Timer, { xml: 'timer', default: [], maxItems: 16, key: 'name' }),
  unknown,
})

export const PowerManagement = s.object('PowerManagement', 'Sleep states offered to the guest', {
  suspendToMemory: s.boolean('S3', { xml: 'suspend-to-mem/@enabled', as: 'yes-no', optional: true }),
  suspendToDisk: s.boolean('S4', { xml: 'suspend-to-disk/@enabled', as: 'yes-no', optional: true }),
  unknown,
})

const lifecycleAction = ['destroy', 'restart', 'preserve', 'rename-restart'] as const

export const DomainDefinition = s.object(
  'DomainDefinition',
  'A virtual machine or container, as wanted',
  {
    type: s.choice('kind of hypervisor', ['qemu', 'kvm', 'v86', 'test'], { xml: '@type', inert: true }),
    name: s.string('name, one of a kind on its host', {
      xml: 'name',
      inert: true,
      minLength: 1,
      maxLength: 255,
      pattern: name,
      patternName,
    }),
    uuid: s.string('identity; made by visor when absent', {
      xml: 'uuid',
      optional: true,
      generated: true,
      inert: true,
      normalize: 'uuid',
      pattern: uuid,
      patternName: "a uuid such as '6695eb01-f6a4-8304-79aa-97f2502e193f'",
    }),
    title: s.string('one line about it', {
      xml: 'title',
      optional: true,
      inert: true,
      maxLength: 1024,
      pattern: /^[^\n]*$/u,
      patternName: 'one line',
    }),
    description: s.string('any text about it', {
      xml: 'description',
      optional: true,
      inert: true,
      maxLength: 65536,
    }),
    metadata: s.fragment('data of other programs, kept as written', {
      xml: 'metadata',
      optional: true,
      inert: true,
    }),
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
    vcpuPlacement: s.choice('placement on host processors', ['static', 'auto'], {
      xml: 'vcpu/@placement',
      default: 'static',
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
    onPoweroff: s.choice('action after a power-off', lifecycleAction, {
      xml: 'on_poweroff',
      default: 'destroy',
    }),
    onReboot: s.choice('action after a reboot', lifecycleAction, { xml: 'on_reboot', default: 'restart' }),
    onCrash: s.choice('action after a crash', lifecycleAction, { xml: 'on_crash', default: 'destroy' }),
    powerManagement: s.field(PowerManagement, { xml: 'pm', optional: true }),
    devices: s.field(Devices, { xml: 'devices', default: {} }),
    unknown,
  },
  {
    xml: 'domain',
    order: {
      '.': words(
        '@type name uuid genid title description metadata maxMemory memory',
        'currentMemory blkiotune memtune memoryBacking vcpu vcpus iothreads iothreadids',
        'defaultiothread cputune numatune resource sysinfo bootloader bootloader_args os',
        'idmap throttlegroups features cpu clock on_poweroff on_reboot on_crash',
        'on_lockfailure pm perf devices seclabel keywrap launchSecurity',
      ),
      vcpu: ['@placement', '@cpuset', '@current'],
    },
    runtime: { '@id': 'number of the running machine' },
    inertXml: {
      resource: {
        reason: "libvirt's own control group; visor has its own",
        when: /^<resource>\s*<partition>\/machine<\/partition>\s*<\/resource>$/u,
      },
      seclabel: {
        reason: 'no label is wanted, or one that libvirt makes up; visor confines guests without labels',
        when: /^<seclabel\s[^<>]*type=["'](?:none|dynamic)["'][^<>]*(?:\/>|>\s*<\/seclabel>)$/u,
      },
    },
  },
)

/** A domain as wanted, complete with its defaults. */
export type DomainDefinition = s.Output<typeof DomainDefinition>
/** A domain as a person or program writes it. */
export type DomainDefinitionInput = s.Input<typeof DomainDefinition>
export type Disk = s.Output<typeof Disk>
export type Controller = s.Output<typeof Controller>
export type Interface = s.Output<typeof Interface>
export type Serial = s.Output<typeof Serial>
export type Console = s.Output<typeof Console>
export type Channel = s.Output<typeof Channel>
export type InputDevice = s.Output<typeof InputDevice>
export type Graphics = s.Output<typeof Graphics>
export type Video = s.Output<typeof Video>
export type Cpu = s.Output<typeof Cpu>
export type Devices = s.Output<typeof Devices>
