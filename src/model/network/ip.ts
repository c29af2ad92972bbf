/** Addresses of the Internet Protocol as numbers. Source: RFC 4291 (2.2), RFC 5952 for how IPv6 is written. */

export type IpFamily = 'ipv4' | 'ipv6'

export interface IpAddress {
  readonly family: IpFamily
  readonly value: bigint
}

/** All addresses whose first `prefix` bits are those of `value`. */
export interface IpSubnet extends IpAddress {
  readonly prefix: number
}

export const ipBits = { ipv4: 32, ipv6: 128 } as const

/** The address that a text says; undefined when it is none. */
export function parseIp(text: string): IpAddress | undefined {
  if (!text.includes(':')) {
    const value = parseIpv4(text)
    return value === undefined ? undefined : { family: 'ipv4', value }
  }
  const value = parseIpv6(text)
  return value === undefined ? undefined : { family: 'ipv6', value }
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split('.')
  // A leading zero means octal to some: refused, as inet_pton(3) does.
  if (parts.length !== 4 || parts.some((part) => !/^(?:0|[1-9]\d{0,2})$/u.test(part) || Number(part) > 255))
    return undefined
  return parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n)
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map(groupsOf)
  if (!head || (halves.length === 2 && !tail)) return undefined
  const missing = 8 - head.length - (tail?.length ?? 0)
  if (tail ? missing < 1 : missing !== 0) return undefined
  const groups = [...head, ...Array<bigint>(tail ? missing : 0).fill(0n), ...(tail ?? [])]
  return groups.reduce((sum, group) => (sum << 16n) + group, 0n)
}

function groupsOf(text: string): bigint[] | undefined {
  if (text === '') return []
  const groups: bigint[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    const four = index === parts.length - 1 && part.includes('.') ? parseIpv4(part) : undefined
    if (four !== undefined) groups.push(four >> 16n, four & 0xffffn)
    else if (/^[0-9a-fA-F]{1,4}$/u.test(part)) groups.push(BigInt(`0x${part}`))
    else return undefined
  }
  return groups
}

export function formatIp({ family, value }: IpAddress): string {
  if (family === 'ipv4') return [24n, 16n, 8n, 0n].map((bits) => (value >> bits) & 255n).join('.')
  const groups = Array.from({ length: 8 }, (_, index) => (value >> BigInt(112 - 16 * index)) & 0xffffn)
  const zeros = longestZeros(groups)
  const text = (part: readonly bigint[]) => part.map((group) => group.toString(16)).join(':')
  if (!zeros) return text(groups)
  return `${text(groups.slice(0, zeros.start))}::${text(groups.slice(zeros.start + zeros.length))}`
}

/** The run of zeros that `::` stands for: the longest, the first of several, never a single one. */
function longestZeros(groups: readonly bigint[]) {
  let best: { start: number; length: number } | undefined
  for (let start = 0; start < groups.length; start++) {
    let length = 0
    while (groups[start + length] === 0n) length++
    if (length > 1 && length > (best?.length ?? 0)) best = { start, length }
  }
  return best
}

/** The subnet of an address; undefined when the prefix does not fit. */
export function subnetOf({ family, value }: IpAddress, prefix: number): IpSubnet | undefined {
  const bits = ipBits[family]
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > bits) return undefined
  const rest = BigInt(bits - prefix)
  return { family, value: (value >> rest) << rest, prefix }
}

export const formatSubnet = (subnet: IpSubnet): string => `${formatIp(subnet)}/${subnet.prefix}`

/** `10.1.0.0/24`, or an address alone as the subnet of it; undefined when it is neither. */
export function parseSubnet(text: string): IpSubnet | undefined {
  const [address = '', prefix, ...more] = text.split('/')
  const parsed = parseIp(address)
  if (!parsed || more.length > 0 || (prefix !== undefined && !/^\d{1,3}$/u.test(prefix))) return undefined
  return subnetOf(parsed, prefix === undefined ? ipBits[parsed.family] : Number(prefix))
}

export const lastOf = ({ family, value, prefix }: IpSubnet): bigint =>
  value + (1n << BigInt(ipBits[family] - prefix)) - 1n

export const contains = (subnet: IpSubnet, { family, value }: IpAddress): boolean =>
  subnet.family === family && value >= subnet.value && value <= lastOf(subnet)

export const overlaps = (a: IpSubnet, b: IpSubnet): boolean =>
  a.family === b.family && a.value <= lastOf(b) && b.value <= lastOf(a)

/** The prefix of a mask such as `255.255.255.0`; undefined when it is none. */
export function prefixOfMask(mask: string): number | undefined {
  const parsed = parseIp(mask)
  if (!parsed) return undefined
  const bits = ipBits[parsed.family]
  const text = parsed.value.toString(2).padStart(bits, '0')
  return /^1*0*$/u.test(text) ? text.replace(/0/gu, '').length : undefined
}
