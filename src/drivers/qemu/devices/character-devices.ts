/** Serial ports, consoles and channels as arguments of QEMU. */
import type { Channel, Devices } from '../../../model/index.ts'
import type { Fields } from '../definition/key-value.ts'
import { atStart, chardev, device, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { isServed } from '../paths.ts'
import { type Place, pci } from './device-place.ts'

/** What is behind a serial port, console or channel. */
function characterBackend(
  { type, path, alias = '' }: { type: string; path?: string | undefined; alias?: string | undefined },
  { paths }: Place,
  log: boolean,
): Part {
  const id = `char${alias}`
  const logging: Fields = log ? { logfile: paths.consoleLog(alias), logappend: true } : {}
  if (isServed({ type, path }))
    return chardev('socket', { id, path: paths.socket(alias), server: true, wait: false, ...logging })
  if (type === 'unix') return chardev('socket', { id, path, server: true, wait: false, ...logging })
  if (type === 'spicevmc') return chardev('spicevmc', { id, name: 'vdagent' })
  if (type === 'file') return chardev('file', { id, path, append: true, ...logging })
  return chardev('null', { id, ...logging })
}

export function serialParts(serial: Devices['serials'][number], index: number, place: Place): Part[] {
  const kind = serial.target ?? serial.model ?? (place.family === 'virt' ? 'system-serial' : 'isa-serial')
  const fields: Fields = { id: serial.alias, chardev: `char${serial.alias}` }
  const port = serial.port ?? index
  if (kind === 'isa-serial' && port > 3)
    throw unsupported(
      `devices.serials[${index}].port`,
      'a PC has the serial ports 0 to 3',
      "Use 'pci-serial'.",
    )
  // A port of the board itself: it is there anyway, and can only be told what it is connected to.
  if (kind === 'system-serial')
    return [characterBackend(serial, place, true), atStart('-serial', `chardev:char${serial.alias}`)]
  return [
    characterBackend(serial, place, true),
    device(kind, {
      ...fields,
      ...(kind === 'isa-serial' ? { index: port } : kind === 'pci-serial' ? pci(serial.address, place) : {}),
    }),
  ]
}

export function consoleParts(console: Devices['consoles'][number], place: Place): Part[] {
  return [
    characterBackend(console, place, true),
    device('virtconsole', { id: console.alias, chardev: `char${console.alias}`, bus: 'virtio-serial0.0' }),
  ]
}

export function channelParts(channel: Channel, place: Place): Part[] {
  const { alias, name, address } = channel
  return [
    characterBackend(channel, place, false),
    device('virtserialport', {
      id: alias,
      chardev: `char${alias}`,
      name,
      bus: `virtio-serial${Number(address?.controller ?? 0)}.0`,
      nr: address?.port,
    }),
  ]
}
