/** Names of addresses. Source: RFC 1035 (3.5), RFC 3596 (2.5). */
import type { IpAddress, IpSubnet } from '../../model/index.ts'

const kinds = {
  ipv4: { suffix: 'in-addr.arpa', count: 4, base: 10, bits: 8, label: /^(?:0|[1-9]\d{0,2})$/u },
  ipv6: { suffix: 'ip6.arpa', count: 32, base: 16, bits: 4, label: /^[\da-f]$/u },
} as const

/** The domain of a subnet, as far as whole labels go. */
export function reverseZone({ family, value, prefix }: IpSubnet): string {
  const { suffix, count, base, bits } = kinds[family]
  const labels = Array.from({ length: Math.floor(prefix / bits) }, (_, index) =>
    ((value >> BigInt(bits * (count - 1 - index))) & ((1n << BigInt(bits)) - 1n)).toString(base),
  )
  return [...labels.reverse(), suffix].join('.')
}

/** The address whose name this is, in lower case; undefined when it is that of none. */
export function reversedAddress(name: string): IpAddress | undefined {
  const found = (['ipv4', 'ipv6'] as const).find((family) => name.endsWith(`.${kinds[family].suffix}`))
  if (!found) return undefined
  const { suffix, count, base, bits, label } = kinds[found]
  const labels = name
    .slice(0, -suffix.length - 1)
    .split('.')
    .reverse()
  const numbers = labels.flatMap((one) => (label.test(one) ? Number.parseInt(one, base) : []))
  const fits =
    labels.length === count && numbers.length === count && numbers.every((one) => one >> bits === 0)
  if (!fits) return undefined
  return { family: found, value: numbers.reduce((sum, one) => (sum << BigInt(bits)) + BigInt(one), 0n) }
}
