/** Which addresses are taken on this host, and which are free. */
import { listRoutes, mainTable } from '../host/index.ts'
import { type IpSubnet, overlaps, subnetOf } from '../model/index.ts'

/** A subnet that this host has a route to, and through which link. */
export interface TakenSubnet {
  readonly subnet: IpSubnet
  readonly link: string
}

/** What routes of this host lead to; default routes, which lead to everything, are none. */
export async function takenSubnets(): Promise<TakenSubnet[]> {
  return (await listRoutes()).filter(({ subnet, table }) => {
    // The kernel has tables of IPv6 for itself, of addresses and of all that is multicast.
    if (subnet.family === 'ipv6' && table !== mainTable) return false
    const isLinkLocal = subnet.family === 'ipv6' && subnet.value >> 118n === 0x3fan
    return subnet.prefix !== 0 && !isLinkLocal
  })
}

/** The one that is in the way of a subnet. */
export function conflictOf(subnet: IpSubnet, taken: readonly TakenSubnet[]): TakenSubnet | undefined {
  // A host that is itself in the subnet's parent by a wide route (10.0.0.0/8 by VPN) would lose what is there.
  return taken.find((other) => overlaps(other.subnet, subnet))
}

/** The first free subnet of 256 addresses: libvirt's 192.168.122.0 first, then its neighbours, then others. */
export function freeSubnet(taken: readonly TakenSubnet[]): IpSubnet | undefined {
  for (const subnet of candidates()) if (!conflictOf(subnet, taken)) return subnet
  return undefined
}

function* candidates(): Generator<IpSubnet> {
  const of = (second: bigint, third: bigint) =>
    subnetOf({ family: 'ipv4', value: (((192n << 8n) + second) << 16n) + (third << 8n) }, 24)
  for (let third = 122n; third < 255n; third++) {
    const subnet = of(168n, third)
    if (subnet) yield subnet
  }
  for (let second = 64n; second < 128n; second++)
    for (let third = 0n; third < 256n; third += 1n) {
      const subnet = subnetOf({ family: 'ipv4', value: (10n << 24n) + (second << 16n) + (third << 8n) }, 24)
      if (subnet) yield subnet
    }
}
