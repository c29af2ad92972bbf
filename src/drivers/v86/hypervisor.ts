/** All guests of the driver: what is defined, and what runs. */
import {
  type DefinedDomain,
  type DefinedDomains,
  type GuestNetworks,
  type Log,
  type OpenOptions,
  openDefinedDomains,
} from '../../driver/index.ts'
import {
  adoptGuests,
  type CgroupHierarchy,
  findCgroupHierarchies,
  type GuestProcess,
} from '../../host/index.ts'
import { type Event, notFound, type Progress } from '../../model/index.ts'
import { connectControl } from './control.ts'
import { completeDefinition, type IdentifiedDefinition } from './definition.ts'
import { Guest } from './guest.ts'
import { type GuestFiles, guestFiles } from './guest-files.ts'
import { type GuestDetails, launch } from './launch.ts'
import { openHostCard, withCards } from './network-card.ts'
import type { MachineStatus } from './protocol.ts'

/** A guest with its definition: what the next start will use. */
export interface Known {
  readonly name: string
  readonly guest: Guest
  readonly defined: DefinedDomain
  readonly persistent: boolean
}

export interface StartGuest {
  readonly definition: IdentifiedDefinition
  readonly paused: boolean
  /** A saved state to go on from, and whether it is the one that visor keeps. */
  readonly restore?: { readonly file: string; readonly kept: boolean }
  readonly signal?: AbortSignal
  readonly progress?: (progress: Progress) => void
}

export interface Hypervisor {
  readonly domains: DefinedDomains
  readonly files: GuestFiles
  /** Fails with `not-found`. */
  find(uuid: string): Known
  all(): Known[]
  put(definition: IdentifiedDefinition, autostart?: boolean): Promise<Known>
  remove(uuid: string): Promise<void>
  start(known: Known, options: StartGuest): Promise<void>
  dropSaved(guest: Guest): Promise<void>
  emit(known: Known, type: string, reason: string): void
  /** Lets go of all guests, which go on. */
  close(): Promise<void>
}

export type TellEvent = (event: Omit<Event, 'id' | 'time'>) => void

/** Opens the table of guests and finds those that run already. */
export async function openHypervisor(options: OpenOptions, tell: TellEvent): Promise<Hypervisor> {
  const files = guestFiles(options)
  const domains = await openDefinedDomains(options.store, 'v86')
  const cgroups = await findCgroupHierarchies()
  const guests = new Map<string, Guest>()
  let lastId = 0

  const nameOf = (uuid: string) =>
    domains.find(uuid)?.definition.name ?? guests.get(uuid)?.running?.details.definition.name ?? uuid

  function guestOf(uuid: string): Guest {
    const guest =
      guests.get(uuid) ??
      new Guest(
        uuid,
        files,
        (type, reason) => {
          tell({ kind: 'domain', type, uuid, name: nameOf(uuid), driver: 'v86', reason })
          if (type === 'stopped' && !domains.find(uuid)) guests.delete(uuid)
        },
        async () => options.networks?.leave(uuid),
      )
    guests.set(uuid, guest)
    return guest
  }

  function known(uuid: string): Known | undefined {
    const defined = domains.find(uuid)
    const guest = guestOf(uuid)
    if (defined) return { name: defined.definition.name, guest, defined, persistent: true }
    const definition = guest.running?.details.definition
    if (definition)
      return { name: definition.name, guest, defined: { definition, autostart: false }, persistent: false }
    guests.delete(uuid)
    return undefined
  }

  function find(uuid: string): Known {
    const found = known(uuid)
    if (!found) throw notFound('domain', uuid)
    return found
  }

  for (const { definition } of domains.all()) guestOf(definition.uuid)
  for (const process of await adoptGuests(files.guests, options.stateDirectory)) {
    const details = process.details as GuestDetails
    lastId = Math.max(lastId, details.id)
    await adopt(guestOf(details.definition.uuid), process, details, files, options.log)
  }
  for (const uuid of await files.listSaved()) {
    const guest = guests.get(uuid)
    if (guest && !guest.running?.details.usedSaved) guest.saved = true
    // Used up, or of a domain whose undefinition was cut short.
    else await files.removeSaved(uuid)
  }
  for (const uuid of await files.listConsoles()) if (!guests.has(uuid)) await files.removeConsoles(uuid)

  return {
    domains,
    files,
    find,
    all: () => [...guests.keys()].flatMap((uuid) => known(uuid) ?? []),
    async put(definition, autostart = domains.find(definition.uuid)?.autostart ?? false) {
      await domains.put({ definition, autostart })
      return find(definition.uuid)
    },
    async remove(uuid) {
      await domains.remove(uuid)
      guests.delete(uuid)
      await files.removeConsoles(uuid)
    },
    async start({ guest }, start) {
      const { stateDirectory, networks } = options
      await startGuest(guest, ++lastId, start, { files, cgroups, stateDirectory, networks })
    },
    async dropSaved(guest) {
      await files.removeSaved(guest.uuid)
      guest.saved = false
    },
    emit: ({ name, guest: { uuid } }, type, reason) =>
      tell({ kind: 'domain', type, uuid, name, driver: 'v86', reason }),
    async close() {
      await Promise.all([...guests.values()].map((guest) => guest.detach()))
    },
  }
}

interface Place {
  readonly files: GuestFiles
  readonly cgroups: readonly CgroupHierarchy[]
  readonly stateDirectory: string
  readonly networks: GuestNetworks | undefined
}

async function startGuest(guest: Guest, id: number, start: StartGuest, place: Place): Promise<void> {
  const { paused, restore, signal, progress } = start
  const complete = withCards({ ...completeDefinition(start.definition), uuid: guest.uuid })
  const card = await openHostCard(complete, place.networks)
  const { definition } = card
  const usedSaved = restore?.kept ?? false
  const details: GuestDetails = { definition, id, startedAt: new Date().toISOString(), usedSaved }
  const launched = await launch({
    ...place,
    definition,
    details,
    card,
    paused,
    ...(restore && { restore: restore.file }),
    onEvent: (event) => guest.hear(event),
    signal,
    progress,
  }).catch(async (error: unknown) => {
    await card.end()
    throw error
  })
  card.close()
  if (usedSaved) {
    await place.files.removeSaved(guest.uuid)
    guest.saved = false
  }
  guest.begin(launched, details, { restored: restore !== undefined, paused })
}

/** Goes on with a guest that ran before this driver was opened. */
async function adopt(
  guest: Guest,
  process: GuestProcess,
  details: GuestDetails,
  files: GuestFiles,
  log: Log,
): Promise<void> {
  const path = files.control(guest.uuid)
  const hear: Parameters<typeof connectControl>[1] = (event) => guest.hear(event)
  try {
    const control = await connectControl(path, hear)
    const { state } = (await control.ask({ do: 'status' })) as MachineStatus
    guest.attach({ process, control }, details, state, 'adopted')
  } catch (error) {
    log.warn({ err: error, domain: details.definition.name }, 'a guest runs, but its machine does not answer')
    const ask = () => Promise.reject(error)
    guest.attach({ process, control: { ask, close() {} } }, details, 'running', 'adopted')
  }
}
