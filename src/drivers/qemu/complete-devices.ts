/** The devices of a definition with all that is chosen for them: buses, addresses of network cards, names. */
import { createHash } from 'node:crypto'
import {
  type Controller,
  type Devices,
  type Disk,
  type DomainDefinition,
  VisorError,
} from '../../model/index.ts'
import type { Emulator } from './emulator.ts'
import { familyOf, type MachineFamily } from './machine-type.ts'
import { assignPciAddresses, pciLayout } from './pci-addresses.ts'
import { completeTpms } from './tpm.ts'
import { unsupported } from './unsupported.ts'

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
  checkDisks(disks, family)
  const complete = {
    ...devices,
    emulator: emulator.path,
    disks: named(disks, (disk, index) =>
      disk.bus === 'virtio' ? `virtio-disk${index}` : `${disk.bus}${index}`,
    ),
    controllers: completeControllers(devices, disks, family),
    interfaces: named(
      devices.interfaces.map((one, index) => ({
        ...one,
        mac: one.mac ?? macAddress(uuid, index),
        model: one.model ?? ('virtio' as const),
      })),
      (_, index) => `net${index}`,
    ),
    serials: named(serials, (_, index) => `serial${index}`),
    consoles: consoles.map((console, index) => ({
      ...console,
      alias:
        console.target === 'serial' ? (serials[0]?.alias ?? 'serial0') : (console.alias ?? `console${index}`),
    })),
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
    rngs: named(devices.rngs, (_, index) => `rng${index}`),
  } as Devices
  const layout = pciLayout(family)
  return layout ? assignPciAddresses(complete, layout, isRunning) : complete
}

/** Those that are named, with their numbers, and those that devices need. */
function completeControllers(
  { controllers, ...devices }: Devices,
  disks: readonly Disk[],
  family: MachineFamily,
): Controller[] {
  const has = (type: string) => controllers.some((one) => one.type === type)
  const usb =
    devices.inputs.some(({ bus, type }) => (bus ?? inputBus(type, family)) === 'usb') ||
    disks.some(({ bus }) => bus === 'usb') ||
    devices.serials.some(({ target }) => target === 'usb-serial')
  const serial = devices.channels.length > 0 || devices.consoles.some(({ target }) => target === 'virtio')
  const needed: Controller[] = [
    ...(usb && !has('usb') ? [{ type: 'usb' as const, model: 'qemu-xhci' }] : []),
    ...(serial && !has('virtio-serial') ? [{ type: 'virtio-serial' as const }] : []),
    ...(disks.some(({ bus }) => bus === 'scsi') && !has('scsi')
      ? [{ type: 'scsi' as const, model: 'virtio-scsi' }]
      : []),
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

const inputBus = (type: string, family: MachineFamily) => (type === 'tablet' || !isPc(family) ? 'usb' : 'ps2')

function chooseBus({ device, target }: Disk, family: MachineFamily): NonNullable<Disk['bus']> {
  const internal = family === 'q35' ? 'sata' : family === 'pc' ? 'ide' : 'scsi'
  if (device === 'cdrom') return internal
  if (target.startsWith('hd')) return internal
  if (target.startsWith('sd')) return family === 'q35' ? 'sata' : 'scsi'
  return 'virtio'
}

/** The first console is the first serial port, as in libvirt: where one is, there are both. */
function completeConsoles({ serials, consoles }: Devices): Pick<Devices, 'serials' | 'consoles'> {
  const [first] = consoles
  const [port] = serials
  if (port && first?.target !== 'serial') {
    const { type, mode, path } = port
    const mirror = {
      type,
      ...(mode ? { mode } : {}),
      ...(path ? { path } : {}),
      target: 'serial' as const,
      port: 0,
    }
    return { serials, consoles: [mirror, ...consoles] }
  }
  if (first?.target !== 'serial') return { serials, consoles }
  const { type, mode, path } = port ?? first
  const source = { type, ...(mode ? { mode } : {}), ...(path ? { path } : {}) }
  return {
    serials: port ? serials : [{ ...source, port: 0 }],
    consoles: [{ ...source, target: 'serial', port: first.port ?? 0 }, ...consoles.slice(1)],
  }
}

/** An address that stays the same when the definition is applied again; 52:54:00 is that of QEMU's cards. */
function macAddress(uuid: string, index: number): string {
  const hash = createHash('sha256').update(`${uuid}/${index}`).digest()
  return `52:54:00:${[...hash.subarray(0, 3)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`
}

function checkDisks(disks: readonly Disk[], family: MachineFamily): void {
  for (const [index, disk] of disks.entries()) {
    const path = `devices.disks[${index}]`
    if (disk.io === 'native' && disk.cache !== 'none' && disk.cache !== 'directsync')
      throw unsupported(`${path}.io`, "'native' needs the cache mode 'none' or 'directsync'")
    if (disk.bus === 'ide' && family === 'q35')
      throw unsupported(`${path}.bus`, "'ide' is not on a q35 machine; use 'sata', or the machine type 'pc'")
    if (disk.bus === 'sata' && family === 'pc')
      throw unsupported(`${path}.bus`, "'sata' is not on a pc machine; use 'ide', or the machine type 'q35'")
    if (disk.device === 'cdrom' && disk.type === 'block')
      throw unsupported(`${path}.type`, 'a CD-ROM can only have a file')
    if (disk.serial !== undefined && disk.serial.length > 36)
      throw unsupported(`${path}.serial`, 'can have at most 36 characters')
  }
}

const videoDevices = {
  virtio: 'virtio-vga',
  bochs: 'bochs-display',
  cirrus: 'cirrus-vga',
  qxl: 'qxl-vga',
  ramfb: 'ramfb',
}

function checkVideos(
  videos: readonly { readonly model: string; readonly heads?: number }[],
  emulator: Emulator,
  family: MachineFamily,
): void {
  for (const [index, { model, heads = 1 }] of videos.entries()) {
    if (heads > 1 && model !== 'virtio' && model !== 'qxl')
      throw unsupported(`devices.videos[${index}].heads`, `'${model}' has one screen only`, "Use 'virtio'.")
    const device =
      model === 'virtio' && !isPc(family)
        ? 'virtio-gpu-pci'
        : videoDevices[model as keyof typeof videoDevices]
    if (device && !emulator.devices.includes(device))
      throw unsupported(`devices.videos[${index}].model`, `${emulator.path} has no device '${device}'`)
  }
}

/** Names that QEMU takes as ids, each once. */
export function checkAliases(devices: Devices): void {
  const seen = new Set<string>()
  const lists = [
    devices.disks,
    devices.controllers,
    devices.interfaces,
    devices.serials,
    devices.consoles.filter(({ target }) => target !== 'serial'),
    devices.channels,
    devices.inputs,
    devices.videos,
    devices.rngs,
    devices.tpms,
    devices.memories,
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
