/** Serial and parallel ports, consoles and channels as parts of QEMU. Source: -chardev in qemu(1). */
import type { Channel, CharacterSource, Devices } from '../../../../model/index.ts'
import type { Fields } from '../../definition/key-value.ts'
import { atStart, chardev, device, object, type Part } from '../../definition/parts.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { isAtLeast } from '../../emulator/emulator.ts'
import { type Place, pci } from '../device-place.ts'
import { consoleSocket, isBound, logOf, type Port, tlsFolder } from './ports.ts'

/** What is behind a port; with `isLogged` its output is kept even where the definition names no file for it. */
export function characterBackend(
  port: Port,
  place: Place,
  { isLogged = false, name = 'vdagent' } = {},
): Part[] {
  const { type, alias = '', path, append = true, channel, clipboard, mouse, logFile, logAppend } = port
  const id = `char${alias}`
  const logging: Fields =
    isLogged || logFile !== undefined
      ? { logfile: logOf(port, place.paths), logappend: logFile === undefined ? true : logAppend }
      : {}
  const one = (kind: string, fields: Fields = {}) => [chardev(kind, { id, ...fields, ...logging })]
  switch (type) {
    case 'pty':
    case 'unix':
      return one('socket', { path: consoleSocket(port, place.paths) ?? path, ...lineFields(port, place) })
    case 'tcp':
      return [...tlsParts(port), ...one('socket', tcpFields(port, place))]
    case 'udp':
      return one('udp', udpFields(port))
    case 'file':
      return one('file', { path, append })
    case 'pipe':
      return one('pipe', { path })
    case 'dev':
      return one('serial', { path })
    case 'spicevmc':
      return one('spicevmc', { name })
    case 'spiceport':
    case 'dbus':
      return one(type, { name: channel })
    case 'qemu-vdagent':
      return one('qemu-vdagent', {
        name: 'vdagent',
        clipboard: clipboard ?? false,
        mouse: mouse === undefined ? undefined : mouse === 'client',
      })
    default:
      return one(type)
  }
}

/** Who waits, and who calls again. */
function lineFields(port: Port, { version = '' }: Place): Fields {
  if (port.type === 'pty' || isBound(port)) return { server: true, wait: false }
  const { reconnect, reconnectSeconds: seconds = 0 } = port
  if (!reconnect) return {}
  return isAtLeast(version, '9.2') ? { 'reconnect-ms': seconds * 1000 } : { reconnect: seconds }
}

function tcpFields(port: Port, place: Place): Fields {
  const { host, service, protocol, tls, alias = '' } = port
  return {
    // As in libvirt, everywhere where nothing is named.
    host: bare(host) || '0.0.0.0',
    port: service,
    telnet: protocol === 'telnet' ? true : undefined,
    ...lineFields(port, place),
    'tls-creds': tls ? `tls-${alias}` : undefined,
  }
}

/** Who is called shows a certificate, and so must who calls. */
function tlsParts(port: Port): Part[] {
  if (!port.tls) return []
  return [
    object('tls-creds-x509', {
      id: `tls-${port.alias}`,
      dir: tlsFolder(port),
      endpoint: isBound(port) ? 'server' : 'client',
      'verify-peer': true,
    }),
  ]
}

/** An IPv6 address without its brackets. */
const bare = (host: string | undefined) => host?.replace(/^\[|\]$/gu, '')

function udpFields({ mode, host, service, peer }: CharacterSource): Fields {
  const [local, remote] = mode === 'bind' ? [{ host, service }, peer] : [undefined, { host, service }]
  return {
    host: bare(remote?.host) || '127.0.0.1',
    port: remote?.service,
    localaddr: local && (bare(local.host) || '0.0.0.0'),
    localport: local?.service,
  }
}

const isPc = ({ family }: Place) => family === 'pc' || family === 'q35' || family === 'microvm'

/** The names that libvirt has for the port of each kind. */
const modelsOf: Readonly<Record<string, readonly string[]>> = {
  'isa-serial': ['isa-serial'],
  'pci-serial': ['pci-serial'],
  'usb-serial': ['usb-serial'],
  'system-serial': ['pl011', '16550a'],
}

export function serialParts(serial: Devices['serials'][number], index: number, place: Place): Part[] {
  const path = `devices.serials[${index}]`
  const { model, target, alias, address } = serial
  const named = Object.keys(modelsOf).find((one) => model !== undefined && modelsOf[one]?.includes(model))
  const kind = target ?? named ?? (place.family === 'virt' ? 'system-serial' : 'isa-serial')
  if (model !== undefined && named !== kind)
    throw unsupported(`${path}.model`, `'${model}' is no port of kind '${kind}'`)
  const backend = characterBackend(serial, place, { isLogged: true })
  const fields: Fields = { id: alias, chardev: `char${alias}` }
  switch (kind) {
    case 'isa-serial': {
      const port = serial.port ?? index
      if (!isPc(place)) throw unsupported(`${path}.target`, 'is on PCs only', "Use 'pci-serial'.")
      if (port > 3) throw unsupported(`${path}.port`, 'a PC has the serial ports 0 to 3', "Use 'pci-serial'.")
      return [...backend, device(kind, { ...fields, index: port })]
    }
    // A port of the board itself: it is there anyway, and can only be told what it is connected to.
    case 'system-serial':
      if (isPc(place)) throw unsupported(`${path}.target`, 'is not on PCs', "Use 'isa-serial'.")
      return [...backend, atStart('-serial', `chardev:char${alias}`)]
    default:
      return [...backend, device(kind, { ...fields, ...pci(address, place) })]
  }
}

export function parallelParts(one: Devices['parallels'][number], index: number, place: Place): Part[] {
  if (place.family !== 'pc' && place.family !== 'q35')
    throw unsupported(`devices.parallels[${index}]`, 'a parallel port is on PCs only')
  // A port of the host is driven as one, not as a line.
  const backend = characterBackend(one, place).map((part) =>
    part.option === 'chardev' && one.type === 'dev' ? { ...part, type: 'parallel' } : part,
  )
  const fields = { id: one.alias, chardev: `char${one.alias}`, index: one.port ?? index }
  return [...backend, device('isa-parallel', fields)]
}

/** Where on the virtio serial bus; QEMU takes the next place otherwise. */
const virtioPort = (address: Channel['address']): Fields => ({
  bus: `virtio-serial${Number(address?.controller ?? 0)}.0`,
  nr: address?.port,
})

export function consoleParts(console: Devices['consoles'][number], place: Place): Part[] {
  const { alias, address } = console
  return [
    ...characterBackend(console, place, { isLogged: true }),
    device('virtconsole', { id: alias, chardev: `char${alias}`, ...virtioPort(address) }),
  ]
}

export function channelParts(channel: Channel, place: Place): Part[] {
  const { alias, name, address } = channel
  return [
    ...characterBackend(channel, place),
    device('virtserialport', { id: alias, chardev: `char${alias}`, name, ...virtioPort(address) }),
  ]
}
