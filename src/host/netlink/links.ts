/**
 * Bridges and addresses, made by the kernel's own messages: no program is started for them, which would take longer
 * than all of it. Source: rtnetlink(7), linux/if_link.h, linux/if_addr.h; ip-link(8) and ip-address(8) for what is usual.
 */
import { readFile } from 'node:fs/promises'
import { type IpSubnet, VisorError } from '../../model/index.ts'
import { askKernel, attribute, type NetlinkMessage, netlinkOf } from './messages.ts'

export interface NewBridge {
  readonly name: string
  /** Chosen by the kernel without it. */
  readonly mac?: string | undefined
  /** Bytes of the largest packet; what the kernel takes without it. */
  readonly mtu?: number | undefined
  /** How long a port listens before it forwards, where loops are looked for. */
  readonly forwardDelaySeconds: number
  /** Whether loops are looked for (STP). */
  readonly stp: boolean
}

const RTM_NEWLINK = 16
const RTM_NEWADDR = 20
const NLM_F_EXCL = 0x200
const NLM_F_CREATE = 0x400
const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_LINKINFO = 18
const IFLA_INFO_KIND = 1
const IFLA_INFO_DATA = 2
const IFLA_BR_FORWARD_DELAY = 1
const IFLA_BR_STP_STATE = 5
const IFF_UP = 1
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_BROADCAST = 4
const IFA_FLAGS = 8
const IFA_F_NODAD = 2

/** Makes a bridge, which is down. Fails with `failed`, such as when a link has the name. */
export async function addBridge({ name, mac, mtu, forwardDelaySeconds, stp }: NewBridge): Promise<void> {
  const body = Buffer.concat([
    linkHeader(0),
    attribute(IFLA_IFNAME, Buffer.from(`${name}\0`)),
    ...(mac === undefined ? [] : [attribute(IFLA_ADDRESS, Buffer.from(mac.replaceAll(':', ''), 'hex'))]),
    ...(mtu === undefined ? [] : [attribute(IFLA_MTU, number(mtu))]),
    attribute(IFLA_LINKINFO, [
      attribute(IFLA_INFO_KIND, Buffer.from('bridge')),
      attribute(IFLA_INFO_DATA, [
        attribute(IFLA_BR_FORWARD_DELAY, number(forwardDelaySeconds * 100)),
        attribute(IFLA_BR_STP_STATE, number(stp ? 1 : 0)),
      ]),
    ]),
  ])
  await ask(name, 'be made', [{ type: RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, body }])
}

/**
 * Gives a link these addresses of the host, each in its subnet, and switches it on. IPv6 is not asked first whether
 * somebody else has the address. Fails with `failed`.
 */
export async function bringUp(link: string, addresses: readonly IpSubnet[]): Promise<void> {
  const index = Number(await readFile(`/sys/class/net/${link}/ifindex`, 'latin1').catch(() => '0'))
  await ask(link, 'be set up', [
    ...addresses.map((one) => ({
      ...{ type: RTM_NEWADDR, flags: NLM_F_CREATE | NLM_F_EXCL, body: addressBody(index, one) },
    })),
    { type: RTM_NEWLINK, body: linkHeader(index, IFF_UP) },
  ])
}

async function ask(link: string, what: string, messages: readonly NetlinkMessage[]): Promise<void> {
  try {
    await askKernel(netlinkOf.route, messages)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new VisorError('failed', `The link '${link}' could not ${what}: ${reason}.`, {
      cause,
      remedy: /EPERM/u.test(reason) ? 'Run visord as root: networks need it.' : undefined,
    })
  }
}

/** `struct ifinfomsg`. */
function linkHeader(index: number, flags = 0): Buffer {
  const header = Buffer.alloc(16)
  header.writeInt32LE(index, 4)
  header.writeUInt32LE(flags, 8)
  header.writeUInt32LE(flags, 12)
  return header
}

/** `struct ifaddrmsg` and its attributes. */
function addressBody(index: number, { family, value, prefix }: IpSubnet): Buffer {
  const bits = family === 'ipv4' ? 32 : 128
  const header = Buffer.alloc(8)
  header.writeUInt8(family === 'ipv4' ? 2 : 10, 0)
  header.writeUInt8(prefix, 1)
  header.writeUInt32LE(index, 4)
  const bytes = (all: bigint) => Buffer.from(all.toString(16).padStart(bits / 4, '0'), 'hex')
  const everybody = value | ((1n << BigInt(bits - prefix)) - 1n)
  return Buffer.concat([
    header,
    attribute(IFA_LOCAL, bytes(value)),
    attribute(IFA_ADDRESS, bytes(value)),
    ...(family === 'ipv4' && prefix <= 30 ? [attribute(IFA_BROADCAST, bytes(everybody))] : []),
    ...(family === 'ipv6' ? [attribute(IFA_FLAGS, number(IFA_F_NODAD))] : []),
  ])
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
