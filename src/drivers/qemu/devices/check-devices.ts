/** Whether devices can be had at all, told when a domain is defined. */
import type { Devices } from '../../../model/index.ts'
import type { MachineFamily } from '../board/machine-type.ts'
import type { Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { interfaceParts } from '../network/network-parts.ts'
import { tapDescriptors } from '../network/taps.ts'
import { driverPaths } from '../paths.ts'
import type { Place } from './device-place.ts'
import { graphicsParts, redirectionParts } from './graphics-parts.ts'
import { smallDeviceParts } from './small-device-parts.ts'

/** Fails with `unsupported-config` for what no machine of this kind can have, or this QEMU has not. */
export function checkDevices(devices: Devices, emulator: Emulator, family: MachineFamily): void {
  const place: Place = {
    family,
    paths: driverPaths('/', '/').of('none'),
    drives: new Map(),
    taps: tapDescriptors({ devices }),
  }
  const check = (path: string, parts: readonly Part[]) => {
    for (const part of parts)
      if (part.option === 'device' && !emulator.devices.includes(part.driver))
        throw unsupported(path, `${emulator.path} has no device '${part.driver}'`)
  }
  devices.interfaces.forEach((one, index) => {
    check(`devices.interfaces[${index}].model`, interfaceParts(one, index, undefined, place))
  })
  devices.graphics.forEach((one, index) => void graphicsParts(one, index, place))
  check('devices.redirdevs', redirectionParts(devices))
  check('devices', smallDeviceParts(devices, place))
  const spice = devices.graphics.some(({ type }) => type === 'spice')
  const wantsSpice = devices.redirdevs.length > 0 || devices.channels.some(({ type }) => type === 'spicevmc')
  if (wantsSpice && !spice)
    throw unsupported(
      'devices.channels',
      "channels and USB ports of kind 'spicevmc' need a screen of type 'spice'",
    )
  const kinds = devices.graphics.map(({ type }) => type)
  for (const [index, kind] of kinds.entries())
    if (kinds.indexOf(kind) < index)
      throw unsupported(`devices.graphics[${index}]`, `there can be one screen of type '${kind}' only`)
}
