/** Sound cards, watchdogs and other single devices as parts of QEMU. */
import type { Devices } from '../../../model/index.ts'
import type { Fields } from '../definition/key-value.ts'
import { atStart, chardev, device, object, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { isAtLeast } from '../emulator/emulator.ts'
import { type Place, pci } from './device-place.ts'
import { scsiParts } from './host-scsi.ts'

type One<K extends keyof Devices> = Extract<Devices[K], readonly unknown[]>[number]

/** All of these devices of a machine. */
export function smallDeviceParts(devices: Devices, place: Place): Part[] {
  return [
    ...iommuParts(devices.iommu, place),
    ...devices.hubs.flatMap((hub) => [device('usb-hub', { id: hub.alias, ...usb(hub.address) })]),
    ...soundParts(devices, place),
    ...devices.watchdogs.flatMap((one, index) => watchdogParts(one, index, place)),
    ...devices.panics.flatMap((one, index) => panicParts(one, index, place)),
    ...devices.sharedMemories.flatMap((one, index) => sharedMemoryParts(one, index, place)),
    ...devices.cryptos.flatMap((one, index) => cryptoParts(one, index, place)),
    ...vsockParts(devices.vsock, place),
    ...devices.hostdevs.flatMap((one, index) =>
      one.type === 'scsi'
        ? scsiParts(one, `devices.hostdevs[${index}]`, devices)
        : hostDeviceParts(one, index, place),
    ),
  ]
}

/** Where on the USB bus, when the definition says so. */
export function usb(address: One<'hubs'>['address']): Fields {
  if (address?.type !== 'usb') return {}
  return { bus: `usb${Number(address.bus ?? 0)}.0`, port: address.port }
}

function soundParts({ sounds, audios, graphics }: Devices, place: Place): Part[] {
  if (sounds.length === 0) return []
  // As in libvirt: where nothing is named, SPICE has the sound, or nobody.
  const first = audios[0]?.id ?? 1
  const implied = {
    id: 1,
    type: graphics.some(({ type }) => type === 'spice') ? 'spice' : 'none',
    path: undefined,
  }
  const backends = audios.length > 0 ? audios : [implied]
  return [
    ...backends.map(({ id, type, path }) =>
      atStart(
        '-audiodev',
        JSON.stringify({ id: `audio${id}`, driver: type === 'file' ? 'wav' : type, path }),
      ),
    ),
    ...sounds.flatMap((sound, index) => {
      if (!backends.some(({ id }) => id === (sound.audio ?? first)))
        throw unsupported(`devices.sounds[${index}].audio`, `there is no audio device ${sound.audio}`)
      return soundCard(sound, index, `audio${sound.audio ?? first}`, place)
    }),
  ]
}

const cards: Readonly<Record<string, string>> = {
  ich6: 'intel-hda',
  ich9: 'ich9-intel-hda',
  ac97: 'AC97',
  es1370: 'ES1370',
  sb16: 'sb16',
  usb: 'usb-audio',
  virtio: 'virtio-sound-pci',
}

function soundCard(sound: One<'sounds'>, index: number, audiodev: string, place: Place): Part[] {
  const { model, alias, address } = sound
  const driver = cards[model]
  if (driver === undefined) throw unsupported(`devices.sounds[${index}].model`, `'${model}' cannot be had`)
  const where = model === 'usb' ? usb(address) : model === 'sb16' ? {} : pci(address, place)
  if (model !== 'ich6' && model !== 'ich9') return [device(driver, { id: alias, audiodev, ...where })]
  const codecs = sound.codecs.length > 0 ? sound.codecs : [{ type: 'duplex' }]
  return [
    device(driver, { id: alias, ...where }),
    ...codecs.map(({ type }, cad) =>
      device(`hda-${type}`, { id: `${alias}-codec${cad}`, bus: `${alias}.0`, cad, audiodev }),
    ),
  ]
}

function watchdogParts(
  { model, action, alias, address }: One<'watchdogs'>,
  index: number,
  place: Place,
): Part[] {
  // There is one action for all of them.
  const todo = index === 0 ? [atStart('-action', `watchdog=${action === 'dump' ? 'pause' : action}`)] : []
  switch (model) {
    case 'itco':
      if (place.family !== 'q35')
        throw unsupported(
          `devices.watchdogs[${index}].model`,
          "'itco' is on q35 machines only",
          "Use 'i6300esb'.",
        )
      return [atStart('-global', 'ICH9-LPC.noreboot=off'), ...todo]
    case 'i6300esb':
      return [device('i6300esb', { id: alias, ...pci(address, place) }), ...todo]
    case 'ib700':
      return [device('ib700', { id: alias }), ...todo]
    default:
      throw unsupported(`devices.watchdogs[${index}].model`, `'${model}' is on s390x machines only`)
  }
}

function panicParts({ model = 'isa', alias, address }: One<'panics'>, index: number, place: Place): Part[] {
  if (model === 'pvpanic') return [device('pvpanic-pci', { id: alias, ...pci(address, place) })]
  if (model === 'isa' && (place.family === 'q35' || place.family === 'pc'))
    return [device('pvpanic', { id: alias })]
  // A flag of the processors, see processorArguments.
  if (model === 'hyperv' && (place.family === 'q35' || place.family === 'pc')) {
    if (address !== undefined)
      throw unsupported(`devices.panics[${index}].address`, "means nothing for model 'hyperv'")
    return []
  }
  throw unsupported(`devices.panics[${index}].model`, `'${model}' is not on this machine`, "Use 'pvpanic'.")
}

function sharedMemoryParts(one: One<'sharedMemories'>, index: number, place: Place): Part[] {
  const { name, role, model, sizeKiB = 4096, server, vectors, ioeventfd, alias, address } = one
  const id = `shmmem-${alias}`
  const master = role === undefined ? undefined : role === 'master' ? 'on' : 'off'
  const path = `devices.sharedMemories[${index}]`
  if (model === 'ivshmem')
    throw unsupported(`${path}.model`, 'is gone from QEMU', "Use 'ivshmem-plain' or 'ivshmem-doorbell'.")
  if (model === 'ivshmem-doorbell') {
    if (server === undefined) throw unsupported(path, "needs the socket of its server: 'server'")
    if (one.sizeKiB !== undefined) throw unsupported(`${path}.sizeKiB`, 'is what its server says')
    const fields = { id: alias, chardev: `char${alias}`, master, vectors, ioeventfd }
    return [
      chardev('socket', { id: `char${alias}`, path: server }),
      device('ivshmem-doorbell', { ...fields, ...pci(address, place) }),
    ]
  }
  if (server !== undefined || vectors !== undefined || ioeventfd !== undefined)
    throw unsupported(path, "a server is for 'ivshmem-doorbell'")
  return [
    object('memory-backend-file', { id, 'mem-path': `/dev/shm/${name}`, size: sizeKiB * 1024, share: true }),
    device('ivshmem-plain', { id: alias, memdev: id, master, ...pci(address, place) }),
  ]
}

function cryptoParts(
  { alias, backend, queues, address }: One<'cryptos'>,
  index: number,
  place: Place,
): Part[] {
  const id = `obj${alias}`
  const path = `devices.cryptos[${index}]`
  if (backend === 'lkcf' && !isAtLeast(place.version ?? '', '8.0'))
    throw unsupported(`${path}.backend`, `QEMU ${place.version} has no 'lkcf'`, "Use 'builtin'.")
  if (backend === 'builtin' && queues !== undefined && queues > 1)
    throw unsupported(`${path}.queues`, "'builtin' has one queue")
  return [
    object(`cryptodev-backend-${backend}`, { id, queues }),
    device('virtio-crypto-pci', { id: alias, cryptodev: id, ...pci(address, place) }),
  ]
}

function vsockParts(vsock: Devices['vsock'], place: Place): Part[] {
  if (!vsock) return []
  const suffix = vsock.model === 'virtio' ? '' : vsock.model.slice('virtio'.length)
  return [
    device(`vhost-vsock-pci${suffix}`, {
      id: vsock.alias,
      'guest-cid': vsock.cid,
      ...pci(vsock.address, place),
    }),
  ]
}

function iommuParts(iommu: Devices['iommu'], place: Place): Part[] {
  if (!iommu) return []
  const { model, interruptRemapping, cachingMode, eim, iotlb, addressBits, address } = iommu
  const settings = { interruptRemapping, cachingMode, eim, iotlb, addressBits }
  for (const [key, value] of Object.entries(settings))
    if (value !== undefined && model !== 'intel')
      throw unsupported(`devices.iommu.${key}`, `means nothing for model '${model}'`)
  if (model === 'virtio') return [device('virtio-iommu-pci', { id: iommu.alias, ...pci(address, place) })]
  // A setting of the machine; it is there on Arm's only, see machineArguments and checkBoard.
  if (model === 'smmuv3' && place.family === 'virt') return []
  if (model !== 'intel' || place.family !== 'q35')
    throw unsupported('devices.iommu.model', `'${model}' is not on this machine`)
  const onOff = (value: boolean | undefined) => (value === undefined ? undefined : value ? 'on' : 'off')
  return [
    device('intel-iommu', {
      id: iommu.alias,
      intremap: onOff(interruptRemapping),
      'caching-mode': cachingMode,
      eim: onOff(eim),
      'device-iotlb': iotlb,
      'aw-bits': addressBits,
    }),
  ]
}

function hostDeviceParts(one: One<'hostdevs'>, index: number, place: Place): Part[] {
  const { type, alias, bootOrder: bootindex, managed } = one
  const path = `devices.hostdevs[${index}]`
  if (type === 'usb') {
    if (one.vendor === undefined && one.hostBus === undefined)
      throw unsupported(path, 'needs a vendor and product, or a bus and device')
    return [
      device('usb-host', {
        id: alias,
        vendorid: one.vendor === undefined ? undefined : Number(one.vendor),
        productid: one.product === undefined ? undefined : Number(one.product),
        hostbus: one.hostBus === undefined ? undefined : Number(one.hostBus),
        hostaddr: one.hostDevice === undefined ? undefined : Number(one.hostDevice),
        bootindex,
        ...usb(one.address),
      }),
    ]
  }
  if (type === 'mdev') return mediatedParts(one, path, place)
  if (type !== 'pci')
    throw unsupported(`${path}.type`, `'${type}' cannot be had`, "Use 'usb', 'pci', 'scsi' or 'mdev'.")
  if (managed)
    throw unsupported(
      `${path}.managed`,
      'visor does not take devices from their drivers',
      "Bind it to vfio-pci yourself ('driverctl set-override'), and leave managed out.",
    )
  return [device('vfio-pci', { id: alias, host: hostPciAddress(one), bootindex, ...pci(one.address, place) })]
}

/** A part of a device that its driver made for guests, such as a virtual graphics card. */
function mediatedParts(
  { uuid, display, ramfb, ...one }: One<'hostdevs'>,
  path: string,
  place: Place,
): Part[] {
  if (uuid === undefined) throw unsupported(`${path}.uuid`, "is needed for a device of type 'mdev'")
  if (ramfb && !display) throw unsupported(`${path}.ramfb`, "needs 'display'")
  const driver = ramfb ? 'vfio-pci-nohotplug' : 'vfio-pci'
  const onOff = (value: boolean | undefined) => (value === undefined ? undefined : value ? 'on' : 'off')
  return [
    device(driver, {
      id: one.alias,
      sysfsdev: `/sys/bus/mdev/devices/${uuid}`,
      display: onOff(display),
      ramfb: ramfb ? true : undefined,
      bootindex: one.bootOrder,
      ...pci(one.address, place),
    }),
  ]
}

/** `0000:03:00.0`, as the kernel names it. */
export function hostPciAddress(one: One<'hostdevs'>): string {
  const hex = (value = '0', digits = 2) => Number(value).toString(16).padStart(digits, '0')
  const { hostDomain, hostBus, hostSlot, hostFunction } = one
  return `${hex(hostDomain, 4)}:${hex(hostBus)}:${hex(hostSlot)}.${hex(hostFunction, 1)}`
}
