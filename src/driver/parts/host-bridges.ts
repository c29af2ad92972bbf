/** Bridges of the host that are made from one of its network cards. */
import { CreateHostBridge, HostBridge, schema as s } from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface CreateHostBridgeOptions extends CallOptions {
  readonly name: string
  readonly nic: string
  readonly confirmSeconds?: number
  readonly dryRun?: boolean
}

export interface HostBridges {
  /** Those that were made here, by name. */
  list(): Promise<HostBridge[]>
  get(hostBridge: string): Promise<HostBridge>
  /**
   * Makes a bridge, puts a network card on it and moves its addresses, routes and rules there. All of it goes back
   * by itself when a step fails, when it is not confirmed in time, and when the daemon is killed meanwhile. With
   * `dryRun`, nothing is changed. Fails with `already-exists`, `not-found`, `unsupported-config`, `invalid-state`.
   */
  create?(options: CreateHostBridgeOptions): Promise<HostBridge>
  /** It stays. Fails with `invalid-state` when it went back already. */
  confirm?(hostBridge: string, options?: CallOptions): Promise<HostBridge>
  /** All goes back, before the time is over. */
  cancel?(hostBridge: string, options?: CallOptions): Promise<void>
  /** The card gets back all that is on the bridge now. Fails with `invalid-state` while others are on the bridge. */
  remove?(hostBridge: string, options?: CallOptions): Promise<void>
}

export const hostBridgeOperations = {
  list: {
    access: 'read',
    doc: 'Bridges that were made from network cards of the host.',
    result: s.array('bridges', HostBridge),
  },
  get: { access: 'read', doc: 'Such a bridge.', key: 'hostBridge', result: HostBridge },
  create: {
    access: 'admin',
    doc: 'Makes a bridge from a network card of the host; it goes again unless it is confirmed.',
    options: CreateHostBridge,
    result: HostBridge,
  },
  confirm: { access: 'admin', doc: 'Keeps a new bridge.', key: 'hostBridge', result: HostBridge },
  cancel: { access: 'admin', doc: 'Takes a new bridge back.', key: 'hostBridge' },
  remove: { access: 'admin', doc: 'Removes a bridge; the card gets all back.', key: 'hostBridge' },
} as const satisfies PartTable<HostBridges>
