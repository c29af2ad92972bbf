import type { ProbeResult } from '../model/index.ts'
import type { Connection } from './connection.ts'
import type { Log } from './log.ts'
import type { OperationName } from './operations.ts'
import type { GuestNetworks } from './parts/networks.ts'
import type { GuestStorage } from './parts/pools.ts'
import type { Store } from './store.ts'
import type { CompleteConnection } from './supports.ts'

/** Who guests run as, where a driver runs them as processes of this host and is root. */
export interface GuestUserOptions {
  /** One user for all of them, by name or number; each has one of its own without it. */
  readonly guestUser?: string
  /** The numbers for users of their own. */
  readonly guestUids?: { readonly first: number; readonly count: number }
}

/** How a driver moves domains to other hosts and receives them. */
export interface MigrationSettings {
  /** Ports to listen on. */
  readonly ports?: { readonly first: number; readonly last: number }
  /** Folder with ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem. */
  readonly certificates?: string
  /** How long the destination of a domain that was handed over is asked before the domain stands still; 20 without it. */
  readonly insistSeconds?: number
}

/** What a driver needs from whoever opens it. */
export interface OpenOptions extends GuestUserOptions {
  /** Opens another visord; without it, domains cannot be moved. */
  readonly connect?: (uri: string, options: { readonly token?: string }) => Promise<CompleteConnection>
  readonly migration?: MigrationSettings
  /** The networks of this host; without them, guests cannot be on any. */
  readonly networks?: GuestNetworks | undefined
  /** The storage of this host; without it, disks cannot be volumes of pools. */
  readonly storage?: GuestStorage | undefined
  /** Where what survives a power cut is kept; the driver makes its own folder in it. */
  readonly stateDirectory: string
  /** Where what lives as long as the boot is kept. */
  readonly runtimeDirectory: string
  readonly store: Store
  readonly log: Log
  /** A program, or a folder of programs, that is run when a machine comes and goes. */
  readonly hooks?: string
}

/** One virtualization technology. */
export interface Driver {
  /** `qemu` in `qemu:///system`. */
  readonly scheme: string
  /** The `type`s of definitions that are its own: `qemu` and `kvm`. */
  readonly domainTypes: readonly string[]
  /** What its connections can do; said by a driver that opens only where its hypervisor is, for docs/support.md. */
  readonly operations?: readonly OperationName[]
  /** Whether this host can run it, and if not, why and what to do. Changes nothing. */
  probe(options?: { readonly signal?: AbortSignal }): Promise<ProbeResult>
  /** Opens it: finds the guests that run already. Fails with `unavailable` where the hypervisor is missing. */
  open(uri: URL, options: OpenOptions): Promise<Connection>
}
