/** The devices of a definition with all that is chosen for them: buses, addresses of network cards, names. */
import { macAddress } from '../../../host/index.ts'
import {
  type CharacterSource,
  type Controller,
  type Devices,
  type Disk,
  type DomainDefinition,
  type InputDevice,
  type Video,
  VisorError,
} from '../../../model/index.ts'
import { familyOf, type MachineFamily } from '../board/machine-type.ts'
import { noDevice } from '../definition/unknown-name.ts'
import { unsupported } from '../definition/unsupported.ts'
import { checkDisks } from '../disks/disk-check.ts'
import { controllersNeeded } from '../disks/disk-place.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { checkDevices } from './check-devices.ts'
import { completeSmallDevices, needsUsb, smallDevices } from './complete-small-devices.ts'
import { completeScsi } from './host-scsi.ts'
import { assignPciAddresses, pciLayout } from './pci-addresses.ts'
import { completeSmartcards, readerOf } from './ports/smartcards.ts'
import { videoDriver } from './screens/graphics-parts.ts'
import { completeTpms } from './tpm.ts'

export interface Chosen {
  readonly uuid: string
  readonly machine: string
  readonly emulator: Emulator
  /** The machine runs: what has no place yet is plugged in. */
  readonly isRunning?: boolean | undefined
}

export function completeDevices(
  { devices }: DomainDefinition,
  { uuid, machine, emulator, isRunning }: Chosen,
): Devices {
  const family = familyOf(machine)
  const disks = devices.disks.map((disk) => ({ ...disk, bus: disk.bus ?? chooseBus(disk, family) }))
  const { serials, consoles } = completeConsoles(devices)
  const needsVideo = devices.graphics.length > 0 && devices.videos.length === 0
  const videos = needsVideo
    ? [{ model: isPc(family) ? ('vga' as const) : ('virtio' as const) }]
    : devices.videos
  checkVideos(videos, emulator, family)
  checkDisks({ disks }, family, emulator)
  const complete = {
    ...devices,
    emulator: emulator.path,
    disks: named(disks, (disk, index) => `${disk.bus}-disk${index}`),
    controllers: completeControllers({ ...devices, disks }, family),
    interfaces: named(
      devices.interfaces.map((one, index) => ({
        ...one,
        mac: one.mac ?? macAddress(uuid, index),
        model: one.model ?? ('virtio' as const),
      })),
      (_, index) => `net${index}`,
    ),
    filesystems: named(devices.filesystems, (_, index) => `fs${index}`),
    serials: named(serials, (_, index) => `serial${index}`),
    consoles: consoles.map((console, index) => ({
      ...console,
      alias:
        console.target === 'serial' ? (serials[0]?.alias ?? 'serial0') : (console.alias ?? `console${index}`),
    })),
    parallels: named(devices.parallels, (_, index) => `parallel${index}`),
    channels: named(devices.channels, (_, index) => `channel${index}`),
    inputs: named(
      devices.inputs.map((input) => ({
        ...input,
        bus: input.bus ?? inputBus(input.type, family),
      })),
      (_, index) => `input${index}`,
    ),
    videos: named(videos, (_, index) => `video${index}`),
    memballoon: {
      ...(devices.memballoon ?? { model: 'virtio' as const }),
      alias: devices.memballoon?.alias ?? 'balloon0',
    },
    tpms: completeTpms({ devices }, machine),
    memories: named(devices.memories, ({ model }, index) => `${model.replace('-', '')}${index}`),
    ...completeSmallDevices(
      {
        ...devices,
        hostdevs: completeScsi(devices),
        smartcards: completeSmartcards(devices.smartcards),
      },
      uuid,
    ),
    rngs: named(devices.rngs, (_, index) => `rng${index}`),
  } as Devices
  checkDevices(complete, emulator, family)
  const layout = pciLayout(family)
  return layout ? assignPciAddresses(complete, layout, isRunning) : complete
}

/** Those that are named, with their numbers, and those that devices need. */
function completeControllers(devices: Devices, family: MachineFamily): Controller[] {
  const { controllers, disks } = devices
  const has = (type: string, index?: number) =>
    controllers.some((one) => one.type === type && (index === undefined || (one.index ?? 0) === index))
  const missing = (type: 'sata' | 'scsi' | 'fdc') =>
    Array.from({ length: controllersNeeded(devices, type) }, (_, index) => index).filter(
      (index) => !has(type, index),
    )
  const usb =
    devices.inputs.some(({ bus, type }) => (bus ?? inputBus(type, family)) === 'usb') ||
    disks.some(({ bus }) => bus === 'usb') ||
    needsUsb(devices) ||
    devices.serials.some(({ target }) => target === 'usb-serial')
  const readers = completeSmartcards(devices.smartcards).map(readerOf)
  const serial = devices.channels.length > 0 || devices.consoles.some(({ target }) => target === 'virtio')
  const needed: Controller[] = [
    ...(usb && !has('usb') ? [{ type: 'usb' as const, model: 'qemu-xhci' }] : []),
    ...(serial && !has('virtio-serial') ? [{ type: 'virtio-serial' as const }] : []),
    ...readers.filter((index) => !has('ccid', index)).map((index) => ({ type: 'ccid' as const, index })),
    ...missing('scsi').map((index) => ({ type: 'scsi' as const, index, model: 'virtio-scsi' })),
    // The first one of a q35 is in its chip set.
    ...missing('sata')
      .filter((index) => index > 0 || family !== 'q35')
      .map((index) => ({ type: 'sata' as const, index })),
    ...(family === 'q35' ? missing('fdc').map((index) => ({ type: 'fdc' as const, index })) : []),
  ]
  const numbered = [...controllers, ...needed].map((one, at, all) => ({
    ...one,
    index: one.index ?? all.slice(0, at).filter(({ type }) => type === one.type).length,
  }))
  return named(numbered, ({ type, index }, at) => {
    const name = type === 'pci' ? `pci.${index}` : `${type}${index}`
    // Companions of a USB controller have its number.
    const isFirst = numbered.findIndex((one) => one.type === type && one.index === index) === at
    return isFirst ? name : `${name}-${at}`
  })
}

/** Each with a name in the hypervisor, of its own even where others have gone before. */
function named<T extends { alias?: string }>(
  items: readonly T[],
  name: (item: T, index: number) => string,
): T[] {
  const taken = new Set(items.map(({ alias }) => alias))
  return items.map((item, index) => {
    if (item.alias !== undefined) return { ...item }
    let [alias, next] = [name(item, index), index]
    while (taken.has(alias)) alias = name(item, ++next)
    taken.add(alias)
    return { ...item, alias }
  })
}

/** Machines made for virtualization have no drives, screens and keyboards of PCs. */
const isPc = (family: MachineFamily) => family === 'q35' || family === 'pc'

function inputBus(type: InputDevice['type'], family: MachineFamily): InputDevice['bus'] {
  if (type === 'evdev') return undefined
  if (type === 'passthrough') return 'virtio'
  return type === 'tablet' || !isPc(family) ? 'usb' : 'ps2'
}

function chooseBus({ device, target }: Disk, family: MachineFamily): NonNullable<Disk['bus']> {
  const internal = family === 'q35' ? 'sata' : family === 'pc' ? 'ide' : 'scsi'
  if (device === 'cdrom') return internal
  if (device === 'floppy') return 'fdc'
  if (device === 'lun') return 'scsi'
  if (target.startsWith('nvme')) return 'nvme'
  if (target.startsWith('hd')) return internal
  if (target.startsWith('sd')) return family === 'q35' ? 'sata' : 'scsi'
  return 'virtio'
}

/** The first console is the first serial port, as in libvirt: where one is, there are both. */
function completeConsoles({ serials, consoles }: Devices): Pick<Devices, 'serials' | 'consoles'> {
  const [first] = consoles
  const [port] = serials
  if (port && first?.target !== 'serial') {
    const mirror = { ...sourceOf(port), target: 'serial' as const, port: 0 }
    return { serials, consoles: [mirror, ...consoles] }
  }
  if (first?.target !== 'serial') return { serials, consoles }
  const source = sourceOf(port ?? first)
  return {
    serials: port ? serials : [{ ...source, port: 0 }],
    consoles: [{ ...source, target: 'serial', port: first.port ?? 0 }, ...consoles.slice(1)],
  }
}

/** The host side of a port, without what is of the port itself. */
function sourceOf(port: Devices['serials'][number] | Devices['consoles'][number]): CharacterSource {
  const {
    target: _,
    port: __,
    model: ___,
    alias: ____,
    address: _____,
    unknown: ______,
    ...source
  } = {
    model: undefined,
    ...port,
  }
  return source
}

function checkVideos(videos: readonly Video[], emulator: Emulator, family: MachineFamily): void {
  for (const [index, video] of videos.entries()) {
    const { model, heads = 1 } = video
    if (heads > 1 && model !== 'virtio' && model !== 'qxl')
      throw unsupported(`devices.videos[${index}].heads`, `'${model}' has one screen only`, "Use 'virtio'.")
    const device = videoDriver(video, index, family)
    if (device && !emulator.devices.includes(device))
      throw noDevice(`devices.videos[${index}].model`, device, emulator)
  }
}

/** Names that QEMU takes as ids, each once. */
export function checkAliases(devices: Devices): void {
  const seen = new Set<string>()
  const lists = [
    devices.disks,
    devices.controllers,
    devices.filesystems,
    devices.interfaces,
    devices.serials,
    devices.consoles.filter(({ target }) => target !== 'serial'),
    devices.parallels,
    devices.channels,
    devices.inputs,
    devices.videos,
    devices.rngs,
    devices.tpms,
    devices.memories,
    ...smallDevices(devices),
    devices.memballoon ? [devices.memballoon] : [],
  ]
  for (const { alias = '' } of lists.flat()) {
    if (!/^[a-z][\w.-]{0,60}$/iu.test(alias))
      throw new VisorError('invalid-definition', `The alias '${alias}' is no name that QEMU takes.`, {
        remedy: 'Begin it with a letter, and use letters, digits and _.- only; or leave it out.',
      })
    if (seen.has(alias))
      throw new VisorError('invalid-definition', `The alias '${alias}' is given to two devices.`)
    seen.add(alias)
  }
}
