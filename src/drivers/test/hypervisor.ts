import {
  type DefinedDomain,
  type DefinedDomains,
  memoryStore,
  type OpenOptions,
  openDefinedDomains,
  type Store,
} from '../../driver/index.ts'
import { type DomainDefinition, type Event, type HostInfo, notFound } from '../../model/index.ts'
import { completeDefinition } from './definition.ts'
import { Guest, type SavedState } from './guest.ts'

/** A guest with its definition: what the next start will use. */
export interface Known {
  readonly name: string
  readonly guest: Guest
  readonly defined: DefinedDomain
}

/** The machine room that a connection opens: what is defined, and what runs. */
export interface Hypervisor {
  readonly domains: DefinedDomains
  /** Fails with `not-found`. */
  find(uuid: string): Known
  all(): Known[]
  /** Keeps the definition. Fails with `already-exists`. */
  put(definition: DefinedDomain['definition'], autostart?: boolean): Promise<Known>
  remove(uuid: string): Promise<void>
  /** Keeps or drops the state that the next start goes on from. */
  setSaved(guest: Guest, saved: SavedState | undefined): Promise<void>
  emit(name: string, guest: Guest, type: string, reason: string): void
  info(): HostInfo
  /** Whoever opened it lets go. */
  leave(): void
}

/** Guests of `keep=1` connections, which run on in this process while nobody has them open. */
const kept = new Map<string, Map<string, Guest>>()

export type TellEvent = (event: Omit<Event, 'id' | 'time'>) => void

/**
 * Opens the machine room of a URI. All of it is in memory and its own, unless the URI says `keep=1`: then
 * definitions and saved states are in the store, and guests run on when the connection is closed, for as
 * long as the process lives.
 */
export async function openHypervisor(uri: URL, options: OpenOptions, tell: TellEvent): Promise<Hypervisor> {
  const keep = uri.searchParams.get('keep') === '1'
  const store = keep ? options.store : memoryStore()
  const domains = await openDefinedDomains(store, 'test')
  const key = `${options.runtimeDirectory}\0${uri.pathname}`
  const guests = (keep ? kept.get(key) : undefined) ?? new Map<string, Guest>()
  if (keep) kept.set(key, guests)
  const nameOf = (guest: Guest) => guest.definition?.name ?? domains.find(guest.uuid)?.definition.name ?? ''
  const emit: Hypervisor['emit'] = (name, { uuid }, type, reason) =>
    tell({ kind: 'domain', type, uuid, name, driver: 'test', reason })
  for (const { definition } of domains.all()) adopt(definition.uuid)
  await readSaved(store, guests)

  function adopt(uuid: string): Guest {
    const guest = guests.get(uuid) ?? new Guest(uuid)
    guest.emit = (type, reason) => emit(nameOf(guest), guest, type, reason)
    guests.set(uuid, guest)
    return guest
  }

  function known(defined: DefinedDomain): Known {
    const { uuid, name } = defined.definition
    return { name, defined, guest: guests.get(uuid) ?? adopt(uuid) }
  }

  return {
    domains,
    emit,
    find(uuid) {
      const defined = domains.find(uuid)
      if (!defined) throw notFound('domain', uuid)
      return known(defined)
    },
    all: () => Array.from(domains.all(), known),
    async put(definition, autostart = domains.find(definition.uuid)?.autostart ?? false) {
      await domains.put({ definition, autostart })
      return known({ definition, autostart })
    },
    async remove(uuid) {
      await domains.remove(uuid)
      guests.delete(uuid)
    },
    async setSaved(guest, saved) {
      if (!saved && !guest.saved) return
      await store.write([{ key: `test/saved/${guest.uuid}`, value: saved }])
      guest.saved = saved
    },
    info: () => hostInfo(guests.values()),
    leave() {
      for (const guest of guests.values()) guest.hangUp()
      if (keep && ![...guests.values()].some(({ active }) => active)) kept.delete(key)
    },
  }
}

async function readSaved(store: Store, guests: ReadonlyMap<string, Guest>): Promise<void> {
  for (const { key, value } of await store.list('test/saved/')) {
    const guest = guests.get(key.slice('test/saved/'.length))
    if (guest) guest.saved = value as SavedState
  }
}

const hostMemoryKiB = 64 * 2 ** 20

/** The host of the test driver is as made up as its guests. */
function hostInfo(guests: Iterable<Guest>): HostInfo {
  let used = 2 ** 20
  for (const { definition } of guests) used += definition?.currentMemoryKiB ?? definition?.memoryKiB ?? 0
  return {
    hostname: 'test',
    arch: 'x86_64',
    cpus: 16,
    cpuModel: 'test',
    memoryKiB: hostMemoryKiB,
    freeMemoryKiB: Math.max(0, hostMemoryKiB - used),
    kernel: 'test',
    visor: 'test',
  }
}

/** What `test:///default` begins with, and `domains=` asks for. */
export function sampleDefinition(name: string, number: number): DomainDefinition & { uuid: string } {
  const uuid = `7e570000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`
  const definition = completeDefinition({
    type: 'test',
    name,
    uuid,
    memoryKiB: 2 * 2 ** 20,
    vcpus: 2,
    os: { arch: 'x86_64' },
    devices: {
      disks: [{ file: `/guest/${name}.raw`, target: 'vda', bus: 'virtio' }],
      interfaces: [{ type: 'network', network: 'default', model: 'virtio' }],
      serials: [{}],
      consoles: [{}],
      videos: [{}],
    },
  })
  return { ...definition, uuid }
}
