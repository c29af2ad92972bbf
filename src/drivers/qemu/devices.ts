/** The devices of a machine as arguments of QEMU, in the order in which they get their places on the buses. */
import type { Channel, Controller, Devices, Disk, InputDevice, Interface, Video } from '../../model/index.ts'
import { type CompleteDefinition, familyOf, unsupported } from './definition.ts'
import type { DiskImage } from './disk-image.ts'
import type { Emulator } from './emulator.ts'
import { type Fields, keyValue } from './key-value.ts'
import { type GuestPaths, isServed } from './paths.ts'
import type { DiskImages } from './preflight.ts'

export interface DeviceOptions {
  readonly definition: CompleteDefinition
  readonly emulator: Emulator
  readonly paths: GuestPaths
  readonly images: DiskImages
}

interface Place {
  readonly family: 'q35' | 'pc' | 'other'
  readonly paths: GuestPaths
  /** Where disks sit on the controller of the chip set. */
  readonly drives: ReadonlyMap<Disk, Fields>
}

type Address = Disk['address']

export function deviceArguments({ definition, paths, images }: DeviceOptions): string[] {
  const { devices, os } = definition
  const place: Place = { family: familyOf(os.machine ?? 'q35'), paths, drives: placeDrives(devices.disks) }
  const boot = bootIndexes(definition)
  return [
    ...devices.controllers.flatMap((controller) => controllerArguments(controller, place)),
    ...impliedControllers(devices, place),
    ...devices.videos.flatMap((video, index) => videoArguments(video, index, place)),
    ...devices.disks.flatMap((disk, index) =>
      diskArguments(disk, index, images.get(disk.alias ?? disk.target), boot.get(disk), place),
    ),
    ...devices.interfaces.flatMap((one, index) => interfaceArguments(one, index, boot.get(one), place)),
    ...devices.serials.flatMap((serial, index) => serialArguments(serial, index, place)),
    ...devices.consoles.flatMap((console) =>
      console.target === 'virtio' ? consoleArguments(console, place) : [],
    ),
    ...devices.channels.flatMap((channel) => channelArguments(channel, place)),
    ...devices.inputs.flatMap((input) => inputArguments(input, place)),
    ...devices.rngs.flatMap((rng) => rngArguments(rng, place)),
    ...balloonArguments(devices.memballoon, place),
  ]
}

const device = (driver: string, fields: Fields) => ['-device', keyValue(driver, fields)]

/** Where on the PCI bus, when the definition says so; else QEMU takes the next place. */
function pci(address: Address, { family }: Place): Fields {
  if (address?.type !== 'pci') return {}
  const { domain = '0', bus = '0', slot = '0', function: unit = '0' } = address
  if (Number(domain) !== 0) throw unsupported('address', 'only PCI domain 0 is there')
  const root = family === 'q35' ? 'pcie.0' : 'pci.0'
  return {
    bus: Number(bus) === 0 ? root : `pci.${Number(bus)}`,
    addr: `0x${Number(slot).toString(16)}.0x${Number(unit).toString(16)}`,
    multifunction: address.multifunction ? 'on' : undefined,
  }
}

function controllerArguments(controller: Controller, place: Place): string[] {
  const { type, model, modelName, index = 0, alias } = controller
  const fields = { id: `${type}${index}`, ...pci(controller.address, place) }
  if (type === 'pci') return pciController(controller, place)
  // Those of the chip set are there already.
  if ((type === 'sata' && place.family === 'q35') || (type === 'ide' && place.family === 'pc')) {
    if (index === 0) return []
    throw unsupported('devices.controllers', `there is only one controller of type '${type}'`)
  }
  if (type === 'usb') return model === 'none' ? [] : usbController(controller, fields)
  if (type === 'virtio-serial') return device('virtio-serial-pci', { ...fields, max_ports: controller.ports })
  if (type === 'scsi' && (model === undefined || model === 'virtio-scsi'))
    return device('virtio-scsi-pci', fields)
  throw unsupported(
    'devices.controllers',
    `'${alias}' (${type}, ${modelName ?? model ?? 'no model'}) cannot be had`,
  )
}

function pciController(
  { model, index = 0, chassis, port, address, alias }: Controller,
  place: Place,
): string[] {
  if (model === 'pcie-root' || model === 'pci-root' || (model === undefined && index === 0)) return []
  const fields = { id: `pci.${index}`, ...pci(address, place) }
  if (model === 'pcie-root-port')
    return device('pcie-root-port', { ...fields, chassis: chassis ?? index, port: port ?? index })
  if (model === 'pcie-to-pci-bridge') return device('pcie-pci-bridge', fields)
  if (model === 'pci-bridge') return device('pci-bridge', { ...fields, chassis_nr: chassis ?? index })
  throw unsupported('devices.controllers', `'${alias}' (pci, ${model ?? 'no model'}) cannot be had`)
}

function usbController({ model, ports, startPort, alias }: Controller, fields: Fields): string[] {
  const drivers: Readonly<Record<string, string>> = {
    'qemu-xhci': 'qemu-xhci',
    'nec-xhci': 'nec-usb-xhci',
    'piix3-uhci': 'piix3-usb-uhci',
    'piix4-uhci': 'piix4-usb-uhci',
    ehci: 'usb-ehci',
  }
  const driver = drivers[model ?? 'qemu-xhci']
  if (!driver || startPort !== undefined)
    throw unsupported('devices.controllers', `'${alias}' (usb, ${model}) cannot be had`, "Use 'qemu-xhci'.")
  const isXhci = driver.endsWith('xhci')
  return device(driver, { ...fields, ...(isXhci ? { p2: ports, p3: ports } : {}) })
}

/** The controllers that devices need and the definition does not name. */
function impliedControllers(devices: Devices, { family }: Place): string[] {
  const has = (type: string) => devices.controllers.some((one) => one.type === type)
  const usb =
    devices.inputs.some(({ bus }) => bus === 'usb') ||
    devices.disks.some(({ bus }) => bus === 'usb') ||
    devices.serials.some(({ target }) => target === 'usb-serial')
  const serial = devices.channels.length > 0 || devices.consoles.some(({ target }) => target === 'virtio')
  const bus = family === 'q35' ? 'pcie.0' : 'pci.0'
  return [
    ...(usb && !has('usb') ? device('qemu-xhci', { id: 'usb0', bus }) : []),
    ...(serial && !has('virtio-serial') ? device('virtio-serial-pci', { id: 'virtio-serial0', bus }) : []),
    ...(devices.disks.some((disk) => disk.bus === 'scsi') && !has('scsi')
      ? device('virtio-scsi-pci', { id: 'scsi0', bus })
      : []),
  ]
}

/** The boot order: of the devices themselves, or by their kinds. */
function bootIndexes({ os, devices }: CompleteDefinition): ReadonlyMap<Disk | Interface, number> {
  const indexes = new Map<Disk | Interface, number>()
  for (const one of [...devices.disks, ...devices.interfaces])
    if (one.bootOrder !== undefined) indexes.set(one, one.bootOrder)
  if (indexes.size > 0) return indexes
  const kinds = os.boot.length > 0 ? os.boot : os.kernel ? [] : (['hd', 'cdrom', 'network'] as const)
  const order = kinds.flatMap((kind): readonly (Disk | Interface)[] => {
    if (kind === 'network') return devices.interfaces
    return devices.disks.filter((disk) => disk.device === (kind === 'hd' ? 'disk' : 'cdrom'))
  })
  order.forEach((one, index) => void indexes.set(one, index + 1))
  return indexes
}

/**
 * SATA: six ports with one disk each. IDE: two cables with two disks each. Places that the definition names
 * are kept, the others are given in order.
 */
export function placeDrives(disks: readonly Disk[]): Map<Disk, Fields> {
  const places = new Map<Disk, Fields>()
  const drives = disks.filter(({ bus }) => bus === 'sata' || bus === 'ide')
  const [first] = drives
  const room = first?.bus === 'sata' ? 6 : 4
  const taken = new Map<number, Disk>()
  const named = (disk: Disk) => {
    const { bus = '0', unit } = disk.address ?? {}
    if (unit === undefined) return undefined
    return disk.bus === 'ide' ? Number(bus) * 2 + Number(unit) : Number(unit)
  }
  for (const disk of [...drives].sort(
    (a, b) => Number(named(a) === undefined) - Number(named(b) === undefined),
  )) {
    let place = named(disk)
    if (place === undefined) for (place = 0; taken.has(place); ) place++
    const path = `devices.disks[${disks.indexOf(disk)}]`
    if (taken.has(place)) throw unsupported(`${path}.address`, `is where '${taken.get(place)?.target}' is`)
    if (place >= room)
      throw unsupported(`${path}.bus`, `'${disk.bus}' has room for ${room} disks`, "Use 'virtio'.")
    taken.set(place, disk)
    const ide = { bus: `ide.${Math.floor(place / 2)}`, unit: place % 2 }
    places.set(disk, disk.bus === 'ide' ? ide : { bus: `ide.${place}` })
  }
  return places
}

function diskArguments(
  disk: Disk,
  index: number,
  image: DiskImage | undefined,
  bootindex: number | undefined,
  place: Place,
): string[] {
  const node = `disk${index}`
  const drive = image ? node : undefined
  const common: Fields = {
    id: disk.alias,
    drive,
    bootindex,
    serial: disk.serial,
    'write-cache': writeCache(disk, image),
  }
  return [
    ...(image
      ? ['-blockdev', JSON.stringify(blockNode(disk, image, node, disk.readonly || disk.device === 'cdrom'))]
      : []),
    ...diskDevice(disk, index, common, place),
  ]
}

function writeCache({ cache, device: kind }: Disk, image: DiskImage | undefined): string | undefined {
  if (!image || kind === 'cdrom' || cache === undefined || cache === 'default') return undefined
  return cache === 'writethrough' || cache === 'directsync' ? 'off' : 'on'
}

/** An image and, spelt out, what it is based on: QEMU opens exactly these files. */
function blockNode(disk: Disk, image: DiskImage, name: string, readonly: boolean): Record<string, unknown> {
  const cache = {
    direct: disk.cache === 'none' || disk.cache === 'directsync',
    'no-flush': disk.cache === 'unsafe',
  }
  const discard = disk.discard ?? 'unmap'
  const isBlock = disk.type === 'block' && image.path === disk.block
  const file = {
    driver: isBlock ? 'host_device' : 'file',
    filename: image.path,
    'node-name': `${name}-file`,
    'read-only': readonly,
    cache,
    discard,
    ...(disk.io ? { aio: disk.io } : {}),
  }
  const node = { driver: image.format, 'node-name': name, 'read-only': readonly, cache, discard, file }
  if (image.format === 'raw') return node
  return { ...node, backing: image.backing ? blockNode(disk, image.backing, `${name}b`, true) : null }
}

function diskDevice(disk: Disk, index: number, common: Fields, place: Place): string[] {
  const kind = disk.device === 'cdrom' ? 'cd' : 'hd'
  const unit = Number(disk.address?.unit ?? 0)
  switch (disk.bus) {
    case 'virtio':
      return device('virtio-blk-pci', { ...common, ...pci(disk.address, place) })
    case 'sata':
    case 'ide':
      return device(`ide-${kind}`, { ...common, ...place.drives.get(disk) })
    case 'scsi':
      return device(`scsi-${kind}`, {
        ...common,
        bus: `scsi${Number(disk.address?.controller ?? 0)}.0`,
        ...(disk.address?.unit ? { 'scsi-id': unit } : {}),
      })
    case 'usb':
      return device('usb-storage', { ...common, removable: disk.device === 'cdrom' ? 'on' : 'off' })
    default:
      throw unsupported(`devices.disks[${index}].bus`, `'${disk.bus}' cannot be had`)
  }
}

const cards = {
  virtio: 'virtio-net-pci',
  e1000: 'e1000',
  e1000e: 'e1000e',
  rtl8139: 'rtl8139',
  ne2k_pci: 'ne2k_pci',
}

function interfaceArguments(
  one: Interface,
  index: number,
  bootindex: number | undefined,
  place: Place,
): string[] {
  const netdev = `host${one.alias ?? `net${index}`}`
  const isVirtio = (one.model ?? 'virtio') === 'virtio'
  if (one.mtu !== undefined && !isVirtio)
    throw unsupported(`devices.interfaces[${index}].mtu`, 'needs a virtio card')
  return [
    ...['-netdev', keyValue('user', { id: netdev })],
    ...device(cards[one.model ?? 'virtio'], {
      id: one.alias,
      netdev,
      mac: one.mac,
      bootindex,
      host_mtu: one.mtu,
      // Without a boot from the network its program is not needed, and loading it takes time.
      romfile: bootindex === undefined ? '' : undefined,
      ...pci(one.address, place),
    }),
  ]
}

/** What is behind a serial port, console or channel. */
function characterBackend(
  { type, path, alias = '' }: { type: string; path?: string | undefined; alias?: string | undefined },
  { paths }: Place,
  log: boolean,
): string[] {
  const id = `char${alias}`
  const logging: Fields = log ? { logfile: paths.consoleLog(alias), logappend: 'on' } : {}
  if (isServed({ type, path }))
    return [
      '-chardev',
      keyValue('socket', { id, path: paths.socket(alias), server: 'on', wait: 'off', ...logging }),
    ]
  if (type === 'unix')
    return ['-chardev', keyValue('socket', { id, path, server: 'on', wait: 'off', ...logging })]
  if (type === 'file') return ['-chardev', keyValue('file', { id, path, append: 'on', ...logging })]
  return ['-chardev', keyValue('null', { id, ...logging })]
}

function serialArguments(serial: Devices['serials'][number], index: number, place: Place): string[] {
  const kind = serial.target ?? serial.model ?? 'isa-serial'
  const fields: Fields = { id: serial.alias, chardev: `char${serial.alias}` }
  const port = serial.port ?? index
  if (kind === 'isa-serial' && port > 3)
    throw unsupported(
      `devices.serials[${index}].port`,
      'a PC has the serial ports 0 to 3',
      "Use 'pci-serial'.",
    )
  return [
    ...characterBackend(serial, place, true),
    ...device(kind, {
      ...fields,
      ...(kind === 'isa-serial' ? { index: port } : kind === 'pci-serial' ? pci(serial.address, place) : {}),
    }),
  ]
}

function consoleArguments(console: Devices['consoles'][number], place: Place): string[] {
  return [
    ...characterBackend(console, place, true),
    ...device('virtconsole', { id: console.alias, chardev: `char${console.alias}`, bus: 'virtio-serial0.0' }),
  ]
}

function channelArguments(channel: Channel, place: Place): string[] {
  const { alias, name, address } = channel
  return [
    ...characterBackend(channel, place, false),
    ...device('virtserialport', {
      id: alias,
      chardev: `char${alias}`,
      name,
      bus: `virtio-serial${Number(address?.controller ?? 0)}.0`,
      nr: address?.port,
    }),
  ]
}

function inputArguments({ type, bus, alias, address }: InputDevice, place: Place): string[] {
  // A PC has both of them anyway.
  if (bus === 'ps2') {
    if (type === 'tablet')
      throw unsupported('devices.inputs', "a tablet cannot be on bus 'ps2'", "Use 'usb'.")
    return []
  }
  if (bus === 'virtio') return device(`virtio-${type}-pci`, { id: alias, ...pci(address, place) })
  return device(`usb-${type === 'keyboard' ? 'kbd' : type}`, { id: alias })
}

function videoArguments(video: Video, index: number, place: Place): string[] {
  const { model, vramKiB, heads, alias, address } = video
  const megabytes = vramKiB === undefined ? undefined : Math.max(1, 2 ** Math.ceil(Math.log2(vramKiB / 1024)))
  const fields: Fields = { id: alias, ...pci(address, place) }
  switch (model) {
    case 'none':
      return []
    case 'vga':
      return device(index === 0 ? 'VGA' : 'secondary-vga', { ...fields, vgamem_mb: megabytes })
    case 'virtio':
      return device(index === 0 ? 'virtio-vga' : 'virtio-gpu-pci', { ...fields, max_outputs: heads })
    case 'bochs':
      return device('bochs-display', { ...fields, vgamem: vramKiB === undefined ? undefined : `${vramKiB}k` })
    case 'cirrus':
      return device('cirrus-vga', { ...fields, vgamem_mb: megabytes })
    case 'qxl':
      return device(index === 0 ? 'qxl-vga' : 'qxl', {
        ...fields,
        vram_size_mb: megabytes,
        max_outputs: heads,
      })
    default:
      return device('ramfb', { id: alias })
  }
}

function rngArguments(rng: Devices['rngs'][number], place: Place): string[] {
  const id = `obj${rng.alias}`
  const backend =
    rng.backend === 'builtin'
      ? keyValue('rng-builtin', { id })
      : keyValue('rng-random', { id, filename: rng.source ?? '/dev/urandom' })
  return [
    ...['-object', backend],
    ...device('virtio-rng-pci', {
      id: rng.alias,
      rng: id,
      'max-bytes': rng.rateBytes,
      period: rng.rateBytes === undefined ? undefined : (rng.ratePeriodMs ?? 1000),
      ...pci(rng.address, place),
    }),
  ]
}

function balloonArguments(balloon: Devices['memballoon'], place: Place): string[] {
  if (!balloon || balloon.model === 'none') return []
  const { alias, autodeflate, freePageReporting, address } = balloon
  return device('virtio-balloon-pci', {
    id: alias,
    'deflate-on-oom': autodeflate ? 'on' : undefined,
    'free-page-reporting': freePageReporting ? 'on' : undefined,
    ...pci(address, place),
  })
}
