/**
 * Networks in user space by passt, a process beside that of the machine: it ends by itself when QEMU lets go of it.
 * The guest has the addresses of the host, and ports of the host lead to it. Source: passt(1), qemu(1) "-netdev stream".
 */
import { join } from 'node:path'
import { type GuestProcess, type GuestUser, guestFolderName } from '../../../host/index.ts'
import { type Devices, type Interface, type PortForward, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { netdev, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Emulator, findProgram, isAtLeast } from '../emulator/emulator.ts'
import { adoptCompanions, endCompanion, startCompanion } from '../machine/companion.ts'
import { makeFile } from '../machine/guest-files.ts'
import type { Machine } from '../machine/machine.ts'
import type { GuestPaths } from '../paths.ts'

export const isPasst = ({ type, backend }: Pick<Interface, 'type' | 'backend'>): boolean =>
  type === 'user' && backend === 'passt'

/** Fails with `unsupported-config` where this host or QEMU cannot have it. */
export async function checkPasst(
  { devices }: { readonly devices: Devices },
  { version, path: emulator }: Emulator,
): Promise<void> {
  for (const [index, one] of devices.interfaces.entries()) {
    if (!isPasst(one)) continue
    const path = `devices.interfaces[${index}]`
    if (!isAtLeast(version, '7.2'))
      throw unsupported(`${path}.backend`, `passt needs QEMU 7.2, and ${emulator} is ${version}`)
    if (!(await findProgram('passt')))
      throw unsupported(
        `${path}.backend`,
        "the program 'passt' is not installed",
        "Install it: 'apt install passt' on Debian and Ubuntu, 'dnf install passt' on Fedora; or leave the backend out.",
      )
    checkAddresses(one, path)
    one.portForwards.forEach((forward, at) => void portSpec(forward, `${path}.portForwards[${at}]`))
  }
}

function checkAddresses({ ips }: Interface, path: string): void {
  for (const isSix of [false, true])
    if (ips.filter(({ address }) => address.includes(':') === isSix).length > 1)
      throw unsupported(`${path}.ips`, `passt gives the guest one address of ${isSix ? 'IPv6' : 'IPv4'} only`)
  for (const [at, { address, prefix = 0 }] of ips.entries())
    if (!address.includes(':') && prefix > 32)
      throw unsupported(`${path}.ips[${at}].prefix`, 'a network of IPv4 has at most 32 bits')
}

export function passtPart(id: string, socket: string): Part {
  return netdev('stream', { id, server: false, 'addr.type': 'unix', 'addr.path': socket })
}

/** Where QEMU finds it. */
export const passtSocket = (paths: GuestPaths, alias: string): string =>
  join(paths.passtDirectory(alias), guestFolderName, 's')

/**
 * Starts that of a card; resolves when QEMU can reach it. Fails with `failed` and what it said, such as that a port
 * is taken; nothing is left then.
 */
export async function startPasst(
  context: Context,
  { uuid, name }: CompleteDefinition,
  one: Interface,
  user: GuestUser | undefined,
): Promise<GuestProcess> {
  const program = await findProgram('passt')
  const { alias = '', backendLog } = one
  const what = `network of '${alias}' of domain '${name}'`
  if (program === undefined)
    throw new VisorError('unavailable', `The ${what} needs 'passt', which is not installed.`, {
      remedy: "Install it, such as by 'apt install passt'.",
    })
  const paths = context.paths.of(uuid)
  if (backendLog !== undefined) await makeFile(backendLog, 'log')
  const guest = await startCompanion(context, {
    directory: paths.passtDirectory(alias),
    name: `passt-${uuid}`,
    what,
    program,
    args: passtArguments(one, passtSocket(paths, alias)),
    env: { PATH: process.env.PATH },
    socket: passtSocket(paths, alias),
    user,
    access: backendLog === undefined ? [] : [{ path: backendLog, write: true, what: 'log' }],
    // Each port that leads to the guest is an open socket.
    limits: { openFiles: 2 ** 20 },
    details: { uuid, alias },
  }).catch((error: unknown) => {
    throw explained(error)
  })
  watch(context, guest, what)
  return guest
}

/** It is gone when QEMU has let go of it: then nothing of it is to stay. */
function watch({ log }: Context, guest: GuestProcess, what: string): void {
  void guest.exited
    .then(() => guest.release())
    .catch((error: unknown) => log.warn({ error: String(error) }, `The ${what} left something behind.`))
}

/** Finds those whose machines run; the others, which nobody talks to, are ended. */
export function adoptPassts(
  context: Context,
  machineOf: (uuid: string) => Machine | undefined,
): Promise<void> {
  return adoptCompanions(context, context.paths.passts, machineOf, ({ companions }, guest) => {
    watch(context, guest, 'network of a guest')
    companions.add(() => endCompanion(guest))
  })
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
export function explained(error: unknown): unknown {
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

/** What it is told. */
export function passtArguments(one: Interface, socket: string): string[] {
  const { dev, mtu, ips, portForwards, backendLog } = one
  return [
    ...['--foreground', '--one-off', '--socket', socket],
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
