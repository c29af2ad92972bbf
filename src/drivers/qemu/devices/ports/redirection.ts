/** USB ports for devices of the viewer. Source: usb-redir of QEMU, the filters of usbredir. */
import type { Devices } from '../../../../model/index.ts'
import { device, type Part } from '../../definition/parts.ts'
import { unsupported } from '../../definition/unsupported.ts'
import type { Place } from '../device-place.ts'
import { usb } from '../small-device-parts.ts'
import { characterBackend } from './character-devices.ts'

/** The USB ports of the viewer; the same rules say at each what may be plugged in. */
export function redirectionParts(devices: Devices, place: Place): Part[] {
  const filter = filterOf(devices)
  return devices.redirdevs.flatMap(({ alias, bootOrder, address, ...source }) => [
    ...characterBackend({ ...source, alias }, place, { name: 'usbredir' }),
    device('usb-redir', {
      id: alias,
      chardev: `char${alias}`,
      filter,
      bootindex: bootOrder,
      ...usb(address),
    }),
  ])
}

/** Rules as usbredir writes them, the first that fits counts: `class:vendor:product:version:allow|...`. */
function filterOf({ redirFilter, redirdevs }: Devices): string | undefined {
  if (!redirFilter) return undefined
  if (redirdevs.length === 0) throw unsupported('devices.redirFilter', 'there is no port that it is for')
  const number = (value: string | undefined) => (value === undefined ? '-1' : value)
  return redirFilter.rules
    .map(({ class: kind, vendor, product, version, allow }) =>
      [number(kind), number(vendor), number(product), versionOf(version), allow ? 1 : 0].join(':'),
    )
    .join('|')
}

/** `1.09` is 0x0109: decimal digits, written as hexadecimal ones. */
function versionOf(version: string | undefined): string {
  if (version === undefined || version === '-1') return '-1'
  const [whole = '', part = ''] = version.split('.')
  return `0x${whole.padStart(2, '0')}${part.padEnd(2, '0')}`
}
