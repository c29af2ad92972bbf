/**
 * Gives PCI devices their places, once, when a domain is defined: what is plugged in or out later never moves
 * another device, so that saved states fit and guests find their cards where they were.
 *
 *   pcie.0 (q35, virt)   slot 0 the bridge of the host, 1 the first screen, 2 and up root ports, eight to a slot,
 *                        the rest for devices that are never unplugged
 *   root port            one device, which can be unplugged: disks, network cards, controllers of disks
 *   pci.0 (pc)           slot 0 and 1 the chip set, 2 the first screen, the rest for all; all can be unplugged
 *
 * A few root ports stay free, for what is plugged in later. Source: QEMU's docs/pcie.txt, libvirt's
 * pci-addresses, whose habits these are.
 */
import { type Controller, type Devices, type Disk, VisorError } from '../../../model/index.ts'
import type { MachineFamily } from '../board/machine-type.ts'
import { unsupported } from '../definition/unsupported.ts'

type Address = NonNullable<Disk['address']>

export interface PciLayout {
  readonly root: 'pcie' | 'pci'
  /** Functions of the root bus that the chip set has: slot and function. */
  readonly taken: readonly (readonly [slot: number, unit: number])[]
  /** Slot of the first graphics card. */
  readonly screen?: number
}

/** Where things are on each kind of machine; undefined for one without PCI. */
export function pciLayout(family: MachineFamily): PciLayout | undefined {
  if (family === 'q35')
    return { root: 'pcie', taken: [[0, 0], ...[0, 2, 3].map((unit) => [0x1f, unit] as const)], screen: 1 }
  if (family === 'pc')
    return { root: 'pci', taken: [[0, 0], ...[0, 1, 3].map((unit) => [1, unit] as const)], screen: 2 }
  // Both have a PCI Express root of their own kind, with nothing but the bridge on it.
  if (family === 'virt' || family === 'microvm') return { root: 'pcie', taken: [[0, 0]], screen: 1 }
  return undefined
}

/** How many root ports stay free. */
const sparePorts = 2
const firstPortSlot = 2
const lastSlot = 0x1f

interface Device {
  /** For messages: `devices.disks[0]`. */
  readonly path: string
  readonly alias: string
  /** On PCI Express, whether it gets a root port to itself. */
  readonly isPluggable: boolean
  readonly address: Address | undefined
  place(address: Address): void
}

/**
 * The devices with an address for each that is on PCI, and the root ports that takes. Given addresses stay.
 * With `isRunning`, what has no address yet is plugged in later, and no port is added: none can be plugged in.
 */
export function assignPciAddresses(given: Devices, layout: PciLayout, isRunning = false): Devices {
  const devices: Mutable = structuredClone(given)
  const map = slotMap(layout)
  addControllersOfBuses(devices, layout)
  const all = pciDevices(devices, layout)
  for (const device of all) if (device.address) map.keep(device, device.address)
  const bridges = devices.controllers.filter(isBridge)
  for (const bridge of bridges) if (bridge.address) map.keepBridge(bridge, bridge.address)
  for (const bridge of bridges) bridge.address ??= map.placeBridge(bridge)
  for (const device of all)
    if (!device.address) device.place(choosePlace(device, devices, map, { ...layout, isRunning }))
  if (layout.root === 'pcie' && !isRunning) while (map.freePorts().length < sparePorts) addPort(devices, map)
  return devices as Devices
}

function choosePlace(
  device: Device,
  devices: Mutable,
  map: SlotMap,
  { root, screen, isRunning }: PciLayout & { readonly isRunning: boolean },
): Address {
  const isScreen = device.path === 'devices.videos[0]' && screen !== undefined
  if (isScreen && map.isFree(0, screen)) return map.take(0, screen, device.alias)
  if (root !== 'pcie' || !(device.isPluggable || isRunning)) return map.takeSlot(device)
  const [free] = map.freePorts()
  if (free === undefined && isRunning) throw noPort(device)
  return map.take(free ?? addPort(devices, map), 0, device.alias)
}

type Mutable = { -readonly [K in keyof Devices]: Devices[K] }

const isBridge = ({ type, model, index = 0 }: Controller): boolean =>
  type === 'pci' && index > 0 && model !== 'pcie-root' && model !== 'pci-root'

/** What definitions mean by naming a bus: a port, or on old machines a bridge, where it is not described. */
function addControllersOfBuses(devices: Mutable, layout: PciLayout): void {
  const { root } = layout
  const named = pciDevices(devices, layout).map(({ address }) => Number(address?.bus ?? 0))
  const highest = Math.max(0, ...named, ...devices.controllers.filter(isBridge).map(({ index = 0 }) => index))
  for (let index = 1; index <= highest; index++)
    if (!devices.controllers.some((one) => isBridge(one) && one.index === index))
      addController(devices, root === 'pcie' ? 'pcie-root-port' : 'pci-bridge', index)
}

function addController(devices: Mutable, model: string, index: number): Controller {
  const controller = { type: 'pci' as const, index, model, alias: `pci.${index}` }
  devices.controllers = [...devices.controllers, controller]
  return controller
}

function addPort(devices: Mutable, map: SlotMap): number {
  const index = 1 + Math.max(0, ...devices.controllers.filter(isBridge).map((one) => one.index ?? 0))
  const port = addController(devices, 'pcie-root-port', index)
  port.address = map.placeBridge(port)
  return index
}

/** Everything on PCI but bridges, in the order in which QEMU is told of it. */
function pciDevices(devices: Mutable, { root }: PciLayout): Device[] {
  const found: Device[] = []
  const collect = <T extends { address?: Address; alias?: string }>(
    kind: string,
    items: readonly T[],
    isPci: (item: T) => boolean,
    isPluggable: boolean,
  ) => {
    for (const [index, item] of items.entries()) {
      if (!isPci(item) || (item.address && item.address.type !== 'pci')) continue
      found.push({
        path: `devices.${kind}[${index}]`,
        alias: item.alias ?? '',
        isPluggable,
        get address() {
          return item.address
        },
        place(address) {
          item.address = address
        },
      })
    }
  }
  collect('controllers', devices.controllers, (one) => isPciController(one, root), false)
  collect('videos', devices.videos, ({ model }) => model !== 'none' && model !== 'ramfb', false)
  collect('disks', devices.disks, (disk) => disk.bus === 'virtio' || isOwnNvme(disk, devices), true)
  collect('filesystems', devices.filesystems, ({ driver }) => driver === 'virtiofs', true)
  collect('filesystems', devices.filesystems, ({ driver }) => driver !== 'virtiofs', false)
  collect('interfaces', devices.interfaces, ({ model }) => model !== 'usb-net', true)
  collect('serials', devices.serials, ({ target, model }) => (target ?? model) === 'pci-serial', false)
  collect('inputs', devices.inputs, ({ bus }) => bus === 'virtio', false)
  collect('rngs', devices.rngs, () => true, false)
  collect('memories', devices.memories, ({ model }) => model.startsWith('virtio'), false)
  collect('sounds', devices.sounds, ({ model }) => !['usb', 'sb16', 'pcspk'].includes(model), false)
  collect('watchdogs', devices.watchdogs, ({ model }) => model === 'i6300esb', false)
  collect('panics', devices.panics, ({ model }) => model === 'pvpanic', false)
  collect('sharedMemories', devices.sharedMemories, () => true, true)
  collect('cryptos', devices.cryptos, () => true, false)
  collect('hostdevs', devices.hostdevs, ({ type }) => type === 'pci' || type === 'mdev', true)
  if (devices.vsock) collect('vsock', [devices.vsock], () => true, false)
  if (devices.iommu?.model === 'virtio') collect('iommu', [devices.iommu], () => true, false)
  const balloon = devices.memballoon
  if (balloon && balloon.model !== 'none') collect('memballoon', [balloon], () => true, false)
  return found
}

/** Without a controller that the definition names, an NVMe disk is one itself. */
function isOwnNvme({ bus, address }: Disk, { controllers }: Mutable): boolean {
  const controller = Number(address?.controller ?? 0)
  return bus === 'nvme' && !controllers.some(({ type, index = 0 }) => type === 'nvme' && index === controller)
}

/** Of the chip set are the first of its own kinds. */
function isPciController({ type, model, index = 0 }: Controller, root: PciLayout['root']): boolean {
  if (type === 'usb') return model !== 'none'
  if (type === 'ide' || (type === 'sata' && root === 'pcie')) return index > 0
  return type === 'scsi' || type === 'virtio-serial' || type === 'sata' || type === 'nvme'
}

/** Who sits where. */
interface SlotMap {
  isFree(bus: number, slot: number): boolean
  take(bus: number, slot: number, alias: string, unit?: number): Address
  /** Notes a given place. Fails when another is there. */
  keep(device: Pick<Device, 'path' | 'alias'>, address: Address): void
  /** As `keep`, for what has a bus of its own. */
  keepBridge(controller: Controller, address: Address): void
  placeBridge(controller: Controller): Address
  takeSlot(device: Pick<Device, 'path' | 'alias'>): Address
  /** Buses of the root ports without a device. */
  freePorts(): number[]
}

function slotMap({ root, taken, screen }: PciLayout): SlotMap {
  /** By bus, slot and function. */
  const owners = new Map<string, string>(taken.map(([slot, unit]) => [key(0, slot, unit), 'the chip set']))
  const used = new Set<string>(taken.map(([slot]) => key(0, slot)))
  const buses = new Map<number, 'port' | 'bridge'>()
  let nextPort = firstPortSlot * 8

  function own(bus: number, slot: number, unit: number, alias: string): Address {
    owners.set(key(bus, slot, unit), alias)
    used.add(key(bus, slot))
    return address(bus, slot, unit)
  }

  const map: SlotMap = {
    isFree: (bus, slot) => !used.has(key(bus, slot)),
    take: (bus, slot, alias, unit = 0) => own(bus, slot, unit, alias),
    keep({ path, alias }, given) {
      const [bus, slot, unit] = [given.bus, given.slot, given.function].map((part) => Number(part ?? 0))
      const place = [bus ?? 0, slot ?? 0, unit ?? 0] as const
      const other = owners.get(key(...place))
      if (other !== undefined)
        throw unsupported(
          `${path}.address`,
          `'${alias}' is where '${other}' is`,
          'Give it another place, or none.',
        )
      own(...place, alias)
    },
    keepBridge({ index = 0, model }, given) {
      map.keep({ path: 'devices.controllers', alias: `pci.${index}` }, given)
      buses.set(index, model === 'pcie-root-port' ? 'port' : 'bridge')
    },
    placeBridge({ index = 0, model }) {
      const alias = `pci.${index}`
      buses.set(index, model === 'pcie-root-port' ? 'port' : 'bridge')
      if (model !== 'pcie-root-port') return map.takeSlot({ path: 'devices.controllers', alias })
      // Eight ports share a slot, which must be theirs alone.
      for (; nextPort < (lastSlot + 1) * 8; nextPort++) {
        const [slot, unit] = [Math.floor(nextPort / 8), nextPort % 8]
        const isOurs = unit > 0 && owners.get(key(0, slot, 0))?.startsWith('pci.')
        if (owners.has(key(0, slot, unit)) || !(isOurs || map.isFree(0, slot))) continue
        nextPort++
        const at = own(0, slot, unit, alias)
        return unit === 0 ? { ...at, multifunction: true } : at
      }
      throw full('devices.controllers', alias)
    },
    takeSlot({ path, alias }) {
      // From the end on PCI Express, where ports come from the front.
      const slots = Array.from({ length: lastSlot + 1 }, (_, slot) => slot)
      const wanted = root === 'pcie' ? slots.toReversed() : slots
      const free = wanted.find((slot) => slot !== screen && map.isFree(0, slot))
      if (free !== undefined) return own(0, free, 0, alias)
      for (const [bus, kind] of buses) {
        const slot = slots.find((one) => one > 0 && map.isFree(bus, one))
        if (kind === 'bridge' && slot !== undefined) return own(bus, slot, 0, alias)
      }
      throw full(path, alias)
    },
    freePorts: () =>
      [...buses].flatMap(([bus, kind]) => (kind === 'port' && map.isFree(bus, 0) ? [bus] : [])),
  }
  return map
}

const key = (...place: number[]): string => place.join(':')

function noPort({ path, alias }: Device): VisorError {
  return new VisorError('invalid-state', `There is no free port to plug '${alias}' in.`, {
    path,
    remedy:
      "Unplug something, or change it for the next start only (config): then there are free ports again. More come with controllers of type 'pci', model 'pcie-root-port'.",
  })
}

function full(path: string, alias: string): VisorError {
  return unsupported(
    path,
    `there is no PCI slot left for '${alias}'`,
    'Use fewer devices, or add a PCI bridge.',
  )
}

/** As libvirt writes it. */
function address(bus: number, slot: number, unit = 0): Address {
  const hex = (value: number, digits: number) => `0x${value.toString(16).padStart(digits, '0')}`
  return { type: 'pci', domain: '0x0000', bus: hex(bus, 2), slot: hex(slot, 2), function: hex(unit, 1) }
}
