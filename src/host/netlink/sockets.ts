/** Sockets of this host that wait to be talked to, without those that talk. Source: sock_diag(7). */
import { listFromKernel, netlinkOf } from './messages.ts'

export interface OpenSocket {
  /** As the kernel has it: 4 or 16 bytes. */
  readonly address: Uint8Array
  readonly port: number
  readonly inode: number
}

const SOCK_DIAG_BY_FAMILY = 20
const families = [2, 10]
/** IPPROTO_TCP in state TCP_LISTEN; IPPROTO_UDP, unconnected, which is said as TCP_CLOSE. */
const asked = { tcp: { protocol: 6, state: 10 }, udp: { protocol: 17, state: 7 } } as const
/** `struct inet_diag_req_v2`, and `struct inet_diag_msg`. */
const requestBytes = 56
const answerBytes = 72

/** Those of IPv4 and of IPv6. Fails with `NetlinkError` where the kernel does not tell, such as without `inet_diag`. */
export async function openSockets(proto: 'tcp' | 'udp'): Promise<OpenSocket[]> {
  const { protocol, state } = asked[proto]
  const listed = await Promise.all(
    families.map((family) => {
      const body = Buffer.alloc(requestBytes)
      body.writeUInt8(family, 0)
      body.writeUInt8(protocol, 1)
      body.writeUInt32LE(1 << state, 4)
      return listFromKernel(netlinkOf.sockets, { type: SOCK_DIAG_BY_FAMILY, body })
    }),
  )
  return listed.flat().flatMap((body) => (body.length < answerBytes ? [] : [readSocket(body)]))
}

function readSocket(body: Buffer): OpenSocket {
  return {
    address: body.subarray(8, body.readUInt8(0) === 2 ? 12 : 24),
    port: body.readUInt16BE(4),
    inode: body.readUInt32LE(68),
  }
}
