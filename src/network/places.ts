/** Where networks keep their things. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'

export interface NetworkPlaces {
  /** One folder per network that is there. */
  readonly live: string
  /** What is known of bridges made from network cards. */
  readonly hostBridges: string
  /** One folder per process that answers DHCP and DNS. */
  readonly services: string
  /** One file per interface of a guest. */
  readonly ports: string
  /** Addresses that were given; they outlive the boot. */
  readonly leases: string
  /** Name of the tables of rules: one of a kind for each daemon on a host. */
  readonly table: string
  of(uuid: string): {
    readonly folder: string
    readonly record: string
    readonly config: string
    readonly dhcpHosts: string
    readonly names: string
    readonly pid: string
    readonly service: string
    readonly leases: string
  }
}

export function networkPlaces(stateDirectory: string, runtimeDirectory: string): NetworkPlaces {
  const live = join(runtimeDirectory, 'networks')
  const services = join(runtimeDirectory, 'network-services')
  const leases = join(stateDirectory, 'networks')
  const isUsual = runtimeDirectory === '/run/visor'
  const mark = createHash('sha256').update(runtimeDirectory).digest('hex').slice(0, 8)
  return {
    live,
    services,
    leases,
    hostBridges: join(runtimeDirectory, 'host-bridges'),
    ports: join(runtimeDirectory, 'network-ports'),
    table: isUsual ? 'visor' : `visor-${mark}`,
    of(uuid) {
      const folder = join(live, uuid)
      return {
        folder,
        record: join(folder, 'live.json'),
        config: join(folder, 'dnsmasq.conf'),
        dhcpHosts: join(folder, 'dhcp-hosts'),
        names: join(folder, 'names'),
        pid: join(folder, 'dnsmasq.pid'),
        service: join(services, uuid),
        leases: join(leases, `${uuid}.leases`),
      }
    },
  }
}
