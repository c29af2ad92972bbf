/** Whether devices can be had at all, told when a domain is defined. */
import type { Devices } from '../../../model/index.ts'
import type { MachineFamily } from '../board/machine-type.ts'
import type { Part } from '../definition/parts.ts'
import { noDevice } from '../definition/unknown-name.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Emulator, isAtLeast } from '../emulator/emulator.ts'
import { interfaceParts } from '../network/network-parts.ts'
import { tapDescriptors } from '../network/taps.ts'
import { driverPaths } from '../paths.ts'
import { controllerParts } from './controllers.ts'
import { checkDeviceEffects } from './device-effects.ts'
import type { Place } from './device-place.ts'
import { inputParts } from './inputs.ts'
import { parallelParts, serialParts } from './ports/character-devices.ts'
import { checkPort, namedPorts, portsOf } from './ports/ports.ts'
import { redirectionParts } from './ports/redirection.ts'
import { readerOf, smartcardParts } from './ports/smartcards.ts'
import { rngParts } from './random.ts'
import { graphicsParts, videoParts } from './screens/graphics-parts.ts'
import { smallDeviceParts } from './small-device-parts.ts'
import { checkSocketPaths } from './socket-paths.ts'

/** Fails with `unsupported-config` for what no machine of this kind can have, or this QEMU has not. */
export function checkDevices(devices: Devices, emulator: Emulator, family: MachineFamily): void {
  const place: Place = {
    family,
    version: emulator.version,
    paths: driverPaths('/', '/').of('none'),
    drives: new Map(),
    taps: tapDescriptors({ devices }),
  }
  const check = (path: string, parts: readonly Part[]) => {
    for (const part of parts)
      if (part.option === 'device' && !emulator.devices.includes(part.driver))
        throw noDevice(path, part.driver, emulator)
  }
  devices.controllers.forEach((one, index) => {
    check(`devices.controllers[${index}].model`, controllerParts(one, place))
  })
  devices.interfaces.forEach((one, index) => {
    check(`devices.interfaces[${index}].model`, interfaceParts(one, index, undefined, place))
  })
  devices.rngs.forEach((one, index) => {
    check(`devices.rngs[${index}]`, rngParts(one, index, place))
  })
  devices.inputs.forEach((one, index) => {
    check(`devices.inputs[${index}]`, inputParts(one, index, place))
  })
  devices.videos.forEach((one, index) => {
    videoParts(one, index, place)
    if (one.accel3d && !devices.graphics.some(({ type, gl }) => type === 'egl-headless' || gl))
      throw unsupported(
        `devices.videos[${index}].accel3d`,
        'nothing draws with a graphics card of the host',
        "Add a screen of type 'egl-headless'.",
      )
  })
  devices.graphics.forEach((one, index) => void graphicsParts(one, index, place))
  check('devices.redirdevs', redirectionParts(devices, place))
  check('devices', smallDeviceParts(devices, place))
  devices.serials.forEach((one, index) => {
    check(`devices.serials[${index}]`, serialParts(one, index, place))
  })
  devices.parallels.forEach((one, index) => {
    check(`devices.parallels[${index}]`, parallelParts(one, index, place))
  })
  devices.smartcards.forEach((one, index) => {
    check(`devices.smartcards[${index}]`, smartcardParts(one, index, place))
    if (devices.smartcards.findIndex((other) => readerOf(other) === readerOf(one)) < index)
      throw unsupported(`devices.smartcards[${index}].address`, 'there is a card in that reader already')
  })
  checkPorts(devices, emulator)
  checkSocketPaths(devices)
  checkDeviceEffects(devices)
  const spice = devices.graphics.some(({ type }) => type === 'spice')
  const wantsSpice = portsOf(devices).some(({ type }) => type === 'spicevmc' || type === 'spiceport')
  if (wantsSpice && !spice)
    throw unsupported(
      'devices.channels',
      "channels, ports and USB ports of the kinds 'spicevmc' and 'spiceport' need a screen of type 'spice'",
    )
  const kinds = devices.graphics.map(({ type }) => type)
  for (const [index, kind] of kinds.entries())
    if (kinds.indexOf(kind) < index)
      throw unsupported(`devices.graphics[${index}]`, `there can be one screen of type '${kind}' only`)
}

/** What the host sides of ports may say. */
function checkPorts(devices: Devices, { path: program, version }: Emulator): void {
  for (const { path, port } of namedPorts(devices)) {
    checkPort(port, path)
    if (port.type === 'qemu-vdagent' && !isAtLeast(version, '6.1'))
      throw unsupported(`${path}.type`, `${program} ${version} has none`, 'It came with QEMU 6.1.')
    if (port.type === 'dbus' && !devices.graphics.some(({ type }) => type === 'dbus'))
      throw unsupported(`${path}.type`, "'dbus' needs a screen of type 'dbus'")
  }
}
