/** Programs of this host that listen on ports. Source: sock_diag(7); proc(5), /proc/net/tcp and its like. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { openSockets } from '../host/index.ts'
import { formatIp, parseIp } from '../model/index.ts'

export interface Listener {
  readonly port: number
  readonly pid?: number
  readonly program?: string
}

export interface PortRange {
  readonly proto: 'tcp' | 'udp'
  readonly address?: string | undefined
  readonly start: number
  readonly end: number
}

interface Entry {
  readonly address: string
  readonly port: number
  readonly inode: string
}

const listening = '0A'
/** Of UDP: bound, not connected. */
const unconnected = '07'

/** The first program that has one of the ports; undefined when all are free. */
export async function whoListens(wanted: PortRange): Promise<Listener | undefined> {
  // The files have all sockets of the host, and take milliseconds: where the kernel tells of some, it is asked.
  const entries = await openEntries(wanted.proto).catch(() => entriesOfFiles(wanted.proto))
  const found = entries.find(
    ({ port, address }) => port >= wanted.start && port <= wanted.end && meets(address, wanted.address),
  )
  return found && { port: found.port, ...(await ownerOf(found.inode)) }
}

async function openEntries(proto: 'tcp' | 'udp'): Promise<Entry[]> {
  const sockets = await openSockets(proto)
  return sockets.map(({ address, port, inode }) => {
    const value = address.reduce((sum, byte) => (sum << 8n) + BigInt(byte), 0n)
    const family = address.length === 4 ? 'ipv4' : 'ipv6'
    return { address: formatIp({ family, value }), port, inode: String(inode) }
  })
}

async function entriesOfFiles(proto: 'tcp' | 'udp'): Promise<Entry[]> {
  const files = [`/proc/net/${proto}`, `/proc/net/${proto}6`]
  const texts = await Promise.all(files.map((file) => readFile(file, 'latin1').catch(() => '')))
  return texts.flatMap((text) => parseSockets(text, proto === 'tcp' ? listening : unconnected))
}

/** The lines of /proc/net/tcp and its like that are in this state. */
export function parseSockets(text: string, state: string): Entry[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/u)
    const [address = '', port = ''] = (fields[1] ?? '').split(':')
    if (fields[3] !== state || !/^[0-9A-F]+$/u.test(port)) return []
    return [{ address: readAddress(address), port: Number.parseInt(port, 16), inode: fields[9] ?? '' }]
  })
}

/** Words of 32 bits in the order of the host, which is little-endian wherever visor runs. */
function readAddress(hex: string): string {
  const words = (hex.match(/.{8}/gu) ?? []).map((word) =>
    BigInt(`0x${(word.match(/../gu) ?? []).reverse().join('')}`),
  )
  const value = words.reduce((sum, word) => (sum << 32n) + word, 0n)
  return formatIp({ family: words.length === 1 ? 'ipv4' : 'ipv6', value })
}

const isAny = (address: string | undefined) =>
  address === undefined || address === '0.0.0.0' || address === '::'

function meets(bound: string, wanted: string | undefined): boolean {
  if (isAny(bound) || isAny(wanted)) return true
  const [a, b] = [parseIp(bound), parseIp(wanted ?? '')]
  return a !== undefined && b !== undefined && a.value === b.value
}

/** The process that has the socket open. */
async function ownerOf(
  inode: string,
): Promise<{ readonly pid: number; readonly program: string } | undefined> {
  const wanted = `socket:[${inode}]`
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/u.test(name)) continue
    const files = await readdir(`/proc/${name}/fd`).catch(() => [])
    for (const file of files)
      if ((await readlink(`/proc/${name}/fd/${file}`).catch(() => '')) === wanted) {
        const program = await readFile(`/proc/${name}/comm`, 'utf8').catch(() => '')
        return { pid: Number(name), program: program.trim() }
      }
  }
  return undefined
}
