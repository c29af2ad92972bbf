/** What is known of the addresses of cards on networks, asked of all who know: one question for all cards. */
import type { GuestInterfaceAddress } from '../model/index.ts'
import { knownAddresses } from './guest-addresses.ts'
import { isOfLan, readHeard } from './heard.ts'
import { readLeases } from './leases.ts'
import type { LiveNetworks } from './live.ts'
import type { Neighbour } from './neighbours.ts'
import type { NetworkPlaces } from './places.ts'
import type { Port } from './ports.ts'

/** For each port its addresses, by what was given, who was heard, and what is kept. */
export async function addressesOfPorts(
  { places, live }: { readonly places: NetworkPlaces; readonly live: LiveNetworks },
  ports: readonly Port[],
  neighbours: readonly Neighbour[],
): Promise<GuestInterfaceAddress[][]> {
  const isLan = ({ uuid }: Port) => {
    const definition = live.get(uuid)?.definition
    return definition !== undefined && isOfLan(definition)
  }
  const heard = ports.some(isLan) ? await readHeard(places.table) : []
  return Promise.all(
    ports.map(async (port) => {
      const definition = live.get(port.uuid)?.definition
      const leases = definition ? await readLeases(places.of(port.uuid).leases, definition, [port]) : []
      return knownAddresses(port, leases, [...neighbours, ...heard.filter(({ link }) => link === port.link)])
    }),
  )
}
