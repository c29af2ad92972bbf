/**
 * passt: the network of a guest by the sockets of an unprivileged process. The guest has the addresses of the host, and
 * ports of the host lead to it. Source: passt(1).
 */
import { type Interface, type PortForward, VisorError } from '../model/index.ts'

const unsupported = (path: string, what: string): VisorError =>
  new VisorError('unsupported-config', `${path}: ${what}.`, { path, remedy: 'Change or remove it.' })

/** Fails with `unsupported-config` for what passt cannot do; `path` names the interface. */
export function checkPasstSettings({ ips, portForwards }: Interface, path: string): void {
  for (const isSix of [false, true])
    if (ips.filter(({ address }) => address.includes(':') === isSix).length > 1)
      throw unsupported(`${path}.ips`, `passt gives the guest one address of ${isSix ? 'IPv6' : 'IPv4'} only`)
  for (const [at, { address, prefix = 0 }] of ips.entries())
    if (!address.includes(':') && prefix > 32)
      throw unsupported(`${path}.ips[${at}].prefix`, 'a network of IPv4 has at most 32 bits')
  portForwards.forEach((forward, at) => void portSpec(forward, `${path}.portForwards[${at}]`))
}

const remedies: readonly (readonly [RegExp, string])[] = [
  [
    /Failed to bind|open enough sockets/u,
    'Another program has the port, the host has no such address, or the port is below 1024, which the unprivileged user of a guest may not take (sysctl net.ipv4.ip_unprivileged_port_start).',
  ],
  [
    /No external|External interface/u,
    "The guest gets the addresses of a link of the host that has a default route, and there is none: see 'ip route'.",
  ],
]

/** What it said without what is no reason, and what to do. */
export function explainPasst(error: unknown): unknown {
  if (!(error instanceof VisorError)) return error
  const message = error.message
    // Where no system log listens, it says so for each line.
    .replaceAll(/Failed to send \d+ bytes to syslog\s*/gu, '')
    .replace(/No external routable interface for IPv[46]\s+(?=Failed)/u, '')
    .replaceAll(/\s*\n\s*/gu, '; ')
  const remedy = remedies.find(([pattern]) => pattern.test(message))?.[1]
  return new VisorError(error.code, `${message.replace(/\.?$/u, '')}.`, {
    cause: error,
    ...(remedy === undefined ? {} : { remedy }),
  })
}

/** What it is told; `cable` is where its guest is, such as `--socket PATH`. */
export function passtArguments(one: Interface, cable: readonly string[]): string[] {
  const { dev, mtu, ips, portForwards, backendLog } = one
  return [
    ...['--foreground', '--one-off', ...cable],
    ...(backendLog === undefined ? ['--stderr'] : ['--log-file', backendLog]),
    ...(dev === undefined ? [] : ['--interface', dev]),
    ...(mtu === undefined ? [] : ['--mtu', String(mtu)]),
    ...ips.flatMap(addressArguments),
    ...portForwards.flatMap((forward) => [`--${forward.proto}-ports`, portSpec(forward, 'portForwards')]),
  ]
}

function addressArguments({ address, prefix = 24 }: Interface['ips'][number]): string[] {
  const own = ['--address', address]
  if (address.includes(':')) return own
  // The host's own gateway need not be in the network of the guest; traffic to either is translated.
  return [
    ...own,
    '--netmask',
    String(prefix),
    ...(prefix > 30 ? [] : ['--gateway', gatewayOf(address, prefix)]),
  ]
}

/** The first address of a network that is not the guest's. */
function gatewayOf(address: string, prefix: number): string {
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  const first = number - (number % 2 ** (32 - prefix)) + 1
  const gateway = first === number ? first + 1 : first
  return [24, 16, 8, 0].map((bits) => Math.floor(gateway / 2 ** bits) % 256).join('.')
}

/** `127.0.0.1%lo/8000-8004:9000-9004,~8002`; `all` without ranges. */
function portSpec({ address, dev, ranges }: PortForward, path: string): string {
  // It wants an address with each link.
  const where = address ?? (dev === undefined ? undefined : '0.0.0.0')
  const prefix = where === undefined ? '' : `${where}${dev === undefined ? '' : `%${dev}`}/`
  const wanted = ranges.filter(({ exclude }) => !exclude)
  for (const [at, { start, end = start, to = start }] of ranges.entries())
    if (end < start || to + end - start > 65_535)
      throw unsupported(`${path}.ranges[${at}]`, 'its last port is not a port after its first one')
  if (ranges.length === 0) return prefix === '' ? 'all' : `${prefix}1-65535`
  return (
    prefix +
    [
      // Those that are excluded are so of all, where no others are named.
      ...(wanted.length === 0 && prefix !== '' ? ['1-65535'] : []),
      ...ranges.map(({ start, end = start, to = start, exclude }) => {
        const ports = end === start ? String(start) : `${start}-${end}`
        if (exclude) return `~${ports}`
        const guest = to + end - start
        return to === start ? ports : `${ports}:${end === start ? to : `${to}-${guest}`}`
      }),
    ].join(',')
  )
}
