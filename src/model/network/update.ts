/** Changes of a part of a network. Source: libvirt's virNetworkUpdate, virsh(1) net-update. */
import { VisorError } from '../error.ts'
import { parseXmlDocument } from '../xml-decode.ts'
import type { NetworkAddress } from './addressing.ts'
import { NetworkDefinition } from './definition.ts'
import { parseIp } from './ip.ts'

export const networkSections = [
  ...(['ip-dhcp-host', 'ip-dhcp-range', 'dns-host', 'dns-txt', 'dns-srv', 'dns-forwarder'] as const),
  ...(['forward-interface', 'portgroup'] as const),
] as const
export type NetworkSection = (typeof networkSections)[number]

export const networkChanges = ['add-first', 'add-last', 'modify', 'delete'] as const

export interface NetworkChange {
  readonly command: (typeof networkChanges)[number]
  readonly section: NetworkSection
  /** As in a definition; for `delete` as much of it as says which. */
  readonly element: unknown
  /** Which `<ip>` it is of; the first with DHCP that it fits without it. */
  readonly parentIndex?: number | undefined
}

type Element = Readonly<Record<string, unknown>>

interface Section {
  /** What stands around the element in XML. */
  readonly around: readonly [string, string]
  /** What says which one it is; any of them that is given. */
  readonly keys: readonly string[]
  list(definition: NetworkDefinition, at: number): readonly Element[]
  /** The definition with another list there. */
  withList(definition: NetworkDefinition, at: number, list: readonly Element[]): NetworkDefinition
}

const dhcp = (key: 'hosts' | 'ranges', keys: readonly string[]): Section => ({
  around: ["<ip address='0.0.0.0'><dhcp>", '</dhcp></ip>'],
  keys,
  list: ({ addresses }, at) => addresses[at]?.dhcp?.[key] ?? [],
  withList: (definition, at, list) => ({
    ...definition,
    addresses: definition.addresses.map((one, index) =>
      index === at
        ? { ...one, dhcp: { ...(one.dhcp ?? { ranges: [], hosts: [], bootServers: [] }), [key]: list } }
        : one,
    ) as NetworkAddress[],
  }),
})

const dns = (key: 'hosts' | 'texts' | 'services' | 'forwarders', keys: readonly string[]): Section => ({
  around: ['<dns>', '</dns>'],
  keys,
  list: (definition) => definition.dns?.[key] ?? [],
  withList: (definition, _, list) =>
    ({
      ...definition,
      dns: { ...(definition.dns ?? { forwarders: [], texts: [], services: [], hosts: [] }), [key]: list },
    }) as NetworkDefinition,
})

const sections: Readonly<Record<NetworkSection, Section>> = {
  'ip-dhcp-host': dhcp('hosts', ['mac', 'id', 'name', 'address']),
  'ip-dhcp-range': dhcp('ranges', ['start', 'end']),
  'dns-host': dns('hosts', ['address']),
  'dns-txt': dns('texts', ['name']),
  'dns-srv': dns('services', ['service', 'protocol', 'domain', 'target']),
  'dns-forwarder': dns('forwarders', ['domain', 'address']),
  'forward-interface': {
    around: ['<forward>', '</forward>'],
    keys: ['dev'],
    list: ({ forward }) => forward?.links ?? [],
    withList: (definition, _, list) =>
      ({ ...definition, forward: { mode: 'nat', ...definition.forward, links: list } }) as NetworkDefinition,
  },
  portgroup: {
    around: ['', ''],
    keys: ['name'],
    list: ({ portGroups }) => portGroups,
    withList: (definition, _, list) => ({ ...definition, portGroups: list }) as NetworkDefinition,
  },
}

/** The element of a section that a piece of XML says. Fails with `invalid-definition`, as a whole network would. */
export function parseNetworkElement(section: NetworkSection, xml: string): Element {
  const { around, list } = sections[section]
  const [before, after] = around
  const definition = parseXmlDocument(
    NetworkDefinition,
    `<network><name>x</name>${before}${xml}${after}</network>`,
  )
  const [element, ...others] = list(definition, 0)
  if (!element || others.length > 0)
    throw new VisorError('invalid-argument', `One element of the section '${section}' is wanted.`, {
      remedy:
        "Write it as it stands in the network's XML: <host mac='52:54:00:00:00:01' ip='192.168.122.9'/>.",
    })
  return element
}

/**
 * The definition with the change. Fails with `not-found` for an element that is not there, `already-exists` for one
 * that is, `invalid-argument` where it could be of several. Whether the whole fits together is not checked.
 */
export function changeNetwork(definition: NetworkDefinition, change: NetworkChange): NetworkDefinition {
  const { command, section } = change
  const element = elementOf(change.element)
  const kind = sections[section]
  const at = section.startsWith('ip-') ? placeOf(definition, element, change.parentIndex) : 0
  const list = kind.list(definition, at)
  const found = list.filter((one) => isSame(kind, one, element))
  const describe = `${section} ${JSON.stringify(keysOf(kind, element))} of network '${definition.name}'`
  if (command === 'add-first' || command === 'add-last') {
    const twin = list.find((one) => isTwin(section, kind, one, element))
    if (twin)
      throw new VisorError('already-exists', `There is already ${describe}: ${JSON.stringify(twin)}.`, {
        remedy: "Change it ('modify'), or take it away ('delete') first.",
      })
    return kind.withList(definition, at, command === 'add-first' ? [element, ...list] : [...list, element])
  }
  // What it is to become has other values: the first thing that says which one counts.
  const chosen = found.length > 0 ? found : list.filter((one) => isNamed(kind, one, element))
  const [one, another] = command === 'delete' ? found : chosen
  if (!one) throw new VisorError('not-found', `There is no ${describe}.`)
  if (another)
    throw new VisorError('invalid-argument', `There are ${chosen.length} of ${describe}.`, {
      remedy: 'Say more of it, so that only one is meant.',
    })
  const next =
    command === 'delete'
      ? list.filter((other) => other !== one)
      : list.map((other) => (other === one ? element : other))
  return kind.withList(definition, at, next)
}

function elementOf(given: unknown): Element {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new VisorError('invalid-argument', 'An element of a network is an object.')
  return given as Element
}

const keysOf = ({ keys }: Section, element: Element): Element =>
  Object.fromEntries(keys.flatMap((key) => (element[key] === undefined ? [] : [[key, element[key]]])))

/** Whether all that is said of which one it is is so. */
function isSame(kind: Section, one: Element, wanted: Element): boolean {
  const entries = Object.entries(keysOf(kind, wanted))
  return entries.length > 0 && entries.every(([key, value]) => one[key] === value)
}

/** Whether the first thing that says which one it is is so. */
function isNamed(kind: Section, one: Element, wanted: Element): boolean {
  const [first] = Object.entries(keysOf(kind, wanted))
  return first !== undefined && one[first[0]] === first[1]
}

/** Whether both cannot be there: of hosts, the same card or the same address. */
function isTwin(section: NetworkSection, kind: Section, one: Element, wanted: Element): boolean {
  if (section === 'ip-dhcp-host')
    return ['mac', 'id', 'address'].some((key) => wanted[key] !== undefined && one[key] === wanted[key])
  return JSON.stringify(keysOf(kind, one)) === JSON.stringify(keysOf(kind, wanted))
}

function placeOf(
  { addresses, name }: NetworkDefinition,
  element: Element,
  given: number | undefined,
): number {
  const family = [element.address, element.start].flatMap((text) =>
    typeof text === 'string' ? (parseIp(text)?.family ?? []) : [],
  )[0]
  const fits = (one: NetworkAddress) => family === undefined || parseIp(one.address)?.family === family
  const found = given ?? addresses.findIndex((one) => one.dhcp !== undefined && fits(one))
  const at = found >= 0 ? found : addresses.findIndex(fits)
  if (!addresses[at])
    throw new VisorError('not-found', `Network '${name}' has no address that this is of.`, {
      remedy: 'Say which (parentIndex), or give the network an address of that family first.',
    })
  return at
}
