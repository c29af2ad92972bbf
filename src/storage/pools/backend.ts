/** What a pool of one type is made of. */
import type { CallOptions } from '../../driver/index.ts'
import type { SecretValues } from '../secrets/open-secrets.ts'
import type { VolumeNotes, VolumeStore } from '../volumes/store.ts'

/** What a pool needs of who opens it. */
export interface PoolSurroundings {
  readonly notes: VolumeNotes
  readonly secrets: SecretValues
}

export interface PoolUsage {
  readonly capacityBytes: number
  readonly allocationBytes: number
  readonly availableBytes: number
}

/** A pool of storage of one type. Every method fails with words for people. */
export interface PoolBackend {
  readonly volumes: VolumeStore
  /** Whether it is there, as a daemon before may have left it. */
  isThere(): Promise<boolean>
  start(options: CallOptions): Promise<void>
  /** Removes what a daemon before was making when it died; of a pool that is there. */
  tidy?(): Promise<void>
  stop(): Promise<void>
  usage(): Promise<PoolUsage>
  /** Makes what it is made of, where that is missing. */
  build?(options: CallOptions & { readonly overwrite?: boolean }): Promise<void>
  /** Takes that away; only when it is empty. */
  delete?(): Promise<void>
}
