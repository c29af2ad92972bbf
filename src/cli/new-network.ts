/** A definition of a network from flags. */
import type { CompleteConnection, FreeSubnet } from '../driver/index.ts'
import {
  formatIp,
  type IpSubnet,
  lastOf,
  type NetworkDefinition,
  parse,
  parseSubnet,
  NetworkDefinition as Schema,
  VisorError,
} from '../model/index.ts'

export const newModes = ['nat', 'isolated', 'internal', 'route', 'open', 'bridge'] as const

export interface NewNetworkFlags {
  readonly mode: (typeof newModes)[number]
  readonly subnet?: readonly string[]
  readonly address?: boolean
  readonly dhcp: boolean
  readonly bridge?: string
  readonly through?: string
  readonly domain?: string
  readonly mtu?: string
  readonly isolateGuests?: true
}

/** Asks the host for a subnet where none is named. Fails with `invalid-argument` for what cannot be. */
export async function buildNetwork(
  { networks }: Pick<CompleteConnection, 'networks'>,
  name: string,
  flags: NewNetworkFlags,
): Promise<NetworkDefinition> {
  const { mode, bridge, through, domain, mtu } = flags
  const onLan = mode === 'bridge'
  if (onLan && (flags.subnet || !flags.dhcp))
    throw new VisorError(
      'invalid-argument',
      "A network of mode 'bridge' has the addresses of the LAN it is on.",
      {
        remedy: 'Leave out --subnet and --no-dhcp.',
      },
    )
  const subnets = flags.subnet?.map(readSubnet) ?? (onLan ? [] : [await networks.findSubnet()])
  return parse(Schema, {
    name,
    ...(mode === 'isolated' ? {} : { forward: { mode, ...(through === undefined ? {} : { dev: through }) } }),
    ...(bridge === undefined ? {} : { bridge }),
    ...(domain === undefined ? {} : { domain }),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    ...(flags.isolateGuests ? { isolated: true } : {}),
    addresses: subnets.map(({ address, prefix, start, end }) => ({
      address,
      prefix,
      ...(flags.dhcp ? { dhcp: { ranges: [{ start, end }] } } : {}),
    })),
  })
}

/** `10.5.0.0/24` as it is usually used: the host has the first address, guests the others. */
function readSubnet(text: string): FreeSubnet {
  const subnet = parseSubnet(text)
  const bits = subnet?.family === 'ipv6' ? 126 : 30
  if (!subnet || !text.includes('/') || subnet.prefix > bits)
    throw new VisorError('invalid-argument', `'${text}' is no subnet for guests.`, {
      remedy: "Write it as '10.5.0.0/24' or 'fd00:5::/64'.",
    })
  const at = (value: bigint) => formatIp({ ...subnet, value })
  return {
    subnet: text,
    prefix: subnet.prefix,
    address: at(subnet.value + 1n),
    start: at(subnet.value + 2n),
    end: at(lastGiven(subnet)),
  }
}

/** Of IPv4 the last is for all; of IPv6 there are more than anybody gives. */
function lastGiven(subnet: IpSubnet): bigint {
  const last = lastOf(subnet)
  if (subnet.family === 'ipv4') return last - 1n
  const most = subnet.value + 0xffffn
  return last < most ? last : most
}
