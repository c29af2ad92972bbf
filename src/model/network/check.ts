/**
 * What must hold between the parts of a network definition.
 *
 * Source: libvirt's "Network XML format", and what dnsmasq refuses.
 */
import { at } from '../described.ts'
import { type Fault, faultError } from '../issue.ts'
import { positionsOf } from '../position.ts'
import type { NetworkAddress } from './addressing.ts'
import { NetworkDefinition } from './definition.ts'
import { contains, formatSubnet, type IpSubnet, overlaps, parseIp } from './ip.ts'
import { prefixOf, subnetOfAddress } from './subnet.ts'

/** Fails with `invalid-definition` that tells everything that does not fit together. */
export function checkNetworkDefinition(definition: NetworkDefinition): void {
  const faults = rules.flatMap((rule) => rule(definition))
  if (faults.length > 0)
    throw faultError(faults, {
      code: 'invalid-definition',
      schema: NetworkDefinition,
      positions: positionsOf(definition),
    })
}

type Rule = (definition: NetworkDefinition) => Fault[]

/** How its guests reach the world; without any forwarding they and this host are alone. */
export const networkMode = ({ forward }: Pick<NetworkDefinition, 'forward'>) => forward?.mode ?? 'isolated'

/** Modes in which guests are on a network of this host's that somebody else gives addresses on. */
const onHostLan = ['bridge', 'private', 'vepa', 'passthrough', 'hostdev']
/** Modes in which this host has no address on the network. */
const withoutHost = [...onHostLan]

const checkMode: Rule = (definition) => {
  const mode = networkMode(definition)
  const { addresses, forward, bridge, vxlan } = definition
  const faults: Fault[] = []
  if (withoutHost.includes(mode) && addresses.length > 0)
    faults.push({
      path: 'addresses',
      message: `cannot be given with mode '${mode}': its guests are on the LAN`,
    })
  if (mode === 'bridge' && bridge === undefined && !hasLinks(definition))
    faults.push({ path: 'bridge', message: "must be given with mode 'bridge', or a link: forward.dev" })
  if (['private', 'vepa', 'passthrough'].includes(mode) && !hasLinks(definition))
    faults.push({ path: 'forward.dev', message: `must be given with mode '${mode}'` })
  if (mode === 'vxlan' && !vxlan) faults.push({ path: 'vxlan', message: "must be given with mode 'vxlan'" })
  if (mode !== 'vxlan' && vxlan) faults.push({ path: 'vxlan', message: "needs the mode 'vxlan'" })
  if (forward?.nat && mode !== 'nat') faults.push({ path: 'forward.nat', message: "needs the mode 'nat'" })
  return faults
}

const hasLinks = ({ forward }: NetworkDefinition) =>
  forward?.dev !== undefined || (forward?.links.length ?? 0) > 0

const checkAddresses: Rule = ({ addresses }) => {
  const seen: { readonly subnet: IpSubnet; readonly path: string }[] = []
  return addresses.flatMap((one, index) => {
    const path = at('addresses', index)
    const [faults, subnet] = checkAddress(one, path)
    const twin = subnet && seen.find((other) => overlaps(other.subnet, subnet))
    if (subnet) seen.push({ subnet, path })
    return twin
      ? [...faults, { path, message: `overlaps with ${twin.path}: ${formatSubnet(twin.subnet)}` }]
      : faults
  })
}

function checkAddress(one: NetworkAddress, path: string): [Fault[], IpSubnet | undefined] {
  const parsed = parseIp(one.address)
  if (!parsed) return [[{ path: `${path}.address`, message: `'${one.address}' is no IP address` }], undefined]
  const faults: Fault[] = []
  if (one.family !== undefined && one.family !== parsed.family)
    faults.push({
      path: `${path}.family`,
      message: `is ${one.family}, but '${one.address}' is ${parsed.family}`,
    })
  if (one.netmask !== undefined && one.prefix !== undefined)
    faults.push({ path: `${path}.netmask`, message: 'cannot be given together with a prefix' })
  const prefix = prefixOf(one)
  const subnet = subnetOfAddress(one)
  if (prefix === undefined)
    faults.push({ path: `${path}.netmask`, message: `'${one.netmask}' is no mask of a subnet` })
  else if (!subnet)
    faults.push({ path: `${path}.prefix`, message: `${prefix} is too long for ${parsed.family}` })
  else if (parsed.family === 'ipv4' && prefix < 31 && parsed.value === subnet.value)
    faults.push({
      path: `${path}.address`,
      message: `'${one.address}' is the subnet ${formatSubnet(subnet)} itself, not an address in it`,
    })
  if (subnet) faults.push(...checkDhcp(one, subnet, path))
  return [faults, subnet]
}

function checkDhcp({ dhcp, address }: NetworkAddress, subnet: IpSubnet, path: string): Fault[] {
  if (!dhcp) return []
  const faults: Fault[] = []
  const own = parseIp(address)
  const inside = (text: string, place: string) => {
    const parsed = parseIp(text)
    if (parsed && contains(subnet, parsed)) return parsed
    const problem = parsed ? `is not in the subnet ${formatSubnet(subnet)}` : 'is no IP address'
    faults.push({ path: place, message: `'${text}' ${problem}` })
    return undefined
  }
  const ranges: { readonly first: bigint; readonly last: bigint; readonly place: string }[] = []
  for (const [index, { start, end }] of dhcp.ranges.entries()) {
    const place = at(`${path}.dhcp.ranges`, index)
    const [first, last] = [inside(start, `${place}.start`)?.value, inside(end, `${place}.end`)?.value]
    if (first === undefined || last === undefined) continue
    if (first > last) faults.push({ path: place, message: `runs backwards, from '${start}' to '${end}'` })
    const other = ranges.find((range) => first <= range.last && range.first <= last)
    if (other) faults.push({ path: place, message: `overlaps with ${other.place}` })
    ranges.push({ first, last, place })
  }
  const taken = new Map<string, string>([[String(own?.value), `${path}.address`]])
  for (const [index, host] of dhcp.hosts.entries()) {
    const place = at(`${path}.dhcp.hosts`, index)
    if (host.mac === undefined && host.name === undefined && host.id === undefined)
      faults.push({ path: place, message: "needs to say whose it is: 'mac', 'name' or 'id'" })
    const value = host.address === undefined ? undefined : inside(host.address, `${place}.address`)?.value
    for (const [key, text] of [
      ['mac', host.mac],
      ['address', value === undefined ? undefined : String(value)],
    ] as const) {
      const other = text === undefined ? undefined : taken.get(text)
      if (other) faults.push({ path: `${place}.${key}`, message: `is that of ${other} too` })
      else if (text !== undefined) taken.set(text, place)
    }
  }
  return faults
}

const checkRoutes: Rule = ({ routes, addresses }) =>
  routes.flatMap((route, index) => {
    const path = at('routes', index)
    const subnet = subnetOfAddress(route)
    const gateway = parseIp(route.gateway)
    if (!subnet) return [{ path, message: `'${route.address}' with its prefix is no subnet` }]
    if (!gateway) return [{ path: `${path}.gateway`, message: `'${route.gateway}' is no IP address` }]
    const reachable = addresses.some((one) => {
      const own = subnetOfAddress(one)
      return own && contains(own, gateway)
    })
    return reachable
      ? []
      : [{ path: `${path}.gateway`, message: `'${route.gateway}' is in no subnet of this network` }]
  })

const checkPortGroups: Rule = ({ portGroups }) => {
  const faults: Fault[] = []
  for (const [index, { name, default: isDefault }] of portGroups.entries()) {
    const before = portGroups.slice(0, index)
    if (before.some((other) => other.name === name))
      faults.push({ path: `${at('portGroups', index)}.name`, message: `'${name}' is there twice` })
    if (isDefault && before.some((other) => other.default))
      faults.push({ path: `${at('portGroups', index)}.default`, message: 'only one can be the default' })
  }
  return faults
}

/** Modes in which what guests send and get passes the bridge itself. */
const throughHost = ['nat', 'route', 'open', 'isolated']

const checkBandwidth: Rule = (definition) => {
  const { bandwidth, portGroups } = definition
  const mode = networkMode(definition)
  const rates = [
    ['bandwidth', bandwidth] as const,
    ...portGroups.map((group, index) => [`${at('portGroups', index)}.bandwidth`, group.bandwidth] as const),
  ]
  return [
    ...(bandwidth && !throughHost.includes(mode)
      ? [{ path: 'bandwidth', message: `cannot be had with mode '${mode}': use port groups` }]
      : []),
    ...rates.flatMap(([path, one]) =>
      (['inbound', 'outbound'] as const).flatMap((way) =>
        one?.[way] && one[way].average === undefined
          ? [{ path: `${path}.${way}.average`, message: 'must be given' }]
          : [],
      ),
    ),
  ]
}

const rules: readonly Rule[] = [checkMode, checkAddresses, checkRoutes, checkPortGroups, checkBandwidth]
