/** Serial ports, consoles and channels as arguments of QEMU. */
import type { Channel, Devices } from '../../model/index.ts'
import { unsupported } from './definition.ts'
import { device, type Place, pci } from './device-place.ts'
import { type Fields, keyValue } from './key-value.ts'
import { isServed } from './paths.ts'

/** What is behind a serial port, console or channel. */
function characterBackend(
  { type, path, alias = '' }: { type: string; path?: string | undefined; alias?: string | undefined },
  { paths }: Place,
  log: boolean,
): string[] {
  const id = `char${alias}`
  const logging: Fields = log ? { logfile: paths.consoleLog(alias), logappend: 'on' } : {}
  if (isServed({ type, path }))
    return [
      '-chardev',
      keyValue('socket', { id, path: paths.socket(alias), server: 'on', wait: 'off', ...logging }),
    ]
  if (type === 'unix')
    return ['-chardev', keyValue('socket', { id, path, server: 'on', wait: 'off', ...logging })]
  if (type === 'file') return ['-chardev', keyValue('file', { id, path, append: 'on', ...logging })]
  return ['-chardev', keyValue('null', { id, ...logging })]
}

export function serialArguments(serial: Devices['serials'][number], index: number, place: Place): string[] {
  const kind = serial.target ?? serial.model ?? 'isa-serial'
  const fields: Fields = { id: serial.alias, chardev: `char${serial.alias}` }
  const port = serial.port ?? index
  if (kind === 'isa-serial' && port > 3)
    throw unsupported(
      `devices.serials[${index}].port`,
      'a PC has the serial ports 0 to 3',
      "Use 'pci-serial'.",
    )
  return [
    ...characterBackend(serial, place, true),
    ...device(kind, {
      ...fields,
      ...(kind === 'isa-serial' ? { index: port } : kind === 'pci-serial' ? pci(serial.address, place) : {}),
    }),
  ]
}

export function consoleArguments(console: Devices['consoles'][number], place: Place): string[] {
  return [
    ...characterBackend(console, place, true),
    ...device('virtconsole', { id: console.alias, chardev: `char${console.alias}`, bus: 'virtio-serial0.0' }),
  ]
}

export function channelArguments(channel: Channel, place: Place): string[] {
  const { alias, name, address } = channel
  return [
    ...characterBackend(channel, place, false),
    ...device('virtserialport', {
      id: alias,
      chardev: `char${alias}`,
      name,
      bus: `virtio-serial${Number(address?.controller ?? 0)}.0`,
      nr: address?.port,
    }),
  ]
}
