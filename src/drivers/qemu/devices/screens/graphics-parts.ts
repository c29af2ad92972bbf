/** Screens and graphics cards as parts of QEMU. Source: -vnc, -spice and -display in qemu(1). */
import type { Graphics, Video } from '../../../../model/index.ts'
import type { MachineFamily } from '../../board/machine-type.ts'
import { type Fields, keyValue } from '../../definition/key-value.ts'
import { atStart, device, object, type Part } from '../../definition/parts.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { type Place, pci } from '../device-place.ts'
import { screenCertificates } from './screen-host.ts'
import { checkPassword } from './screen-passwords.ts'

const firstVncPort = 5900
/** How many ports are tried where any will do. */
const triedPorts = 100

/** The host side of a screen: a socket in the folder of the guest where the definition names nothing. */
export function screenSocket(screen: Graphics, { paths }: Pick<Place, 'paths'>): string | undefined {
  const { type, socket, listens, port, tlsPort, autoport, listen } = screen
  if (type !== 'vnc' && type !== 'spice') return undefined
  if (listens[0]?.type === 'none') return undefined
  const given = socket ?? listens[0]?.socket
  if (given !== undefined) return given
  // QEMU finds no free port for SPICE: a screen that may be anywhere is on a socket, which is never taken.
  const isTcp =
    type === 'spice'
      ? (port !== undefined && port !== -1 && !autoport) || (tlsPort !== undefined && tlsPort > 0)
      : port !== undefined || autoport || listen !== undefined || listens[0]?.type === 'address'
  return isTcp ? undefined : paths.socket(type)
}

export function graphicsParts(screen: Graphics, index: number, place: Place): Part[] {
  const path = `devices.graphics[${index}]`
  checkPassword(screen, path)
  switch (screen.type) {
    case 'vnc':
      return vncParts(screen, path, place)
    case 'spice':
      return spiceParts(screen, path, place)
    case 'egl-headless':
      refuseBut(screen, path, ['gl', 'renderNode'])
      return [atStart('-display', keyValue('egl-headless', { rendernode: screen.renderNode }))]
    case 'dbus':
      return dbusParts(screen, path)
    default:
      throw unsupported(`${path}.type`, `'${screen.type}' cannot be had`, "Use 'vnc' or 'spice'.")
  }
}

/** What may be said of a screen that is none to look at from elsewhere. */
function refuseBut(screen: Graphics, path: string, allowed: readonly (keyof Graphics)[]): void {
  const given = Object.entries(screen).filter(([, value]) =>
    Array.isArray(value) ? value.length > 0 : value !== undefined,
  )
  for (const [key] of given)
    if (!['type', 'alias', 'unknown', ...allowed].includes(key))
      throw unsupported(`${path}.${key}`, `means nothing for type '${screen.type}'`)
}

/** On a bus of the host, or for who joins through the monitor. Source: -display dbus in qemu(1). */
function dbusParts(screen: Graphics, path: string): Part[] {
  refuseBut(screen, path, ['p2p', 'address', 'gl', 'renderNode', 'audio'])
  const { p2p, address: addr, gl, renderNode: rendernode, audio } = screen
  if ((addr === undefined) === !p2p)
    throw unsupported(path, "needs one of 'address', of a bus that is there, and 'p2p'")
  const audiodev = audio && `audio${audio}`
  return [atStart('-display', keyValue('dbus', { addr, p2p: p2p || undefined, gl, rendernode, audiodev }))]
}

function vncParts(screen: Graphics, path: string, place: Place): Part[] {
  refuseSpiceSettings(screen, path)
  const { sharePolicy } = screen
  const fields: Fields = {
    share: sharePolicy,
    audiodev: screen.audio && `audio${screen.audio}`,
    password: screen.passwordFile === undefined ? undefined : true,
    'tls-creds': screen.tlsDirectory && vncTls,
  }
  return [...vncTlsParts(screen, path), ...vncServer(screen, path, place, fields)]
}

const vncTls = 'vnc-tls'

function vncTlsParts({ tlsDirectory: dir, tlsVerify }: Graphics, path: string): Part[] {
  if (dir === undefined && tlsVerify !== undefined)
    throw unsupported(`${path}.tlsVerify`, 'is for TLS', "Name the folder of certificates: 'tlsDirectory'.")
  if (dir === undefined) return []
  const fields = { id: vncTls, dir, endpoint: 'server', 'verify-peer': tlsVerify ?? false }
  return [object('tls-creds-x509', fields)]
}

function vncServer(screen: Graphics, path: string, place: Place, fields: Fields): Part[] {
  const { keymap, listens, websocket, autoport, port = -1 } = screen
  const layout = keymap ? ['-k', keymap] : []
  if (listens[0]?.type === 'none') return [atStart('-vnc', keyValue('none', fields), ...layout)]
  const socket = screenSocket(screen, place)
  if (socket !== undefined) {
    if (websocket !== undefined) throw unsupported(`${path}.websocket`, 'needs a TCP port')
    const server = `unix:${socket.replaceAll(',', ',,')}`
    // Without its key, what is before an equals sign would be taken for one.
    const first = socket.includes('=') ? `vnc=${server}` : server
    return [atStart('-vnc', keyValue(first, fields), ...layout)]
  }
  const address = addressOf(screen, path)
  const isFree = port === -1 || autoport
  if (!isFree && port < firstVncPort) throw unsupported(`${path}.port`, `must be at least ${firstVncPort}`)
  const display = isFree ? 0 : port - firstVncPort
  const more: Fields = {
    ...fields,
    to: isFree ? triedPorts - 1 : undefined,
    websocket: websocket === undefined ? undefined : websocket === -1 ? true : websocket,
  }
  return [atStart('-vnc', keyValue(`${address}:${display}`, more), ...layout)]
}

/** Who listens without a password listens to this host alone. */
function addressOf({ listen, listens, passwordFile, tlsVerify }: Graphics, path: string): string {
  const address = listens[0]?.address ?? listen ?? '127.0.0.1'
  if (/^127\.\d+\.\d+\.\d+$/u.test(address)) return address
  if (address === '::1' || address === '[::1]') return '[::1]'
  if (address === 'localhost') return '127.0.0.1'
  if (passwordFile !== undefined || tlsVerify)
    return address.includes(':') ? `[${address.replace(/^\[|\]$/gu, '')}]` : address
  throw unsupported(
    `${path}.listen`,
    `'${address}' would let everyone who reaches it in, without a password`,
    "Use '127.0.0.1' or a socket, and reach it through visor or ssh; or name a 'passwordFile', or for VNC 'tlsVerify'.",
  )
}

const spiceSettings = [
  ...(['tlsPort', 'defaultMode', 'imageCompression', 'jpegCompression', 'zlibCompression'] as const),
  ...(['playbackCompression', 'streaming', 'clipboard', 'mouse', 'fileTransfer'] as const),
]

function refuseSpiceSettings(screen: Graphics, path: string): void {
  for (const key of spiceSettings)
    if (screen[key] !== undefined) throw unsupported(`${path}.${key}`, "is for type 'spice'")
  if (screen.channels.length > 0) throw unsupported(`${path}.channels`, "is for type 'spice'")
  refuseBus(screen, path)
  if (screen.gl || screen.renderNode !== undefined)
    throw unsupported(`${path}.gl`, "is not for type 'vnc'", "Add a screen of type 'egl-headless'.")
}

function refuseBus({ p2p, address }: Graphics, path: string): void {
  for (const [key, value] of Object.entries({ p2p, address }))
    if (value !== undefined) throw unsupported(`${path}.${key}`, "is for type 'dbus'")
}

function spiceParts(screen: Graphics, path: string, place: Place): Part[] {
  const { gl, websocket, sharePolicy, audio, tlsVerify, keymap } = screen
  for (const [key, value] of Object.entries({ websocket, sharePolicy, audio, tlsVerify }))
    if (value !== undefined) throw unsupported(`${path}.${key}`, "is for type 'vnc'")
  refuseBus(screen, path)
  checkSpiceTls(screen, path)
  if (gl || screen.renderNode !== undefined) throw unsupported(`${path}.gl`, 'cannot be had')
  return [...spiceServer(screen, path, place), ...(keymap ? [atStart('-k', keymap)] : [])]
}

function checkSpiceTls(screen: Graphics, path: string): void {
  const { tlsPort, tlsDirectory, defaultMode, channels, listens } = screen
  const isSecure = defaultMode === 'secure' || channels.some(({ mode }) => mode === 'secure')
  if (tlsPort !== undefined && tlsPort > 0) {
    if (listens[0]?.type === 'none' || listens[0]?.type === 'socket' || screen.socket !== undefined)
      throw unsupported(`${path}.tlsPort`, 'is for TCP', 'Leave it or the socket out.')
    return
  }
  const remedy = "Give it a 'tlsPort' of its own: QEMU finds no free one for SPICE."
  if (isSecure) throw unsupported(path, "channels that are 'secure' need TLS", remedy)
  if (tlsDirectory !== undefined)
    throw unsupported(`${path}.tlsDirectory`, 'there is no port with TLS', remedy)
}

function spiceServer(screen: Graphics, path: string, place: Place): Part[] {
  if (screen.listens[0]?.type === 'none')
    return [atStart('-spice', keyValue('', { port: 0, ...spiceFields(screen) }))]
  const socket = screenSocket(screen, place)
  if (socket !== undefined)
    return [atStart('-spice', keyValue('', { unix: true, addr: socket, ...spiceFields(screen) }))]
  const addr = addressOf(screen, path).replace(/^\[|\]$/gu, '')
  const { port = -1, autoport } = screen
  return [
    atStart(
      '-spice',
      keyValue('', { port: port > 0 && !autoport ? port : undefined, addr, ...spiceFields(screen) }),
    ),
  ]
}

function spiceFields(screen: Graphics): Fields {
  const onOff = (value: boolean | undefined) => value
  return {
    // Without a password only this host, or who may use the socket.
    'disable-ticketing': screen.passwordFile === undefined ? true : undefined,
    'image-compression': screen.imageCompression,
    'jpeg-wan-compression': screen.jpegCompression,
    'zlib-glz-wan-compression': screen.zlibCompression,
    'playback-compression': onOff(screen.playbackCompression),
    'streaming-video': screen.streaming,
    'disable-copy-paste': screen.clipboard === false ? true : undefined,
    'disable-agent-file-xfer': screen.fileTransfer === false ? true : undefined,
    'agent-mouse': screen.mouse === undefined ? undefined : screen.mouse === 'client',
    'seamless-migration': true,
    ...spiceTls(screen),
  }
}

/** Which channels go over the port with TLS, and its certificates. */
function spiceTls(screen: Graphics): Fields {
  const folder = screenCertificates(screen)
  if (folder === undefined) return {}
  const modes = [{ name: 'default', mode: screen.defaultMode }, ...screen.channels]
  const of = (wanted: string) => modes.flatMap(({ name, mode }) => (mode === wanted ? [{ str: name }] : []))
  return {
    'tls-port': screen.tlsPort,
    'x509-dir': folder,
    'tls-channel': of('secure'),
    'plaintext-channel': of('insecure'),
  }
}

const secondCards: Readonly<Record<string, string>> = {
  vga: 'secondary-vga',
  qxl: 'qxl',
  bochs: 'bochs-display',
}
const firstCards: Readonly<Record<string, string>> = {
  vga: 'VGA',
  virtio: 'virtio-vga',
  bochs: 'bochs-display',
  cirrus: 'cirrus-vga',
  qxl: 'qxl-vga',
  vmvga: 'vmware-svga',
  ramfb: 'ramfb',
}

/** QEMU's device for a graphics card; undefined for none. */
export function videoDriver(
  { model, accel3d }: Video,
  index: number,
  family: MachineFamily,
): string | undefined {
  if (model === 'virtio') {
    const isVga = index === 0 && (family === 'q35' || family === 'pc')
    return `${isVga ? 'virtio-vga' : 'virtio-gpu'}${accel3d ? '-gl' : ''}${isVga ? '' : '-pci'}`
  }
  return (index === 0 ? undefined : secondCards[model]) ?? firstCards[model]
}

export function videoParts(video: Video, index: number, place: Place): Part[] {
  const driver = videoDriver(video, index, place.family)
  if (driver === undefined) return []
  const where = driver === 'ramfb' ? {} : pci(video.address, place)
  return [device(driver, { id: video.alias, ...videoFields(video, index), ...where })]
}

function videoFields(video: Video, index: number): Fields {
  const { model, vramKiB, ramKiB, vgaMemoryKiB, heads, blob, accel3d, width, height } = video
  const path = `devices.videos[${index}]`
  if (video.primary && index > 0)
    throw unsupported(`${path}.primary`, 'the first card is the primary one', 'Put it first.')
  for (const [key, value] of Object.entries({ ramKiB, vgaMemoryKiB }))
    if (value !== undefined && model !== 'qxl') throw unsupported(`${path}.${key}`, "is for model 'qxl'")
  if (vramKiB !== undefined && (model === 'virtio' || model === 'ramfb'))
    throw unsupported(`${path}.vramKiB`, `cannot be set for model '${model}'`)
  if (model !== 'virtio' && (blob || accel3d))
    throw unsupported(path, `a card of model '${model}' has no 3D`, "Use model 'virtio'.")
  if (model === 'cirrus' || model === 'ramfb' || model === 'vmvga') {
    if (width !== undefined) throw unsupported(`${path}.width`, `cannot be set for model '${model}'`)
  }
  const size: Fields = { xres: width, yres: height }
  const megabytes = inMegabytes(vramKiB)
  switch (model) {
    case 'virtio':
      return { max_outputs: heads, blob, ...size }
    case 'bochs':
      return { vgamem: vramKiB === undefined ? undefined : `${vramKiB}k`, ...size }
    case 'qxl':
      return {
        ram_size: inBytes(ramKiB),
        vram_size: inBytes(vramKiB),
        // Older drivers cannot use that above 4 GiB.
        vram64_size_mb: vramKiB === undefined ? undefined : 0,
        vgamem_mb: inMegabytes(vgaMemoryKiB),
        max_outputs: heads,
        ...size,
      }
    case 'ramfb':
      return {}
    default:
      return { vgamem_mb: megabytes, ...(model === 'vga' ? size : {}) }
  }
}

const inBytes = (sizeKiB: number | undefined) => {
  const megabytes = inMegabytes(sizeKiB)
  return megabytes === undefined ? undefined : megabytes * 1024 ** 2
}

/** The next power of two, as the cards want it. */
const inMegabytes = (sizeKiB: number | undefined): number | undefined =>
  sizeKiB === undefined ? undefined : Math.max(1, 2 ** Math.ceil(Math.log2(sizeKiB / 1024)))
