/** The devices of a machine as parts of QEMU, in the order in which they get their places on the buses. */
import type { Devices, Disk, Graphics, InputDevice, Interface, Video } from '../../model/index.ts'
import { channelParts, consoleParts, serialParts } from './character-devices.ts'
import { controllerParts, impliedControllers } from './controllers.ts'
import type { CompleteDefinition } from './definition.ts'
import { type Place, pci } from './device-place.ts'
import { placeDrives } from './disk-place.ts'
import { diskParts } from './disks.ts'
import type { Emulator } from './emulator.ts'
import { filesystemParts } from './filesystems.ts'
import { type Fields, keyValue } from './key-value.ts'
import { familyOf } from './machine-type.ts'
import { atStart, device, netdev, object, type Part } from './parts.ts'
import type { GuestPaths } from './paths.ts'
import type { DiskImages } from './preflight.ts'
import { unsupported } from './unsupported.ts'

export interface DeviceOptions {
  readonly definition: CompleteDefinition
  readonly emulator: Emulator
  readonly paths: GuestPaths
  readonly images: DiskImages
}

export function deviceParts({ definition, paths, images }: DeviceOptions): Part[] {
  const { devices, os } = definition
  const family = familyOf(os.machine ?? 'q35')
  const place: Place = { family, paths, drives: placeDrives(devices, family) }
  const boot = bootIndexes(definition)
  return [
    ...devices.controllers.flatMap((controller) => controllerParts(controller, place)),
    ...impliedControllers(devices, place),
    ...devices.videos.flatMap((video, index) => videoParts(video, index, place)),
    ...devices.disks.flatMap((disk, index) =>
      diskParts(
        { disk, path: `devices.disks[${index}]`, bootindex: boot.get(disk), devices },
        images.get(disk.alias ?? disk.target),
        place,
      ),
    ),
    ...devices.filesystems.flatMap((one) => filesystemParts(one, place)),
    ...devices.interfaces.flatMap((one, index) => interfaceParts(one, index, boot.get(one), place)),
    ...devices.serials.flatMap((serial, index) => serialParts(serial, index, place)),
    ...devices.consoles.flatMap((console) =>
      console.target === 'virtio' ? consoleParts(console, place) : [],
    ),
    ...devices.channels.flatMap((channel) => channelParts(channel, place)),
    ...devices.inputs.flatMap((input) => inputParts(input, place)),
    ...devices.rngs.flatMap((rng) => rngParts(rng, place)),
    ...balloonParts(devices.memballoon, place),
    ...devices.graphics.flatMap((screen) => graphicsParts(screen, place)),
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
    if (kind === 'hd') return devices.disks.filter(({ device }) => device === 'disk' || device === 'lun')
    return devices.disks.filter(({ device }) => device === (kind === 'fd' ? 'floppy' : kind))
  })
  order.forEach((one, index) => void indexes.set(one, index + 1))
  return indexes
}

const cards = {
  virtio: 'virtio-net-pci',
  e1000: 'e1000',
  e1000e: 'e1000e',
  rtl8139: 'rtl8139',
  ne2k_pci: 'ne2k_pci',
}

function interfaceParts(one: Interface, index: number, bootindex: number | undefined, place: Place): Part[] {
  const hostSide = `host${one.alias ?? `net${index}`}`
  const isVirtio = (one.model ?? 'virtio') === 'virtio'
  if (one.mtu !== undefined && !isVirtio)
    throw unsupported(`devices.interfaces[${index}].mtu`, 'needs a virtio card')
  return [
    netdev('user', { id: hostSide }),
    device(cards[one.model ?? 'virtio'], {
      id: one.alias,
      netdev: hostSide,
      mac: one.mac,
      bootindex,
      host_mtu: one.mtu,
      // Without a boot from the network its program is not needed, and loading it takes time.
      romfile: bootindex === undefined ? '' : undefined,
      ...pci(one.address, place),
    }),
  ]
}

function graphicsParts({ socket, keymap, listens }: Graphics, { paths }: Place): Part[] {
  if (listens[0]?.type === 'none') return []
  const path = socket ?? listens[0]?.socket ?? paths.socket('vnc')
  return [
    atStart('-vnc', keyValue(`unix:${path.replaceAll(',', ',,')}`, {}), ...(keymap ? ['-k', keymap] : [])),
  ]
}

function inputParts({ type, bus, alias, address }: InputDevice, place: Place): Part[] {
  // A PC has both of them anyway.
  if (bus === 'ps2') {
    if (type === 'tablet')
      throw unsupported('devices.inputs', "a tablet cannot be on bus 'ps2'", "Use 'usb'.")
    return []
  }
  if (bus === 'virtio') return [device(`virtio-${type}-pci`, { id: alias, ...pci(address, place) })]
  return [device(`usb-${type === 'keyboard' ? 'kbd' : type}`, { id: alias })]
}

function videoParts(video: Video, index: number, place: Place): Part[] {
  const { model, vramKiB, heads, alias, address } = video
  const megabytes = vramKiB === undefined ? undefined : Math.max(1, 2 ** Math.ceil(Math.log2(vramKiB / 1024)))
  const fields: Fields = { id: alias, ...pci(address, place) }
  const isPc = place.family === 'q35' || place.family === 'pc'
  switch (model) {
    case 'none':
      return []
    case 'vga':
      return [device(index === 0 ? 'VGA' : 'secondary-vga', { ...fields, vgamem_mb: megabytes })]
    case 'virtio':
      return [
        device(index === 0 && isPc ? 'virtio-vga' : 'virtio-gpu-pci', { ...fields, max_outputs: heads }),
      ]
    case 'bochs':
      return [
        device('bochs-display', { ...fields, vgamem: vramKiB === undefined ? undefined : `${vramKiB}k` }),
      ]
    case 'cirrus':
      return [device('cirrus-vga', { ...fields, vgamem_mb: megabytes })]
    case 'qxl':
      return [
        device(index === 0 ? 'qxl-vga' : 'qxl', {
          ...fields,
          vram_size_mb: megabytes,
          max_outputs: heads,
        }),
      ]
    default:
      return [device('ramfb', { id: alias })]
  }
}

function rngParts(rng: Devices['rngs'][number], place: Place): Part[] {
  const id = `obj${rng.alias}`
  const backend =
    rng.backend === 'builtin'
      ? object('rng-builtin', { id })
      : object('rng-random', { id, filename: rng.source ?? '/dev/urandom' })
  return [
    backend,
    device('virtio-rng-pci', {
      id: rng.alias,
      rng: id,
      'max-bytes': rng.rateBytes,
      period: rng.rateBytes === undefined ? undefined : (rng.ratePeriodMs ?? 1000),
      ...pci(rng.address, place),
    }),
  ]
}

function balloonParts(balloon: Devices['memballoon'], place: Place): Part[] {
  if (!balloon || balloon.model === 'none') return []
  const { alias, autodeflate, freePageReporting, address } = balloon
  return [
    device('virtio-balloon-pci', {
      id: alias,
      'deflate-on-oom': autodeflate ? true : undefined,
      'free-page-reporting': freePageReporting ? true : undefined,
      ...pci(address, place),
    }),
  ]
}
