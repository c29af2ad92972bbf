/** DHCP and DNS of a network: a dnsmasq of its own, which outlives visord and is found again by the next. Source: dnsmasq(8). */
import { access, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Log } from '../driver/index.ts'
import { type GuestProcess, guestOutputName, openConsoleLog, spawnGuest } from '../host/index.ts'
import { contains, parseIp, subnetOfAddress, VisorError } from '../model/index.ts'
import type { CompleteNetwork } from './complete.ts'
import { formatConfig, formatDhcpHost, wantsService } from './dnsmasq-config.ts'
import { domainOf, hostName } from './names/host-name.ts'
import type { NetworkPlaces } from './places.ts'
import type { Port } from './ports.ts'

const startTimeoutMs = 20_000

export interface ServiceContext {
  readonly places: NetworkPlaces
  readonly owner: string
  readonly log: Log
}

/** Starts it; undefined where the network wants none. Resolves when it answers. */
export async function startService(
  { places, owner }: ServiceContext,
  definition: CompleteNetwork,
  link: string,
  ports: readonly Port[],
  namespace?: string,
): Promise<GuestProcess | undefined> {
  if (!wantsService(definition)) return undefined
  const own = places.of(definition.uuid)
  const user = await userFor(own.folder)
  await Promise.all([
    writeFile(own.config, formatConfig(definition, own, { link, user }), { mode: 0o644 }),
    writeTables(places, definition, ports),
    rm(own.pid, { force: true }),
  ])
  const config = `--conf-file=${own.config}`
  const guest = await spawnGuest({
    directory: own.service,
    name: `dnsmasq-${definition.uuid}`,
    ...(namespace === undefined
      ? { program: 'dnsmasq', args: [config] }
      : { program: 'ip', args: ['netns', 'exec', namespace, 'dnsmasq', config] }),
    env: { PATH: process.env.PATH },
    cgroups: [],
    owner,
    details: { uuid: definition.uuid },
  }).catch((error: unknown) => {
    throw error instanceof VisorError && error.code === 'unavailable'
      ? new VisorError(
          'unavailable',
          `Network '${definition.name}' needs 'dnsmasq', which is not installed.`,
          {
            cause: error,
            remedy:
              "Install it, such as by 'apt install dnsmasq-base'; or leave out addresses: then nothing is served.",
          },
        )
      : error
  })
  try {
    await answers(own.pid, guest, definition.name)
    await guest.confirm({ uuid: definition.uuid })
    return guest
  } catch (error) {
    await endService(guest)
    throw error
  }
}

/** Nobody in particular, who must get at its tables; root where a folder on the way is closed to others. */
async function userFor(folder: string): Promise<string> {
  for (let path = folder; path !== '/'; path = dirname(path))
    if (((await stat(path)).mode & 0o1) === 0) return 'root'
  return 'nobody'
}

/** Its process number is written when it listens. */
async function answers(pidFile: string, guest: GuestProcess, name: string): Promise<void> {
  let ended = false
  void guest.exited.then(() => {
    ended = true
  })
  const deadline = performance.now() + startTimeoutMs
  // It takes some ten milliseconds, seldom much longer.
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 1.1, 20)) {
    const there = await access(pidFile).then(
      () => true,
      () => false,
    )
    if (there) return
    if (ended || performance.now() > deadline) {
      const said = (await openConsoleLog(join(guest.directory, guestOutputName)).tail(1_000))
        .toString()
        .trim()
      throw new VisorError(
        'failed',
        `DHCP and DNS of network '${name}' did not start: ${said || 'dnsmasq said nothing'}`,
        {
          remedy: /in use/u.test(said)
            ? "Another program has the address: see 'ss -lnp', or choose another subnet."
            : undefined,
        },
      )
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

/** Writes who is who; a dnsmasq that runs reads it when told by {@link rereadTables}. */
export async function writeTables(
  places: NetworkPlaces,
  definition: CompleteNetwork,
  ports: readonly Port[],
): Promise<void> {
  const own = places.of(definition.uuid)
  const hosts = definition.addresses.flatMap(({ dhcp }) => dhcp?.hosts ?? [])
  const known = new Set(hosts.map(({ mac }) => mac))
  const dhcp = [
    ...hosts.map(formatDhcpHost),
    ...ports
      .filter(({ mac, addresses }) => addresses.length > 0 && !known.has(mac))
      .flatMap(({ mac, addresses, name }) =>
        formatDhcpHost({ mac, name: hostName(name) }) === ''
          ? []
          : [
              [mac, ...firstOfEach(definition, addresses).map(bracketed), hostName(name) ?? '']
                .filter(Boolean)
                .join(','),
            ],
      ),
  ]
  const names = [
    ...(definition.dns?.hosts.map(({ address, names: all }) => `${address} ${all.join(' ')}`) ?? []),
    ...definition.addresses.map(({ address }) => `${address} host.${domainOf(definition)}`),
    ...ports.flatMap(({ addresses, name }) => {
      const host = hostName(name)
      return host === undefined ? [] : addresses.map((address) => `${address} ${host}`)
    }),
  ]
  await Promise.all([
    writeFile(own.dhcpHosts, `${dhcp.join('\n')}\n`, { mode: 0o644 }),
    writeFile(own.names, `${names.join('\n')}\n`, { mode: 0o644 }),
  ])
}

/** A guest that is to get another address has both for a while: it is given the first. */
function firstOfEach({ addresses }: CompleteNetwork, own: readonly string[]): string[] {
  return addresses.flatMap((one) => {
    const subnet = subnetOfAddress(one)
    const isInside = (text: string) => {
      const address = parseIp(text)
      return subnet !== undefined && address !== undefined && contains(subnet, address)
    }
    return own.find(isInside) ?? []
  })
}

const bracketed = (address: string) => (address.includes(':') ? `[${address}]` : address)

export function rereadTables({ identity }: GuestProcess): void {
  try {
    process.kill(identity.pid, 'SIGHUP')
  } catch {
    // It has just ended; who starts it again reads them anyway.
  }
}

export async function endService(guest: GuestProcess): Promise<void> {
  await guest.kill()
  await guest.release()
}
