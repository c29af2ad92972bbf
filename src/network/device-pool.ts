/**
 * Network cards of the host that guests of a network are put upon (macvtap): each guest gets the one that fewest
 * have, or with `passthrough` one that nobody has. Source: libvirt's "Network XML format" (forward, interface).
 */
import type { NetworkAccess } from '../driver/index.ts'
import { networkMode, VisorError } from '../model/index.ts'
import { ipList } from './commands.ts'
import type { CompleteNetwork } from './complete.ts'
import type { Port } from './ports.ts'

export interface DevicePool {
  /** Keeps a card for a guest until it joins or leaves. Fails with `busy` when all are taken. */
  choose(definition: CompleteNetwork, guest: Guest): Promise<Pick<NetworkAccess, 'bridge' | 'direct'>>
  /** It has joined, and is counted by its port; or it will not. */
  forget(domain: string, mac?: string): void
}

interface Guest {
  readonly domain: string
  readonly mac: string
}

/** Which cards a network has. */
const devicesOf = ({ forward }: CompleteNetwork): string[] => {
  const links = forward?.links.map(({ dev }) => dev) ?? []
  return [...new Set(links.length > 0 ? links : forward?.dev === undefined ? [] : [forward.dev])]
}

export function devicePool(ports: () => readonly Port[]): DevicePool {
  /** By guest: those that have been let on, and have not joined yet. */
  const kept = new Map<string, string>()
  const keyOf = ({ domain, mac }: Guest) => `${domain} ${mac}`

  /** How many guests each card has. */
  async function count(guest: Guest): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>()
    const add = (dev: string | undefined) => dev !== undefined && counts.set(dev, (counts.get(dev) ?? 0) + 1)
    // Also those that are on no network; a macvtap of a guest that has joined is counted here.
    for (const kind of ['macvtap', 'macvlan'])
      for (const { link } of await ipList('link', 'show', 'type', kind)) add(String(link))
    for (const [key, dev] of kept) if (key !== keyOf(guest)) add(dev)
    return counts
  }

  return {
    forget(domain, mac) {
      for (const key of [...kept.keys()])
        if (mac === undefined ? key.startsWith(`${domain} `) : key === keyOf({ domain, mac }))
          kept.delete(key)
    },
    async choose(definition, guest) {
      const { bridge, name } = definition
      if (bridge !== undefined) return { bridge }
      const mode = networkMode(definition)
      const devices = devicesOf(definition)
      const object = { kind: 'network', name }
      if (mode !== 'bridge' && mode !== 'private' && mode !== 'vepa' && mode !== 'passthrough')
        throw new VisorError(
          'unsupported-config',
          `Guests cannot be put on network '${name}' of mode '${mode}'.`,
          {
            object,
          },
        )
      const counts = await count(guest)
      const [least] = devices
        .map((dev) => [dev, counts.get(dev) ?? 0] as const)
        .filter(([, number]) => mode !== 'passthrough' || number === 0)
        .sort(([, a], [, b]) => a - b)
      if (!least) {
        const users = ports().flatMap((port) => (port.uuid === definition.uuid ? [`'${port.name}'`] : []))
        throw new VisorError(
          'busy',
          `All network cards of '${name}' are taken: ${devices.join(', ')}${users.length > 0 ? `, by ${users.slice(0, 5).join(', ')}` : ''}.`,
          { object, remedy: 'Stop one of its guests, or give the network more cards.' },
        )
      }
      kept.set(keyOf(guest), least[0])
      return { direct: { dev: least[0], mode } }
    },
  }
}
