/** The devices of a machine as parts of QEMU, in the order in which they get their places on the buses. */
import type { Devices, Disk, Interface } from '../../../model/index.ts'
import { familyOf } from '../board/machine-type.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { device, type Part } from '../definition/parts.ts'
import { placeDrives } from '../disks/disk-place.ts'
import { diskParts } from '../disks/disks.ts'
import { type Emulator, isAtLeast } from '../emulator/emulator.ts'
import type { DiskImages } from '../machine/preflight.ts'
import { interfaceParts } from '../network/network-parts.ts'
import { tapDescriptors } from '../network/taps.ts'
import type { GuestPaths } from '../paths.ts'
import { controllerParts, impliedControllers } from './controllers.ts'
import { type Place, pci } from './device-place.ts'
import { inputParts } from './inputs.ts'
import { channelParts, consoleParts, parallelParts, serialParts } from './ports/character-devices.ts'
import { redirectionParts } from './ports/redirection.ts'
import { smartcardParts } from './ports/smartcards.ts'
import { rngParts } from './random.ts'
import { graphicsParts, videoParts } from './screens/graphics-parts.ts'
import { filesystemParts } from './shares/filesystems.ts'
import { smallDeviceParts } from './small-device-parts.ts'

export interface DeviceOptions {
  readonly definition: CompleteDefinition
  readonly emulator: Emulator
  readonly paths: GuestPaths
  readonly images: DiskImages
}

export function deviceParts({ definition, emulator, paths, images }: DeviceOptions): Part[] {
  const { devices, os } = definition
  const family = familyOf(os.machine ?? 'q35')
  const place: Place = {
    family,
    paths,
    version: emulator.version,
    queues: queuesFor(definition),
    drives: placeDrives(devices, family),
    taps: tapDescriptors(definition),
  }
  const boot = bootIndexes(definition)
  return [
    // Readers of cards are on USB themselves.
    ...[...devices.controllers]
      .sort((one, other) => Number(one.type === 'ccid') - Number(other.type === 'ccid'))
      .flatMap((controller) => controllerParts(controller, place)),
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
    ...devices.smartcards.flatMap((one, index) => smartcardParts(one, index, place)),
    ...devices.serials.flatMap((serial, index) => serialParts(serial, index, place)),
    ...devices.parallels.flatMap((one, index) => parallelParts(one, index, place)),
    ...devices.consoles.flatMap((console) =>
      console.target === 'virtio' ? consoleParts(console, place) : [],
    ),
    ...devices.channels.flatMap((channel) => channelParts(channel, place)),
    ...devices.inputs.flatMap((input, index) => inputParts(input, index, place)),
    ...devices.rngs.flatMap((rng, index) => rngParts(rng, index, place)),
    ...balloonParts(devices.memballoon, place),
    ...redirectionParts(devices, place),
    ...smallDeviceParts(devices, place),
    ...devices.graphics.flatMap((screen, index) => graphicsParts(screen, index, place)),
  ]
}

/**
 * QEMU takes as many as there are processors when it starts: with those that are plugged in later it would be
 * another machine, which could not read what this one saved. Machine types before 5.2 have one.
 */
function queuesFor({ vcpus, os }: CompleteDefinition): number | undefined {
  const version = /-(\d+\.\d+)$/u.exec(os.machine ?? '')?.[1]
  return vcpus > 1 && (version === undefined || isAtLeast(version, '5.2')) ? vcpus : undefined
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
