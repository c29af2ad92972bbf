/**
 * Elements of nftables' sets and maps, changed by the kernel's own messages: no program is started, and nothing is
 * read before. Source: linux/netfilter/nf_tables.h, nfnetlink.h; nft(8) for what a set's types mean.
 */
import { parseIp } from '../../model/index.ts'
import {
  askKernel,
  attribute,
  NetlinkError,
  type NetlinkMessage,
  netlinkOf,
  tellFromKernel,
} from './messages.ts'
import { attributesOf } from './routes.ts'

/** A part of a key or of what a map has for it. */
export type ElementPart =
  | readonly [type: 'ifname' | 'ether_addr' | 'ipv4_addr' | 'ipv6_addr', value: string]
  | readonly [type: 'inet_service', value: number]

/** An element of a set; with `data` of a map, with `limit` of one of limits, by their names. */
export interface SetElement {
  readonly family: 'inet' | 'bridge'
  readonly set: string
  readonly key: readonly ElementPart[]
  readonly data?: readonly ElementPart[]
  readonly limit?: string
}

/** A limit that elements of maps name: it matches what is beyond it. */
export interface NamedLimit {
  readonly family: 'inet' | 'bridge'
  readonly name: string
  readonly bytesPerSecond: number
  readonly burstBytes: number
}

export interface ElementChange {
  readonly change: 'add' | 'delete'
  readonly element: SetElement | NamedLimit
}

const NFNL_SUBSYS_NFTABLES = 10
const NFNL_MSG_BATCH_BEGIN = 0x10
const NFNL_MSG_BATCH_END = 0x11
const NFT_MSG_GETTABLE = 1
const NFT_MSG_GETGEN = 16
const NFTA_GEN_ID = 1
const elementMessage = { add: 12, delete: 14 } as const
const objectMessage = { add: 18, delete: 20 } as const
const familyOf = { inet: 1, ip: 2, bridge: 7, ip6: 10 } as const
const NLM_F_CREATE = 0x400
const NFTA_TABLE_NAME = 1
const NFTA_SET_ELEM_LIST_TABLE = 1
const NFTA_SET_ELEM_LIST_SET = 2
const NFTA_SET_ELEM_LIST_ELEMENTS = 3
const NFTA_LIST_ELEM = 1
const NFTA_SET_ELEM_KEY = 1
const NFTA_SET_ELEM_DATA = 2
const NFTA_SET_ELEM_OBJREF = 9
const NFTA_DATA_VALUE = 1
const NFTA_OBJ_TABLE = 1
const NFTA_OBJ_NAME = 2
const NFTA_OBJ_TYPE = 3
const NFTA_OBJ_DATA = 4
const NFT_OBJECT_LIMIT = 4
const NFTA_LIMIT_RATE = 1
const NFTA_LIMIT_UNIT = 2
const NFTA_LIMIT_BURST = 3
const NFTA_LIMIT_TYPE = 4
const NFTA_LIMIT_FLAGS = 5
const NFT_LIMIT_PKT_BYTES = 1
const NFT_LIMIT_F_INV = 1

/** The lengths of attributes are of 16 bits, and what a socket sends at once is bounded. */
export const mostElementsAtOnce = 1024

/**
 * Makes all changes of elements of one table, in their order, or none. Fails with `NetlinkError`: such as `ENOENT`
 * when the table, the set or what is to be deleted is not there.
 */
export async function changeElements(table: string, changes: readonly ElementChange[]): Promise<void> {
  if (changes.length === 0) return
  const batch = (type: number): NetlinkMessage => ({
    ...{ type, body: header(0, NFNL_SUBSYS_NFTABLES), isSilent: true },
  })
  await askKernel(netlinkOf.netfilter, [
    batch(NFNL_MSG_BATCH_BEGIN),
    ...changes.map((one) => formatChange(table, one)),
    batch(NFNL_MSG_BATCH_END),
  ])
}

/**
 * A number that is another one after any change of rules on this host, by whomever; only those of nftables count.
 * Fails with `NetlinkError`.
 */
export async function readGeneration(): Promise<number> {
  const body = await tellFromKernel(netlinkOf.netfilter, {
    ...{ type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, body: header(0) },
  })
  return attributesOf(body, 4).get(NFTA_GEN_ID)?.readUInt32BE(0) ?? 0
}

/** Whether a table is there; it goes with all others by `nft flush ruleset`. Fails with `NetlinkError`. */
export async function hasTable(family: keyof typeof familyOf, table: string): Promise<boolean> {
  const body = Buffer.concat([header(familyOf[family]), attribute(NFTA_TABLE_NAME, text(table))])
  try {
    await askKernel(netlinkOf.netfilter, [{ type: (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE, body }])
    return true
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return false
    throw error
  }
}

/** `struct nfgenmsg`. */
const header = (family: number, resource = 0) => Buffer.from([family, 0, resource >> 8, resource & 255])

function formatChange(table: string, { change, element }: ElementChange): NetlinkMessage {
  const isElement = 'set' in element
  return {
    type: (NFNL_SUBSYS_NFTABLES << 8) | (isElement ? elementMessage : objectMessage)[change],
    flags: change === 'add' ? NLM_F_CREATE : 0,
    body: Buffer.concat([
      header(familyOf[element.family]),
      ...(isElement ? formatElement(table, element, change) : formatLimit(table, element)),
    ]),
  }
}

function formatElement(
  table: string,
  { set, key, data, limit }: SetElement,
  change: ElementChange['change'],
): Buffer[] {
  const value = (parts: readonly ElementPart[]) => [attribute(NFTA_DATA_VALUE, concatenated(parts))]
  const mapped = [
    ...(data === undefined ? [] : [attribute(NFTA_SET_ELEM_DATA, value(data))]),
    ...(limit === undefined ? [] : [attribute(NFTA_SET_ELEM_OBJREF, text(limit))]),
  ]
  const one = [attribute(NFTA_SET_ELEM_KEY, value(key)), ...(change === 'add' ? mapped : [])]
  return [
    attribute(NFTA_SET_ELEM_LIST_TABLE, text(table)),
    attribute(NFTA_SET_ELEM_LIST_SET, text(set)),
    attribute(NFTA_SET_ELEM_LIST_ELEMENTS, [attribute(NFTA_LIST_ELEM, one)]),
  ]
}

function formatLimit(table: string, { name, bytesPerSecond, burstBytes }: NamedLimit): Buffer[] {
  return [
    attribute(NFTA_OBJ_TABLE, text(table)),
    attribute(NFTA_OBJ_NAME, text(name)),
    attribute(NFTA_OBJ_TYPE, number32(NFT_OBJECT_LIMIT)),
    attribute(NFTA_OBJ_DATA, [
      attribute(NFTA_LIMIT_RATE, number64(bytesPerSecond)),
      attribute(NFTA_LIMIT_UNIT, number64(1)),
      attribute(NFTA_LIMIT_BURST, number32(burstBytes)),
      attribute(NFTA_LIMIT_TYPE, number32(NFT_LIMIT_PKT_BYTES)),
      attribute(NFTA_LIMIT_FLAGS, number32(NFT_LIMIT_F_INV)),
    ]),
  ]
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function number64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

const text = (name: string) => Buffer.from(`${name}\0`)

/** As the kernel's registers hold it: whole words each, where there are several. */
export function concatenated(parts: readonly ElementPart[]): Buffer {
  const [first, ...others] = parts.map(bytesOf)
  if (!first || others.length === 0) return first ?? Buffer.alloc(0)
  return Buffer.concat([first, ...others].flatMap((bytes) => [bytes, Buffer.alloc(-bytes.length & 3)]))
}

function bytesOf([type, value]: ElementPart): Buffer {
  switch (type) {
    case 'ifname': {
      const name = Buffer.alloc(16)
      name.write(value, 0, 15)
      return name
    }
    case 'ether_addr':
      return Buffer.from(value.split(':').map((byte) => Number.parseInt(byte, 16)))
    case 'inet_service':
      return Buffer.from([value >> 8, value & 255])
    default: {
      const address = parseIp(value)?.value ?? 0n
      return Buffer.from(address.toString(16).padStart(type === 'ipv4_addr' ? 8 : 32, '0'), 'hex')
    }
  }
}
