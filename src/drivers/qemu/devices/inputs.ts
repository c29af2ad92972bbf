/** Keyboards, mice and tablets as parts of QEMU. Source: "-object input-linux" in QEMU's qapi/qom.json. */
import type { InputDevice } from '../../../model/index.ts'
import { device, object, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Place, pci } from './device-place.ts'
import { usb } from './small-device-parts.ts'

/** Fails with `unsupported-config` for what means nothing to its kind or cannot be on its bus. */
export function inputParts(one: InputDevice, index: number, place: Place): Part[] {
  const { type, bus, alias, address } = one
  const path = `devices.inputs[${index}]`
  refuseSources(one, path)
  if (type === 'evdev') return evdevParts(one, path)
  if (type === 'passthrough') return passthroughParts(one, path, place)
  // A PC has both of them anyway.
  if (bus === 'ps2') {
    if (place.family !== 'pc' && place.family !== 'q35')
      throw unsupported('devices.inputs', "bus 'ps2' is on PCs only", "Use 'usb' or 'virtio'.")
    if (type === 'tablet')
      throw unsupported('devices.inputs', "a tablet cannot be on bus 'ps2'", "Use 'usb'.")
    return []
  }
  if (bus === 'virtio') return [device(`virtio-${type}-pci`, { id: alias, ...pci(address, place) })]
  return [device(`usb-${type === 'keyboard' ? 'kbd' : type}`, { id: alias, ...usb(address) })]
}

function refuseSources(one: InputDevice, path: string): void {
  for (const key of ['eventDevice', 'grab', 'grabToggle', 'repeat'] as const)
    if (one.type !== 'evdev' && one[key] !== undefined)
      throw unsupported(`${path}.${key}`, `is for type 'evdev', not '${one.type}'`)
  if (one.type !== 'passthrough' && one.hostDevice !== undefined)
    throw unsupported(`${path}.hostDevice`, `is for type 'passthrough', not '${one.type}'`)
}

/** Events of a device of the host, given to the keyboard and the mouse that the machine has. */
function evdevParts({ bus, alias, address, ...one }: InputDevice, path: string): Part[] {
  if (one.eventDevice === undefined)
    throw unsupported(`${path}.eventDevice`, "is needed for type 'evdev'", 'Name one of /dev/input.')
  if (bus !== undefined) throw unsupported(`${path}.bus`, "type 'evdev' is on no bus")
  if (address !== undefined) throw unsupported(`${path}.address`, "type 'evdev' is on no bus")
  return [
    object('input-linux', {
      id: alias,
      evdev: one.eventDevice,
      repeat: one.repeat,
      grab_all: one.grab === undefined ? undefined : true,
      'grab-toggle': one.grabToggle,
    }),
  ]
}

function passthroughParts(
  { hostDevice, bus, alias, address }: InputDevice,
  path: string,
  place: Place,
): Part[] {
  if (hostDevice === undefined)
    throw unsupported(`${path}.hostDevice`, "is needed for type 'passthrough'", 'Name one of /dev/input.')
  if (bus !== 'virtio')
    throw unsupported(`${path}.bus`, "type 'passthrough' needs bus 'virtio'", "Use 'virtio'.")
  return [device('virtio-input-host-pci', { id: alias, evdev: hostDevice, ...pci(address, place) })]
}
