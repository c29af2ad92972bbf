/** Programs of this host find guests by name: who is asked, where, and by whom. */
import type { Log, NameService } from '../../driver/index.ts'
import { type CompleteNetwork, hasOwnBridge } from '../complete.ts'
import { whoListens } from '../listeners.ts'
import { type GuestNames, guestNames, type NameSources, reverseZonesOf } from './guest-names.ts'
import { domainOf, isLocalDomain, rootDomain } from './host-name.ts'
import { type NamedBridge, openRegistration } from './register.ts'
import { serveNames } from './serve.ts'

export interface NameAddress {
  readonly address: string
  readonly port: number
}

export interface OpenNames {
  readonly names: GuestNames
  /** Where they are answered, or why not; undefined when nobody wants it. */
  readonly service: NameService | undefined
  /** What networks are there has changed. Never fails. */
  tell(): void
  close(): Promise<void>
}

export interface NamesOptions extends Omit<NameSources, 'serverAddress'> {
  /** Where to answer; nowhere without it. */
  readonly listenAt: NameAddress | undefined
  readonly log: Log
}

/** Starts to answer. Where it cannot, it says so once, and names are known all the same. Never fails. */
export async function openNames({ listenAt, log, ...sources }: NamesOptions): Promise<OpenNames> {
  const names = guestNames({ ...sources, serverAddress: listenAt?.address ?? '' })
  if (!listenAt) return { names, service: undefined, tell() {}, async close() {} }
  try {
    const server = await serveNames({ ...listenAt, names }, log)
    const registration = openRegistration(server, log)
    const tell = () => void registration.become(sources.networks().flatMap(bridgeOf))
    tell()
    return {
      names,
      service: { address: server.address, port: server.port },
      tell,
      async close() {
        await registration.close()
        await server.close()
      },
    }
  } catch (error) {
    const service = { ...listenAt, ...(await explainFailure(listenAt, error)) }
    log.warn({ ...service }, 'Names of guests are not answered to programs of this host.')
    return { names, service, tell() {}, async close() {} }
  }
}

/** Domains that only this host knows, by way of a bridge of our own that it is on. */
function bridgeOf(network: CompleteNetwork): NamedBridge[] {
  const { bridge, addresses } = network
  if (bridge === undefined || !hasOwnBridge(network) || addresses.length === 0) return []
  const own = isLocalDomain(network) ? [domainOf(network)] : []
  return [{ bridge, domains: [...new Set([rootDomain, ...own, ...reverseZonesOf(network)])] }]
}

async function explainFailure(
  { address, port }: NameAddress,
  error: unknown,
): Promise<{ readonly problem: string; readonly remedy: string }> {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const where = `port ${port} of ${address}`
  const otherwise = `set 'names' in the configuration of visord to another place, such as 127.0.0.83:5353, or to none.`
  if (code === 'EADDRINUSE') {
    const wanted = { address, start: port, end: port }
    const owner =
      (await whoListens({ proto: 'udp', ...wanted })) ?? (await whoListens({ proto: 'tcp', ...wanted }))
    const by = owner?.program ? ` by '${owner.program}' (process ${owner.pid})` : ''
    return {
      problem: `${where} is in use${by}.`,
      remedy: `End that program and start visord again, or ${otherwise}`,
    }
  }
  if (code === 'EACCES')
    return { problem: `visord may not listen on ${where}.`, remedy: `Start it as root, or ${otherwise}` }
  if (code === 'EADDRNOTAVAIL')
    return {
      problem: `${address} is no address of this host.`,
      remedy: `See 'ip address'; and ${otherwise}`,
    }
  return { problem: `It cannot listen on ${where}: ${String(error)}`, remedy: `You may ${otherwise}` }
}
