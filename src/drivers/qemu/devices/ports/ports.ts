/** The host sides of ports: which there are, what each may say, and the files that they need. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { FileAccess } from '../../../../host/index.ts'
import type { CharacterSource, Devices, Smartcard } from '../../../../model/index.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { defaultTlsDirectory } from '../../disks/disk-secrets.ts'
import type { GuestPaths } from '../../paths.ts'

export type Port = CharacterSource & { readonly alias?: string | undefined }

/** Those whose output is kept, so that there is a console: serial ports and virtio consoles. */
export const loggedPorts = ({ serials, consoles }: Devices): Port[] => [
  ...serials,
  ...consoles.filter(({ target }) => target === 'virtio'),
]

/** All devices of a machine that have a host side; a console that is a serial port counts once. */
export const portsOf = (devices: Devices): Port[] => [
  ...loggedPorts(devices),
  ...devices.parallels,
  ...devices.channels,
  ...devices.redirdevs,
  ...devices.smartcards.flatMap((card) => lineOfCard(card) ?? []),
]

/** The line to a card that is elsewhere. */
export function lineOfCard(card: Smartcard): Port | undefined {
  const { card: kind, type, certificates: _, database: _d, address: _a, unknown: _u, ...source } = card
  return kind === 'passthrough' && type !== undefined ? { ...source, type } : undefined
}

/** Those that a definition names, each with its path. */
export function namedPorts(devices: Devices): { path: string; port: Port }[] {
  const kinds = ['serials', 'parallels', 'consoles', 'channels', 'redirdevs'] as const
  return [
    ...kinds.flatMap((kind) =>
      devices[kind].map((port, index) => ({ path: `devices.${kind}[${index}]`, port })),
    ),
    ...devices.smartcards.flatMap((card, index) => {
      const port = lineOfCard(card)
      return port ? [{ path: `devices.smartcards[${index}]`, port }] : []
    }),
  ]
}

/** Where the output of a port is kept: in the file that its definition names, or one of ours. */
export const logOf = ({ logFile, alias = '' }: Port, paths: GuestPaths): string =>
  logFile ?? paths.consoleLog(alias)

/** Who calls this port: it makes a socket or listens, and does not call itself. */
export const isBound = ({ type, mode }: Port): boolean =>
  (type === 'unix' || type === 'tcp') && mode !== 'connect'

/** The socket of ours on which a console of this port is had; undefined where there is none. */
export function consoleSocket(port: Port, paths: GuestPaths): string | undefined {
  if (port.type === 'pty') return paths.socket(port.alias ?? '')
  if (port.type === 'unix' && isBound(port)) return port.path ?? paths.socket(port.alias ?? '')
  return undefined
}

const common = ['type', 'logFile', 'logAppend'] as const
/** What means something to each kind; all else is refused. A terminal's path is that of a machine that ran. */
const meaningful: Readonly<Record<CharacterSource['type'], readonly (keyof CharacterSource)[]>> = {
  pty: ['path', 'mode'],
  unix: ['mode', 'path', 'reconnect', 'reconnectSeconds'],
  tcp: [
    ...(['mode', 'host', 'service', 'tls', 'tlsDirectory', 'protocol'] as const),
    ...(['reconnect', 'reconnectSeconds'] as const),
  ],
  udp: ['mode', 'host', 'service', 'peer'],
  file: ['path', 'append'],
  pipe: ['path'],
  dev: ['path'],
  null: [],
  vc: [],
  stdio: [],
  nmdm: [],
  spicevmc: [],
  spiceport: ['channel'],
  dbus: ['channel'],
  'qemu-vdagent': ['clipboard', 'mouse'],
}
const sourceFields = [
  ...(['mode', 'path', 'host', 'service', 'tls', 'tlsDirectory', 'append', 'channel', 'reconnect'] as const),
  ...(['reconnectSeconds', 'clipboard', 'mouse', 'peer', 'protocol'] as const),
]

/** Fails with `unsupported-config` for what this kind of host side cannot have; `path` names the device. */
export function checkPort(port: Port, path: string): void {
  const { type } = port
  for (const key of sourceFields)
    if (port[key] !== undefined && ![...common, ...meaningful[type]].includes(key))
      throw unsupported(`${path}.${key}`, `means nothing for type '${type}'`)
  if (port.logAppend !== undefined && port.logFile === undefined)
    throw unsupported(`${path}.logAppend`, 'there is no log', "Name its file: 'logFile'.")
  if (type === 'tcp') checkTcp(port, path)
  if (type === 'unix') checkCalls(port, path)
  if (type === 'udp' && port.mode === 'bind' && port.peer === undefined)
    throw unsupported(path, 'listens, but sends nowhere', "Say where to: 'peer'.")
  if (type === 'udp' && port.mode === 'connect' && port.peer !== undefined)
    throw unsupported(`${path}.peer`, "is for mode 'bind': the source says already where it sends to")
}

function checkTcp(port: Port, path: string): void {
  const { protocol, tls, tlsDirectory, mode, host } = port
  if (protocol === 'telnets' || protocol === 'tls')
    throw unsupported(`${path}.protocol`, `'${protocol}' cannot be had`, "Use 'raw' with 'tls: true'.")
  if (tlsDirectory !== undefined && !tls)
    throw unsupported(`${path}.tlsDirectory`, 'is for TLS', "Set 'tls' as well.")
  if (mode === 'connect' && (host === undefined || host === ''))
    throw unsupported(`${path}.host`, 'must be there, as the port calls it')
  checkCalls(port, path)
}

function checkCalls({ mode, reconnect, reconnectSeconds }: Port, path: string): void {
  if (reconnect && mode !== 'connect')
    throw unsupported(`${path}.reconnect`, "is for mode 'connect'", 'A port that listens stays there.')
  if (reconnect && reconnectSeconds === undefined)
    throw unsupported(`${path}.reconnectSeconds`, 'must be there', 'Say how long it waits between two calls.')
  if (!reconnect && reconnectSeconds !== undefined)
    throw unsupported(`${path}.reconnectSeconds`, "is for a port with 'reconnect'")
}

/** The folder with the certificates of a port with TLS. */
export const tlsFolder = ({ tlsDirectory = defaultTlsDirectory }: Port): string => tlsDirectory

/** The certificates that QEMU reads for one side of a TLS line. Source: QEMU's tls-creds-x509. */
export function certificates(folder: string, side: 'server' | 'client'): string[] {
  return ['ca-cert.pem', `${side}-cert.pem`, `${side}-key.pem`].map((name) => join(folder, name))
}

/** The files of the host that the ports of a machine open; those they write to are made before. */
export function filesOfPort(port: Port): FileAccess[] {
  const { type, path, logFile, mode, tls } = port
  const what = 'output of a port'
  const log = logFile === undefined ? [] : [{ path: logFile, write: true, what: 'log' }]
  if (type === 'tcp' && tls)
    return [
      ...log,
      ...certificates(tlsFolder(port), mode === 'connect' ? 'client' : 'server').map((one) => ({
        path: one,
        what: 'certificate',
      })),
    ]
  if (path === undefined) return log
  if (type === 'file') return [...log, { path, write: true, what }]
  if (type === 'dev') return [...log, { path, write: true, what: 'device' }]
  // Pipes that are not there are told before.
  if (type === 'pipe')
    return [
      ...log,
      ...[`${path}.in`, `${path}.out`, path]
        .filter((one) => existsSync(one))
        .map((one) => ({ path: one, write: true, what: 'pipe' })),
    ]
  if (type === 'unix' && mode === 'connect') return [...log, { path, write: true, what: 'socket' }]
  return log
}
