/** Routes and links as the kernel lists them. Source: rtnetlink(7), linux/rtnetlink.h, linux/if_link.h. */
import { type IpFamily, type IpSubnet, subnetOf } from '../../model/index.ts'
import { listFromKernel, netlinkOf } from './messages.ts'

/** A route to hosts, by the link that it leads through. */
export interface ListedRoute {
  readonly subnet: IpSubnet
  /** '' for one that names none, such as one over several links. */
  readonly link: string
  readonly table: number
}

/** The table that routes are in unless told otherwise (RT_TABLE_MAIN). */
export const mainTable = 254

const RTM_NEWLINK = 16
const RTM_GETLINK = 18
const RTM_NEWROUTE = 24
const RTM_GETROUTE = 26
const RTN_UNICAST = 1
const RTA_DST = 1
const RTA_OIF = 4
const RTA_TABLE = 15
const IFLA_IFNAME = 3
/** `struct rtmsg`, and `struct ifinfomsg`. */
const routeBytes = 12
const linkBytes = 16
const numberOf: Readonly<Record<IpFamily, number>> = { ipv4: 2, ipv6: 10 }

/** Those of type unicast, of all tables. Fails with `NetlinkError`. */
export async function listRoutes(): Promise<ListedRoute[]> {
  const names = await namesOfLinks()
  const all = await Promise.all((['ipv4', 'ipv6'] as const).map((family) => routesOf(family, names)))
  return all.flat()
}

/** Names of all links. Fails with `NetlinkError`. */
export const listLinks = async (): Promise<string[]> => [...(await namesOfLinks()).values()]

/** Names of links by their index. */
async function namesOfLinks(): Promise<ReadonlyMap<number, string>> {
  const body = Buffer.alloc(linkBytes)
  const listed = await listFromKernel(netlinkOf.route, {
    ...{ type: RTM_GETLINK, answer: RTM_NEWLINK, body },
  })
  return new Map(
    listed.flatMap((link): [number, string][] => {
      const name = attributesOf(link, linkBytes).get(IFLA_IFNAME)
      return name ? [[link.readInt32LE(4), name.toString('utf8').replace(/\0.*$/su, '')]] : []
    }),
  )
}

async function routesOf(family: IpFamily, names: ReadonlyMap<number, string>): Promise<ListedRoute[]> {
  const body = Buffer.alloc(routeBytes)
  body.writeUInt8(numberOf[family], 0)
  const listed = await listFromKernel(netlinkOf.route, {
    ...{ type: RTM_GETROUTE, answer: RTM_NEWROUTE, body },
  })
  return listed.flatMap((route) => {
    if (route.length < routeBytes || route.readUInt8(7) !== RTN_UNICAST) return []
    const found = attributesOf(route, routeBytes)
    const value = BigInt(`0x0${found.get(RTA_DST)?.toString('hex') ?? ''}`)
    const subnet = subnetOf({ family, value }, route.readUInt8(1))
    const link = found.get(RTA_OIF)
    const table = found.get(RTA_TABLE)
    if (!subnet) return []
    return [
      {
        subnet,
        link: (link && names.get(link.readUInt32LE(0))) ?? '',
        table: table?.readUInt32LE(0) ?? route.readUInt8(4),
      },
    ]
  })
}

/** What follows the fixed part of a message, by type. */
export function attributesOf(bytes: Buffer, from: number): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = from; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at)
    if (length < 4 || at + length > bytes.length) break
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length))
    at += (length + 3) & ~3
  }
  return found
}
