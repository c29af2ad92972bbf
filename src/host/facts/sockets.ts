import type { HostFiles } from './files.ts'

/** A TCP socket that listens. */
export interface Listener {
  readonly address: string
  readonly port: number
  /** Ties it to the process that holds it. */
  readonly inode: string
}

/** The listening rows of /proc/net/tcp or tcp6 (proc(5)). */
export function parseListeners(text: string): Listener[] {
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/u)
    const [address = '', port = ''] = local.split(':')
    if (state !== '0A' || inode === undefined) return []
    return [
      {
        address: address.length > 8 ? parseIpv6(address) : parseIpv4(address),
        port: Number.parseInt(port, 16),
        inode,
      },
    ]
  })
}

/** Four bytes in the byte order of the host, which is little-endian wherever visor runs. */
function parseIpv4(hex: string): string {
  const bytes = hex.match(/../gu)?.reverse() ?? []
  return bytes.map((byte) => Number.parseInt(byte, 16)).join('.')
}

function parseIpv6(hex: string): string {
  const groups = (hex.match(/.{8}/gu) ?? []).flatMap((word) => {
    const bytes = word.match(/../gu)?.reverse().join('') ?? ''
    return [bytes.slice(0, 4), bytes.slice(4)]
  })
  const long = groups.map((group) => Number.parseInt(group, 16).toString(16))
  return long
    .join(':')
    .replace(/(^|:)0(:0)+(:|$)/u, '::')
    .replace(/:{3,}/u, '::')
}

/** Who listens on a TCP port, on any address. */
export function findListeners(files: HostFiles, port: number): Listener[] {
  return ['/proc/net/tcp', '/proc/net/tcp6']
    .flatMap((path) => parseListeners(files.read(path) ?? ''))
    .filter((listener) => listener.port === port)
}
