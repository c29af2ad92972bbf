/** The subnets of a definition. */
import type { NetworkAddress } from './addressing.ts'
import { type IpAddress, type IpSubnet, parseIp, prefixOfMask, subnetOf } from './ip.ts'

/** What libvirt assumes where neither prefix nor mask is given: the classes of IPv4 of old, and 64. */
export function usualPrefix({ family, value }: IpAddress): number {
  if (family === 'ipv6') return 64
  const first = value >> 24n
  if (first < 128n) return 8
  return first < 192n ? 16 : 24
}

type Written = Pick<NetworkAddress, 'address' | 'netmask' | 'prefix'>

/** Bits of the subnet; undefined when the mask is none. */
export function prefixOf({ address, netmask, prefix }: Written): number | undefined {
  if (prefix !== undefined) return prefix
  if (netmask !== undefined) return prefixOfMask(netmask)
  const parsed = parseIp(address)
  return parsed && usualPrefix(parsed)
}

/** The subnet of an address with its mask or prefix; undefined when they are wrong. */
export function subnetOfAddress(written: Written): IpSubnet | undefined {
  const parsed = parseIp(written.address)
  const prefix = prefixOf(written)
  return parsed && prefix !== undefined ? subnetOf(parsed, prefix) : undefined
}
