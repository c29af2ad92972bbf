/** Tells of addresses as they are given and taken back: by watching the files that dnsmasq writes them to. */
import { type FSWatcher, watch } from 'node:fs'
import { basename } from 'node:path'
import type { EventHub, Log } from '../driver/index.ts'
import type { NetworkLease } from '../model/index.ts'
import type { CompleteNetwork } from './complete.ts'
import { readLeases } from './leases.ts'
import type { NetworkPlaces } from './places.ts'
import type { Port } from './ports.ts'

/** The file is written anew as a whole: it is read when that is over. */
const settleMs = 25

export interface LeaseWatch {
  close(): void
}

export interface LeaseWatchContext {
  readonly places: NetworkPlaces
  readonly hub: EventHub
  readonly log: Log
  readonly find: (uuid: string) => CompleteNetwork | undefined
  readonly portsOf: (uuid: string) => readonly Port[]
}

/** Watches the folder of them, which must be there. What was given before is not told. */
export async function watchLeases(
  context: LeaseWatchContext,
  networks: readonly CompleteNetwork[],
): Promise<LeaseWatch> {
  const { places, hub, log, find, portsOf } = context
  const known = new Map<string, ReadonlyMap<string, NetworkLease>>()
  const pending = new Map<string, NodeJS.Timeout>()
  const read = async (definition: CompleteNetwork) => {
    const { uuid } = definition
    const leases = await readLeases(places.of(uuid).leases, definition, portsOf(uuid))
    return new Map(leases.map((lease) => [`${lease.mac ?? lease.clientId} ${lease.address}`, lease]))
  }
  for (const definition of networks) known.set(definition.uuid, await read(definition))

  async function compare(uuid: string): Promise<void> {
    pending.delete(uuid)
    const definition = find(uuid)
    if (!definition) {
      known.delete(uuid)
      return
    }
    const before = known.get(uuid) ?? new Map<string, NetworkLease>()
    const now = await read(definition)
    known.set(uuid, now)
    const tell = (
      type: string,
      leases: ReadonlyMap<string, NetworkLease>,
      others: ReadonlyMap<string, unknown>,
    ) => {
      for (const [key, lease] of leases)
        if (!others.has(key))
          hub.emit({
            ...{ kind: 'network', type, uuid, name: definition.name, data: lease },
            message: `${lease.address} ${lease.hostname ?? lease.mac ?? ''}`.trim(),
          })
    }
    tell('lease-given', now, before)
    tell('lease-ended', before, now)
  }

  function changed(file: string | null): void {
    const uuid = basename(file ?? '', '.leases')
    clearTimeout(pending.get(uuid))
    const timer = setTimeout(() => {
      compare(uuid).catch((error: unknown) =>
        log.warn({ error: String(error) }, 'Addresses that were given could not be read.'),
      )
    }, settleMs)
    pending.set(uuid, timer)
  }

  const watcher: FSWatcher = watch(places.leases, { persistent: false }, (_, file) => changed(file))
  watcher.on('error', (error) =>
    log.warn({ error: String(error) }, 'Addresses that are given are no longer told of.'),
  )
  return {
    close() {
      watcher.close()
      for (const timer of pending.values()) clearTimeout(timer)
    },
  }
}
