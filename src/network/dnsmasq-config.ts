/** What dnsmasq is told of a network. Source: dnsmasq(8). */
import {
  type DhcpHost,
  formatIp,
  type NetworkAddress,
  networkMode,
  parseIp,
  prefixOf,
  subnetOfAddress,
} from '../model/index.ts'
import type { CompleteNetwork } from './complete.ts'
import { domainOf } from './names/host-name.ts'
import { reverseZone } from './names/reverse.ts'
import type { NetworkPlaces } from './places.ts'

type Places = ReturnType<NetworkPlaces['of']>

/** Whether packets of its guests go nowhere else. */
const isAlone = (definition: CompleteNetwork) =>
  ['isolated', 'internal', 'vxlan'].includes(networkMode(definition))

/** Whether anything is answered at all. */
export function wantsService({ dns, addresses }: CompleteNetwork): boolean {
  const serves = addresses.some(({ dhcp, tftp }) => dhcp !== undefined || tftp !== undefined)
  return serves || (addresses.length > 0 && dns?.enabled !== false)
}

/** `link`: that it answers on; `user`: who it becomes when its sockets are open. */
export function formatConfig(
  definition: CompleteNetwork,
  places: Places,
  { link, user }: { readonly link: string; readonly user: string },
): string {
  const lines = [
    ...['keep-in-foreground', 'bind-dynamic', 'except-interface=lo', `interface=${link}`],
    `pid-file=${places.pid}`,
    `user=${user}`,
    'log-facility=-',
    ...namesLines(definition, places),
    ...definition.addresses.flatMap((address) => addressLines(definition, address)),
    // Nor is anything behind the host by IPv6.
    ...(isAlone(definition) ? [`ra-param=${link},0,0`] : []),
    ...dhcpLines(definition, places),
  ]
  return `${lines.join('\n')}\n`
}

function namesLines(definition: CompleteNetwork, { names }: Places): string[] {
  const { dns } = definition
  if (dns?.enabled === false) return ['port=0']
  const domain = domainOf(definition)
  const asks = !isAlone(definition)
  const all = dns?.forwarders.filter((one) => one.domain === undefined && one.address !== undefined) ?? []
  const local = definition.domainLocalOnly ?? definition.domain === undefined
  return [
    'no-hosts',
    'expand-hosts',
    'localise-queries',
    `addn-hosts=${names}`,
    `domain=${domain}`,
    ...(local ? [`local=/${domain}/`] : []),
    ...(dns?.forwardPlainNames === true ? [] : ['domain-needed', 'local=//']),
    ...(asks && all.length === 0 ? [] : ['no-resolv']),
    ...(dns?.forwarders.map(({ domain: of, address }) =>
      of === undefined ? `server=${address}` : `server=/${of}/${address ?? ''}`,
    ) ?? []),
    ...(dns?.texts.map(({ name, value }) => `txt-record=${name},"${value}"`) ?? []),
    ...(dns?.services.map((one) => {
      const of = `_${one.service}._${one.protocol}${one.domain === undefined ? '' : `.${one.domain}`}`
      const rest = [one.target ?? '', one.port ?? '', one.priority ?? '', one.weight ?? '']
      return `srv-host=${[of, ...(one.target === undefined ? [] : rest)].join(',').replace(/,+$/u, '')}`
    }) ?? []),
  ]
}

function addressLines(definition: CompleteNetwork, one: NetworkAddress): string[] {
  const { dhcp, tftp } = one
  const subnet = subnetOfAddress(one)
  if (!subnet) return []
  const lines: string[] = []
  if (one.localPointers) lines.push(`local=/${reverseZone(subnet)}/`)
  if (tftp) lines.push('enable-tftp', `tftp-root=${tftp.root}`)
  const own = parseIp(one.address)
  const mask = subnet.family === 'ipv4' ? `,${maskOf(prefixOf(one) ?? 24)}` : `,${subnet.prefix}`
  for (const { start, end, lease } of dhcp?.ranges ?? [])
    lines.push(`dhcp-range=${start},${end}${mask}${lease ? `,${leaseTime(lease)}` : ''}`)
  // Only to those that an address is kept for.
  if (dhcp && dhcp.ranges.length === 0 && dhcp.hosts.length > 0)
    lines.push(`dhcp-range=${formatIp(subnet)},static${mask}`)
  if (subnet.family === 'ipv6')
    lines.push(...(dhcp ? ['enable-ra'] : own ? [`dhcp-range=${one.address},ra-only`] : []))
  for (const { file, server } of dhcp?.bootServers ?? [])
    lines.push(`dhcp-boot=${file}${server === undefined ? '' : `,,${server}`}`)
  // Nothing is behind the host: a guest that thought so would wait for what never answers.
  if (subnet.family === 'ipv4' && isAlone(definition)) lines.push('dhcp-option=3')
  return lines
}

function dhcpLines({ addresses, mtu }: CompleteNetwork, { dhcpHosts, leases }: Places): string[] {
  const ranges = addresses.flatMap(({ dhcp }) => dhcp?.ranges ?? [])
  const hosts = addresses.flatMap(({ dhcp }) => dhcp?.hosts ?? [])
  if (addresses.every(({ dhcp }) => dhcp === undefined)) return []
  const count = ranges.reduce((sum, { start, end }) => {
    const [first, last] = [parseIp(start)?.value ?? 0n, parseIp(end)?.value ?? 0n]
    return sum + Number(last - first) + 1
  }, hosts.length)
  return [
    'dhcp-authoritative',
    'dhcp-no-override',
    // Whether an address is free is known: who is on the network is known.
    'no-ping',
    `dhcp-lease-max=${Math.min(Math.max(count, 1), 1_000_000)}`,
    `dhcp-leasefile=${leases}`,
    `dhcp-hostsfile=${dhcpHosts}`,
    ...(mtu === undefined ? [] : [`dhcp-option=26,${mtu}`]),
  ]
}

/** Lines of the file of kept addresses. */
export function formatDhcpHost({ mac, id, name, address, lease }: DhcpHost): string {
  return [
    ...(id === undefined ? [] : [`id:${id}`]),
    ...(mac === undefined ? [] : [mac]),
    ...(address === undefined ? [] : [address.includes(':') ? `[${address}]` : address]),
    ...(name === undefined ? [] : [name]),
    ...(lease ? [leaseTime(lease)] : []),
  ].join(',')
}

function leaseTime({ expiry, unit }: NonNullable<DhcpHost['lease']>): string {
  return expiry === 0 ? 'infinite' : `${expiry}${{ seconds: '', minutes: 'm', hours: 'h' }[unit]}`
}

function maskOf(prefix: number): string {
  const value = ((1n << 32n) - 1n) ^ ((1n << BigInt(32 - prefix)) - 1n)
  return formatIp({ family: 'ipv4', value })
}
