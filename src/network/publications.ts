/** Ports of the host that lead to guests: kept with the guest's uuid, in force while it is on a network. */
import { randomUUID } from 'node:crypto'
import type { Publications, Store } from '../driver/index.ts'
import { notFound, type Publication, parse, Publication as Schema, VisorError } from '../model/index.ts'
import { reflectPort } from './links.ts'
import { whoListens } from './listeners.ts'
import type { Port } from './ports.ts'

/** What is kept of one. */
type Kept = Omit<Publication, 'state' | 'target' | 'message'>

/** A port that leads to a guest now. */
export interface PublishedPort {
  readonly proto: 'tcp' | 'udp'
  readonly address?: string | undefined
  readonly port: number
  readonly target: string
  readonly to: number
}

export interface KeptPublications {
  readonly operations: Publications
  /** What leads where now, each port by itself. */
  inForce(): readonly PublishedPort[]
  has(domain: string): boolean
}

export interface PublicationsContext {
  readonly store: Store
  readonly ports: () => readonly Port[]
  /** Why ports cannot lead to guests on this network; undefined where they can. */
  readonly refuses: (port: Port) => string | undefined
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
  readonly apply: () => Promise<void>
}

const prefix = 'network/published/'
/** Each is an entry of its own in the kernel's maps. */
const mostPorts = 1024

export async function openPublications(context: PublicationsContext): Promise<KeptPublications> {
  const { store, ports, refuses, alone, apply } = context
  const kept = new Map<string, Kept>()
  for (const { value } of await store.list(prefix)) {
    const one = value as Kept
    kept.set(one.id, one)
  }

  function describe(one: Kept): Publication {
    const own = ports().filter(({ domain }) => domain === one.domain)
    const [target] = targetsOf(own, one)
    if (target !== undefined) return { ...one, state: 'active', target }
    const [first] = own
    const message = first
      ? (refuses(first) ??
        `'${one.name}' has no address on network '${first.network}' that it could lead to.`)
      : `'${one.name}' does not run, or is on no network of this host.`
    return { ...one, state: 'waiting', message }
  }

  /** Where it leads: of several cards, by the first that it can. */
  function targetsOf(own: readonly Port[], one: Pick<Kept, 'address'>): readonly string[] {
    const open = own.filter((port) => refuses(port) === undefined)
    return open.map((port) => addressesFor(port, one)).find(({ length }) => length > 0) ?? []
  }

  const list = () => [...kept.values()].map(describe).sort((a, b) => a.start - b.start)

  return {
    has: (domain) => [...kept.values()].some((one) => one.domain === domain),
    inForce: () =>
      [...kept.values()].flatMap((one) => {
        const { domain, proto, address, start, end, to } = one
        const own = ports().filter((port) => port.domain === domain)
        return targetsOf(own, one).flatMap((target) =>
          Array.from({ length: end - start + 1 }, (_, offset) => ({
            ...{ proto, address, target },
            port: start + offset,
            to: to + offset,
          })),
        )
      }),
    operations: {
      list: async () => list(),
      async get(publication) {
        const one = kept.get(publication)
        if (!one) throw notFound('publication', publication)
        return describe(one)
      },
      create: ({ domain, name = domain, proto = 'tcp', address, start, end = start, to = start }) =>
        alone(async () => {
          if (end < start || end - start >= mostPorts || to + end - start > 65_535)
            throw new VisorError(
              'invalid-argument',
              `Ports ${start} to ${end} cannot lead to ports from ${to} on.`,
              {
                remedy: `Name at most ${mostPorts} ports, the first before the last.`,
              },
            )
          const one: Kept = parse(Schema, {
            ...{ id: randomUUID().slice(0, 8), domain, name, proto, start, end, to, state: 'waiting' },
            ...(address === undefined ? {} : { address }),
          })
          const { state: _, ...plain } = one as Publication
          await refuseTaken(plain, list())
          kept.set(plain.id, plain)
          const own = ports().filter((port) => port.domain === domain)
          const done = await Promise.allSettled([
            store.write([{ key: prefix + plain.id, value: plain }]),
            apply(),
            ...own.map(({ link }) => reflectPort(link)),
          ])
          const failed = done.find((one) => one.status === 'rejected')
          if (failed) {
            await forget(plain.id)
            await apply().catch(() => {})
            throw failed.reason
          }
          return describe(plain)
        }),
      remove: (publication) =>
        alone(async () => {
          if (!kept.has(publication)) throw notFound('publication', publication)
          await forget(publication)
          await apply()
        }),
    },
  }

  async function forget(id: string): Promise<void> {
    await store.write([{ key: prefix + id, value: undefined }])
    kept.delete(id)
  }
}

/** Addresses of a guest: one of each family, or of that which the host's address is of. */
function addressesFor({ addresses }: Port, { address }: Pick<Kept, 'address'>): string[] {
  const isIpv6 = (one: string) => one.includes(':')
  return [false, true].flatMap((family) => {
    if (address !== undefined && isIpv6(address) !== family) return []
    return addresses.find((one) => isIpv6(one) === family) ?? []
  })
}

/** Fails with `busy` when a port is another guest's, or a program listens on it. */
async function refuseTaken(wanted: Kept, others: readonly Publication[]): Promise<void> {
  const { proto, address, start, end } = wanted
  const object = { kind: 'publication', name: `${start}/${proto}` }
  const twin = others.find(
    (one) =>
      one.proto === proto &&
      one.start <= end &&
      start <= one.end &&
      (one.address === undefined || address === undefined || one.address === address),
  )
  if (twin)
    throw new VisorError(
      'busy',
      `Port ${Math.max(start, twin.start)}/${proto} of this host leads to '${twin.name}' already.`,
      {
        object,
        remedy: `Choose another port, or take that one back: 'visor unpublish ${twin.id}'.`,
      },
    )
  const listener = await whoListens(wanted)
  if (listener)
    throw new VisorError(
      'busy',
      `Port ${listener.port}/${proto} of this host is in use${listener.program ? ` by '${listener.program}' (process ${listener.pid})` : ''}.`,
      { object, remedy: 'Choose another port, or end that program.' },
    )
}
