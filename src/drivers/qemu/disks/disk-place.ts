/** Where disks sit on their controllers. Source: libvirt's "Domain XML format", addresses of type drive. */
import type { Devices, Disk } from '../../../model/index.ts'
import type { Fields } from '../definition/key-value.ts'
import { unsupported } from '../definition/unsupported.ts'

type DriveBus = 'sata' | 'ide' | 'scsi' | 'fdc'

/** How many disks a controller takes. */
export function roomOf(bus: DriveBus, model: string | undefined): number {
  if (bus === 'sata') return 6
  if (bus === 'ide') return 4
  if (bus === 'fdc') return 2
  // One of the sixteen numbers of a wide bus is the adapter's own; virtio has more than anybody uses.
  return isVirtioScsi(model) ? 256 : model === 'lsilogic' || model === undefined ? 7 : 15
}

export const isVirtioScsi = (model: string | undefined): boolean =>
  model === undefined || model === 'auto' || model.startsWith('virtio')

interface Spot {
  readonly controller: number
  /** Counted over the whole controller. */
  readonly number: number
}

/**
 * The bus and place of each disk that is not a PCI device. Places that the definition names are kept, the
 * others are given in order, on as many controllers as it takes.
 */
export function placeDrives(devices: Devices, family: string): Map<Disk, Fields> {
  const places = new Map<Disk, Fields>()
  for (const bus of ['sata', 'ide', 'scsi', 'fdc'] as const)
    for (const [disk, spot] of spotsOn(devices, bus))
      places.set(disk, fieldsOf(bus, disk, spot, modelOf(devices, bus, spot.controller), family))
  return places
}

/** How many controllers of a kind the disks need. */
export function controllersNeeded(devices: Devices, bus: DriveBus): number {
  const assigned = bus === 'scsi' ? devices.hostdevs.filter(({ type }) => type === 'scsi') : []
  return Math.max(
    0,
    ...[...spotsOn(devices, bus).values()].map(({ controller }) => controller + 1),
    ...assigned.map(({ address }) => Number(address?.controller ?? 0) + 1),
  )
}

function spotsOn(devices: Devices, bus: DriveBus): Map<Disk, Spot> {
  const spots = new Map<Disk, Spot>()
  const taken = new Map<string, Disk>()
  const disks = devices.disks.filter((disk) => disk.bus === bus)
  const isNamed = (disk: Disk) => disk.address?.type === 'drive'
  for (const disk of [...disks.filter(isNamed), ...disks.filter((one) => !isNamed(one))]) {
    const spot = isNamed(disk)
      ? namedSpot(disk, bus)
      : (letterSpot(disk, taken) ?? nextSpot(devices, bus, taken))
    const key = `${spot.controller}/${spot.number}`
    const path = `devices.disks[${devices.disks.indexOf(disk)}]`
    if (taken.has(key)) throw unsupported(`${path}.address`, `is where '${taken.get(key)?.target}' is`)
    const room = roomOf(bus, modelOf(devices, bus, spot.controller))
    if (bus !== 'scsi' && spot.number >= room)
      throw unsupported(`${path}.address`, `a controller of type '${bus}' has room for ${room} disks`)
    if ((bus === 'ide' || bus === 'fdc') && spot.controller > 0)
      throw unsupported(`${path}.bus`, `'${bus}' has room for ${room} disks`, "Use 'virtio'.")
    taken.set(key, disk)
    spots.set(disk, spot)
  }
  return spots
}

function namedSpot({ address }: Disk, bus: DriveBus): Spot {
  const { controller = '0', bus: channel = '0', target = '0', unit = '0' } = address ?? {}
  // Of SCSI each of channel, target and unit counts, and no more than that they differ.
  const numbers = { sata: 0, fdc: 0, ide: Number(channel) * 2, scsi: Number(channel) * 2 ** 24 }
  const inner = bus === 'scsi' ? Number(target) * 2 ** 14 : 0
  return { controller: Number(controller), number: numbers[bus] + inner + Number(unit) }
}

/** A cable of IDE has two drives: as in libvirt, hdc is the first of the second. */
function letterSpot({ bus, target }: Disk, taken: ReadonlyMap<string, Disk>): Spot | undefined {
  const number = bus === 'ide' ? ['hda', 'hdb', 'hdc', 'hdd'].indexOf(target) : -1
  return number < 0 || taken.has(`0/${number}`) ? undefined : { controller: 0, number }
}

function nextSpot(devices: Devices, bus: DriveBus, taken: ReadonlyMap<string, Disk>): Spot {
  for (let controller = 0; ; controller++) {
    const room = roomOf(bus, modelOf(devices, bus, controller))
    for (let number = 0; number < room; number++)
      if (!taken.has(`${controller}/${number}`)) return { controller, number }
  }
}

export function modelOf({ controllers }: Devices, type: string, index: number): string | undefined {
  return controllers.find((one) => one.type === type && (one.index ?? 0) === index)?.model
}

function fieldsOf(
  bus: DriveBus,
  { address }: Disk,
  { controller, number }: Spot,
  model: string | undefined,
  family: string,
): Fields {
  if (bus === 'fdc') return { unit: number }
  if (bus === 'ide') return { bus: `ide.${Math.floor(number / 2)}`, unit: number % 2 }
  // The first SATA controller of a q35 is in its chip set, and its ports are called so.
  if (bus === 'sata')
    return { bus: family === 'q35' && controller === 0 ? `ide.${number}` : `sata${controller}.${number}` }
  const { bus: channel = '0', target = '0', unit = String(number) } = address ?? {}
  const on = { bus: `scsi${controller}.0` }
  if (isVirtioScsi(model))
    return { ...on, channel: Number(channel), 'scsi-id': Number(target), lun: Number(unit) }
  if (Number(target) !== 0 && Number(unit) !== 0)
    throw unsupported('devices.disks', `a controller of model '${model}' has one disk for each target`)
  const id = Number(target) + Number(unit)
  // The adapter itself is number 7 of its bus.
  return { ...on, 'scsi-id': address?.type !== 'drive' && id >= 7 ? id + 1 : id }
}
