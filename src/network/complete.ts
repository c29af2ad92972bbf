/** What is chosen for a network that its definition leaves open. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { FreeSubnet } from '../driver/index.ts'
import {
  formatIp,
  formatSubnet,
  type NetworkDefinition,
  networkMode,
  parse,
  NetworkDefinition as Schema,
  subnetOfAddress,
  VisorError,
} from '../model/index.ts'
import { conflictOf, freeSubnet, type TakenSubnet } from './subnets.ts'

/** A definition with nothing left open. */
export type CompleteNetwork = NetworkDefinition & { readonly uuid: string }

/** Modes in which visor has a bridge of its own. */
const withBridge = ['isolated', 'nat', 'route', 'open', 'internal', 'vxlan']

export const hasOwnBridge = (definition: NetworkDefinition): boolean =>
  withBridge.includes(networkMode(definition))

/** Fills in identity, bridge and hardware address. `names`: of links and bridges that are taken. */
export function completeNetwork(definition: NetworkDefinition, names: ReadonlySet<string>): CompleteNetwork {
  const uuid = definition.uuid ?? randomUUID()
  if (!hasOwnBridge(definition)) return { ...definition, uuid }
  return {
    ...definition,
    uuid,
    bridge: definition.bridge ?? freeName(names),
    // The one that libvirt has for what is its own: local, and never that of a card.
    mac:
      definition.mac ??
      `52:54:00:${[...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`,
  }
}

function freeName(names: ReadonlySet<string>): string {
  for (let number = 0; ; number++) if (!names.has(`visor${number}`)) return `visor${number}`
}

/** A free subnet, as it is usually used: the host first, then guests. */
export function offerSubnet(taken: readonly TakenSubnet[]): FreeSubnet | undefined {
  const subnet = freeSubnet(taken)
  if (!subnet) return undefined
  const at = (offset: bigint) => formatIp({ ...subnet, value: subnet.value + offset })
  return {
    subnet: formatSubnet(subnet),
    address: at(1n),
    start: at(2n),
    end: at(254n),
    prefix: subnet.prefix,
  }
}

/** The network that is there without being made: behind this host's address, on a subnet that is free. */
export function defaultNetwork(taken: readonly TakenSubnet[]): NetworkDefinition | undefined {
  const free = offerSubnet(taken)
  if (!free) return undefined
  const { address, prefix, start, end } = free
  return parse(Schema, {
    name: 'default',
    forward: { mode: 'nat' },
    addresses: [{ address, prefix, dhcp: { ranges: [{ start, end }] } }],
  })
}

/** Fails with `invalid-state` where the host has a route to what the network would take. */
export function refuseConflicts(
  { name, addresses, bridge }: CompleteNetwork,
  taken: readonly TakenSubnet[],
): void {
  for (const one of addresses) {
    const subnet = subnetOfAddress(one)
    const other =
      subnet &&
      conflictOf(
        subnet,
        taken.filter(({ link }) => link !== bridge),
      )
    if (!subnet || !other) continue
    const free = freeSubnet(taken)
    throw new VisorError(
      'invalid-state',
      `Network '${name}' wants ${formatSubnet(subnet)}, but this host reaches ${formatSubnet(other.subnet)} through '${other.link}'.`,
      {
        object: { kind: 'network', name },
        remedy: `Choose another subnet${free ? `, such as ${formatSubnet(free)}, which is free` : ''}.`,
      },
    )
  }
}
