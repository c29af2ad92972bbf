/** How the volumes of a pool are kept: in files, in a volume group, on a server. */
import type {
  CallOptions,
  Preallocation,
  ResizeVolumeOptions,
  VolumeAccess,
  WipeVolumeOptions,
} from '../../driver/index.ts'
import type { Volume, VolumeDefinition, VolumeFormat } from '../../model/index.ts'

/** A volume without the name of its pool. */
export type FoundVolume = Omit<Volume, 'pool'>

/** What is remembered of a volume that it cannot be trusted to say itself. */
export interface VolumeNote {
  readonly format?: VolumeFormat
  /** What it was based on here. */
  readonly base?: string
  /** The secret that unlocks it, by uuid. */
  readonly secret?: string
}

export interface VolumeNotes {
  of(name: string): VolumeNote | undefined
  put(name: string, note: VolumeNote | undefined): Promise<void>
}

/** What a copy is made from. */
export interface CopySource {
  readonly volume: FoundVolume
  readonly access: VolumeAccess
}

export interface NewVolume extends CallOptions, VolumeDefinition {
  /** The secret that it shall be encrypted with, by uuid. */
  readonly secret?: string | undefined
  readonly preallocation?: Preallocation | undefined
}

export interface CopyOptions extends CallOptions {
  readonly name: string
  readonly format?: VolumeFormat | undefined
  readonly linked?: boolean | undefined
  readonly capacityBytes?: number | undefined
  readonly preallocation?: Preallocation | undefined
  /** The secret that the copy is encrypted with; as the volume is without it. */
  readonly secret?: string | undefined
  readonly encryption?: VolumeDefinition['encryption']
  /** The copy is not encrypted, though the volume is. */
  readonly decrypt?: boolean | undefined
}

/** What was said of a file that came from outside. */
export interface Received {
  /** Of the volume that it becomes. */
  readonly name: string
  readonly format?: VolumeFormat | undefined
  readonly replace: boolean
}

/** Takes files that come from outside. */
export interface Receiving {
  /** Where they are written; on the file system of the volumes. */
  readonly folder: string
  /** Fails when what is said cannot be, before a byte of it comes. */
  check(received: Received): Promise<void>
  /** Of an empty file. */
  prepare(path: string): Promise<void>
  /** Makes it a volume, at once; fails when it is not what was said. */
  accept(path: string, received: Received): Promise<void>
}

export interface PutOptions extends Pick<VolumeDefinition, 'permissions'> {
  readonly name: string
  readonly format: VolumeFormat
  readonly content: Uint8Array
}

/** Volumes of one pool. What is absent, pools of this type cannot do. */
export interface VolumeStore {
  list(): Promise<FoundVolume[]>
  /** Undefined when there is none. */
  read(name: string): Promise<FoundVolume | undefined>
  /** How a guest reaches it. Fails with `denied` where that would open something that nobody named. */
  access(volume: FoundVolume): Promise<VolumeAccess>
  create?(options: NewVolume): Promise<void>
  /** Makes a small volume with this content. */
  put?(options: PutOptions): Promise<void>
  copy?(source: CopySource, options: CopyOptions): Promise<void>
  /** Makes a file of the host a volume that is not written to any more; shares its blocks where it can. */
  take?(name: string, file: string): Promise<void>
  readonly receiving?: Receiving
  /** Keeps which secret unlocks it. Fails with `invalid-argument` when it does not. */
  unlock?(volume: FoundVolume, options: { readonly secret: string }): Promise<void>
  resize?(volume: FoundVolume, options: ResizeVolumeOptions): Promise<void>
  wipe?(volume: FoundVolume, options: WipeVolumeOptions): Promise<void>
  remove?(volume: FoundVolume): Promise<void>
}
