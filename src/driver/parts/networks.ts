/** Virtual networks of the host, and what drivers ask of them. */
import {
  type Event,
  type Explanation,
  type FilterParameter,
  type GuestInterfaceAddress,
  GuestName,
  Network,
  type NetworkChange,
  NetworkDefinition,
  type NetworkDefinitionInput,
  NetworkLease,
  NetworkPort,
  networkChanges,
  networkSections,
  schema as s,
} from '../../model/index.ts'
import type { CallOptions, DefineOptions, EventOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'
import type { Groups } from './groups.ts'
import type { HostBridges } from './host-bridges.ts'
import type { Nwfilters } from './nwfilters.ts'
import type { Publications } from './publications.ts'

/** Networks, each by its name or uuid. */
export interface Networks {
  /** All networks, by name. */
  list(): Promise<Network[]>
  get(network: string): Promise<Network>
  /** Its definition: of what is there now, or with `inactive` of its next start. */
  describe(network: string, options?: { readonly inactive?: boolean }): Promise<NetworkDefinition>
  /** Makes a network known, or replaces its definition, which is used from its next start on. */
  define?(definition: NetworkDefinitionInput, options?: DefineOptions): Promise<Network>
  /** Forgets a network; `invalid-state` while it is there. */
  undefine?(network: string, options?: CallOptions): Promise<void>
  /** Makes it be there: bridge, addresses, rules, DHCP and DNS. */
  start?(network: string, options?: CallOptions): Promise<void>
  /** Takes all of it away; `invalid-state` while guests are on it, unless forced. */
  destroy?(network: string, options?: { readonly force?: boolean } & CallOptions): Promise<void>
  /**
   * Changes a part of it: of what is there now (`live`), of its definition for its next start (`config`), or both;
   * of what is there, else of the definition, without either. Guests stay on it. Fails with `not-found`,
   * `already-exists`, `invalid-definition`; nothing is changed then.
   */
  update?(network: string, options: UpdateNetworkOptions): Promise<void>
  setAutostart?(network: string, options: { readonly enabled: boolean } & CallOptions): Promise<void>
  /** Addresses that it has given. */
  leases?(network: string): Promise<NetworkLease[]>
  /** A subnet that neither this host nor another network has. */
  findSubnet?(): Promise<FreeSubnet>
  /** Interfaces of guests that are on it. */
  ports?(network: string): Promise<NetworkPort[]>
  /**
   * Who has a name, whole (`web.lab.visor`) or that of a guest alone (`web`) on whichever network, or an address. Never
   * empty: fails with `not-found` when nobody has it, and with `invalid-state` when who has it has no address.
   */
  resolve?(options: { readonly name: string }): Promise<GuestName[]>
}

export interface UpdateNetworkOptions extends CallOptions, NetworkChange {
  readonly live?: boolean
  readonly config?: boolean
}

export const FreeSubnet = s.object('FreeSubnet', 'Addresses that nobody has', {
  subnet: s.string('the subnet: 192.168.130.0/24'),
  address: s.string('its first address, for the host'),
  start: s.string('first address for guests'),
  end: s.string('last address for guests'),
  prefix: s.integer('bits of the subnet', { min: 0, max: 128 }),
})
export type FreeSubnet = s.Output<typeof FreeSubnet>

const inactive = s.boolean('of its next start, not of what is there', { optional: true })

export const networkOperations = {
  list: { access: 'read', doc: 'All networks, by name.', result: s.array('networks', Network) },
  get: { access: 'read', doc: 'A network as it is now.', key: 'network', result: Network },
  describe: {
    access: 'read',
    doc: 'The definition of a network.',
    key: 'network',
    options: s.object('DescribeNetwork', 'Which definition', { inactive }),
    result: NetworkDefinition,
  },
  define: {
    access: 'admin',
    doc: 'Makes a network known, or replaces its definition.',
    body: NetworkDefinition,
    options: s.object('DefineNetwork', 'Conditions', {
      ifMatch: s.string('entity tag the definition there is must have', { optional: true }),
      ifNoneMatch: s.choice("'*': only when there is none", ['*'], { optional: true }),
    }),
    result: Network,
  },
  undefine: { access: 'admin', doc: 'Forgets a network.', key: 'network' },
  start: { access: 'admin', doc: 'Starts a network.', key: 'network' },
  destroy: {
    access: 'admin',
    doc: 'Takes a network away.',
    key: 'network',
    options: s.object('DestroyNetwork', 'How', {
      force: s.boolean('also while guests are on it', { optional: true }),
    }),
  },
  update: {
    access: 'admin',
    doc: 'Changes a part of a network while guests are on it.',
    key: 'network',
    options: s.object('UpdateNetwork', 'What', {
      command: s.choice('how', networkChanges),
      section: s.choice('which part', networkSections),
      element: s.any('the element, as in a definition; to delete it, what says which'),
      parentIndex: s.integer('which of its addresses it is of', { optional: true, min: 0, max: 31 }),
      live: s.boolean('what is there now', { optional: true }),
      config: s.boolean('the definition for its next start', { optional: true }),
    }),
  },
  setAutostart: {
    access: 'admin',
    doc: 'Sets whether a network starts with the daemon.',
    key: 'network',
    options: s.object('SetNetworkAutostart', 'What', {
      enabled: s.boolean('whether it starts with the daemon'),
    }),
  },
  leases: {
    access: 'read',
    doc: 'Addresses that a network has given.',
    key: 'network',
    result: s.array('leases', NetworkLease),
  },
  findSubnet: {
    access: 'read',
    doc: 'A subnet that is free for a new network.',
    result: FreeSubnet,
  },
  ports: {
    access: 'read',
    doc: 'Interfaces of guests on a network.',
    key: 'network',
    result: s.array('ports', NetworkPort),
  },
  resolve: {
    access: 'read',
    doc: 'Who has a name or an address on the networks of this host.',
    options: s.object('ResolveName', 'What', {
      name: s.string(
        "a name, whole or of a guest alone, or an address: 'web.lab.visor', 'web', '192.168.122.2'",
        {
          minLength: 1,
          maxLength: 255,
        },
      ),
    }),
    result: s.array('names', GuestName),
  },
} as const satisfies PartTable<Networks>

/** What is in force for an interface, and values of its variables. */
export interface PortFilter {
  readonly filter?: string | undefined
  readonly filterParameters?: readonly FilterParameter[] | undefined
}

/** An interface of a guest that shall be on a network. */
export interface PortRequest extends PortFilter {
  /** Name or uuid of the network. */
  readonly network: string
  readonly portGroup?: string | undefined
  readonly domain: string
  readonly name: string
  readonly driver: string
  readonly mac: string
}

/** How an interface gets on its network. */
export interface NetworkAccess {
  readonly network: string
  /** The bridge that its link becomes a port of. */
  readonly bridge?: string
  /** The link of the host that it is put upon (macvtap), and how. */
  readonly direct?: {
    readonly dev: string
    readonly mode: 'bridge' | 'private' | 'vepa' | 'passthrough'
  }
  /** Largest packet, bytes. */
  readonly mtu?: number
  /** The link is there, and named: gives it what the network says. Nothing may pass before. */
  join(link: string): Promise<void>
}

/** A network card of a guest, with the link of the host that leads to it. */
export interface GuestCard {
  readonly mac?: string | undefined
  readonly link?: string | undefined
  /** Whether its cable is unplugged, so to say. */
  readonly isUnplugged?: boolean
}

/** A packet of a guest whose way is asked for. */
export interface ExplainRequest {
  readonly domain: string
  readonly name: string
  readonly cards: readonly GuestCard[]
  /** What is known of its addresses. */
  readonly addresses: readonly GuestInterfaceAddress[]
  /** An address, the name of a guest, `host`, or a name that the host knows. */
  readonly target: string
  readonly proto: 'tcp' | 'udp' | 'icmp'
  readonly port?: number | undefined
}

/** What drivers ask of the networks of this host. */
export interface GuestNetworks {
  /** Readies the network, starting it where it starts by itself. Fails with `not-found`, `invalid-state`. */
  admit(request: PortRequest): Promise<NetworkAccess>
  /** The guest has ended, or this interface of it is gone. Never fails. */
  leave(domain: string, mac?: string): Promise<void>
  /**
   * Puts another filter in force for a card of a guest that is on a network; none without a name. Fails with
   * `unsupported-config` where it cannot be; what was in force stays then.
   */
  setFilter(domain: string, mac: string, filter: PortFilter): Promise<void>
  /**
   * What is known here of the addresses of a guest: of its cards on networks, and of `cards` of which nothing else
   * is known by who was heard on the links of the host.
   */
  addressesOf(domain: string, cards?: readonly GuestCard[]): Promise<GuestInterfaceAddress[]>
  /** Follows a packet as far as it goes on this host. Fails with `not-found` when nobody knows the target. */
  explain(request: ExplainRequest): Promise<Explanation>
}

/** Where names of guests are answered by DNS for programs of this host, or are not. */
export interface NameService {
  readonly address: string
  readonly port: number
  /** Why they are not. */
  readonly problem?: string
  readonly remedy?: string
}

/** The networks of a host. */
export interface HostNetworks {
  /** Absent when nobody wants it. */
  readonly names?: NameService | undefined
  readonly networks: Networks
  readonly nwfilters: Nwfilters
  readonly hostBridges: HostBridges
  readonly groups: Groups
  readonly publications: Publications
  readonly guests: GuestNetworks
  events(options?: EventOptions): AsyncIterable<Event>
  /** Starts those that start with the daemon; one that fails is logged. */
  autostart(): Promise<void>
  close(): Promise<void>
}
