/**
 * What other firewalls of this host have to let pass, so that networks are what they are defined to be. They drop what
 * they do not know; what guests may do is said by visor's own rules, which ask every packet too.
 */
import { networkMode } from '../../model/index.ts'
import { type CompleteNetwork, hasOwnBridge } from '../complete.ts'
import { wantsService } from '../dnsmasq-config.ts'
import { linksOf } from '../links.ts'

/** Of a bridge. */
export interface Exception {
  readonly bridge: string
  /** Whether packets go through this host: else only from one port of the bridge to another. */
  readonly isThrough: boolean
  /** Whether this host answers there: DHCP, names, files for booting. */
  readonly isServed: boolean
}

/** Ports that are answered on networks. Source: services(5). */
export const servedPorts = { udp: [53, 67, 69, 547], tcp: [53] } as const

export function exceptionsOf(networks: readonly CompleteNetwork[]): Exception[] {
  return networks.flatMap((definition) => {
    const { bridge } = definition
    if (bridge === undefined) return []
    const isOwn = hasOwnBridge(definition)
    const isApart = linksOf(definition).namespace !== undefined
    return [
      {
        bridge,
        isThrough: isOwn && ['nat', 'route', 'open'].includes(networkMode(definition)),
        isServed: isOwn && !isApart && wantsService(definition),
      },
    ]
  })
}

/** Links of Docker's own networks, to which only it says who gets. */
export const isOfDocker = (link: string): boolean =>
  /^(?:docker0|docker_gwbridge|br-[0-9a-f]{12})$/u.test(link)
