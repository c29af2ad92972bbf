/** Pools of storage on the host, and the volumes in them. */
import {
  type Event,
  FirstBoot,
  type FirstBootInput,
  Pool,
  PoolDefinition,
  type PoolDefinitionInput,
  schema as s,
  Volume,
  VolumeDefinition,
  type VolumeDefinitionInput,
  VolumeEncryption,
  type VolumeFormat,
  volumeFormats,
} from '../../model/index.ts'
import type { CallOptions, DefineOptions, EventOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'
import type { SecretReference, Secrets } from './secrets.ts'
import {
  type Content,
  type DownloadOptions,
  downloadOperation,
  type Uploads,
  type VolumeContent,
  writeOperation,
} from './uploads.ts'

/** Pools, each by its name or uuid. */
export interface Pools {
  /** All pools, by name. */
  list(): Promise<Pool[]>
  get(pool: string): Promise<Pool>
  describe(pool: string, options?: { readonly inactive?: boolean }): Promise<PoolDefinition>
  /** Makes a pool known, or replaces its definition; `invalid-state` while it is active. */
  define?(definition: PoolDefinitionInput, options?: DefineOptions): Promise<Pool>
  /** Forgets a pool and leaves what is in it; `invalid-state` while it is active. */
  undefine?(pool: string, options?: CallOptions): Promise<void>
  /** Makes what it is made of: a folder, a file system, a volume group. Fails with `already-exists` where there is one. */
  build?(pool: string, options?: { readonly overwrite?: boolean } & CallOptions): Promise<void>
  /** Makes its volumes usable: mounts, logs in, looks. */
  start?(pool: string, options?: { readonly build?: boolean } & CallOptions): Promise<void>
  /** Looks anew what is there. */
  refresh?(pool: string, options?: CallOptions): Promise<void>
  /** Takes it away until its next start; what is in it stays. */
  destroy?(pool: string, options?: CallOptions): Promise<void>
  /** Removes what {@link Pools.build} made, which must be empty. */
  delete?(pool: string, options?: CallOptions): Promise<void>
  setAutostart?(pool: string, options: { readonly enabled: boolean } & CallOptions): Promise<void>
}

const inactive = s.boolean('of its next start, not of what is there', { optional: true })

export const poolOperations = {
  list: { access: 'read', doc: 'All pools of storage, by name.', result: s.array('pools', Pool) },
  get: { access: 'read', doc: 'A pool as it is now.', key: 'pool', result: Pool },
  describe: {
    access: 'read',
    doc: 'The definition of a pool.',
    key: 'pool',
    options: s.object('DescribePool', 'Which definition', { inactive }),
    result: PoolDefinition,
  },
  define: {
    access: 'admin',
    doc: 'Makes a pool known, or replaces its definition.',
    body: PoolDefinition,
    options: s.object('DefinePool', 'Conditions', {
      ifMatch: s.string('entity tag the definition there is must have', { optional: true }),
      ifNoneMatch: s.choice("'*': only when there is none", ['*'], { optional: true }),
    }),
    result: Pool,
  },
  undefine: { access: 'admin', doc: 'Forgets a pool, and leaves what is in it.', key: 'pool' },
  build: {
    access: 'admin',
    doc: 'Makes what a pool is made of.',
    key: 'pool',
    options: s.object('BuildPool', 'How', {
      overwrite: s.boolean('also over what is there', { optional: true }),
    }),
    long: true,
  },
  start: {
    access: 'admin',
    doc: 'Starts a pool.',
    key: 'pool',
    options: s.object('StartPool', 'How', {
      build: s.boolean('make what it is made of where that is missing', { optional: true }),
    }),
  },
  refresh: { access: 'write', doc: 'Looks anew what is in a pool.', key: 'pool' },
  destroy: { access: 'admin', doc: 'Takes a pool away until its next start.', key: 'pool' },
  delete: { access: 'admin', doc: 'Removes what a pool is made of.', key: 'pool' },
  setAutostart: {
    access: 'admin',
    doc: 'Sets whether a pool starts with the daemon.',
    key: 'pool',
    options: s.object('SetPoolAutostart', 'What', {
      enabled: s.boolean('whether it starts with the daemon'),
    }),
  },
} as const satisfies PartTable<Pools>

export const preallocations = ['off', 'metadata', 'falloc', 'full'] as const
export type Preallocation = (typeof preallocations)[number]

export interface CreateVolumeOptions extends CallOptions, VolumeDefinitionInput {
  /** What is allocated at once: nothing, the tables of a qcow2 image, all, or all and written with zeroes. */
  readonly preallocation?: Preallocation
  /** A disk image of visor's that it is a copy of; only what differs is written. */
  readonly image?: string
  /**
   * What a guest is told at its first boot: the volume is a read-only CD-ROM for its drive (or, with `ignition`, the
   * file for `sysinfo` of type `fwcfg`). Goes with a name and permissions only.
   */
  readonly firstBoot?: FirstBootInput
}

export interface CloneVolumeOptions extends CallOptions {
  /** Of the copy. */
  readonly name: string
  /** Where the copy is; in the same pool without it. */
  readonly toPool?: string
  /** Of the copy; as it is without it. */
  readonly format?: VolumeFormat
  /** Based on the volume, which must then stay as it is. */
  readonly linked?: boolean
  /** The copy is encrypted with this; with the key of the volume without it. */
  readonly encryption?: VolumeDefinitionInput['encryption']
  /** The copy is not encrypted, though the volume is. */
  readonly decrypt?: boolean
  /** Size the guest sees, not less than that of the volume; the same without it. */
  readonly capacityBytes?: number
  readonly preallocation?: Preallocation
}

export interface ResizeVolumeOptions extends CallOptions {
  readonly capacityBytes: number
  /** It may become smaller: what is at its end is lost. */
  readonly shrink?: boolean
  readonly preallocation?: Preallocation
}

export interface UnlockVolumeOptions extends CallOptions {
  /** A secret, by its uuid or the name of what it is for. */
  readonly secret: string
}

/** What is written over a volume. Source: libvirt's virStorageVolWipeAlgorithm, as scrub(1) names them. */
export const wipeAlgorithms = ['zero', 'random', 'trim'] as const

export interface WipeVolumeOptions extends CallOptions {
  readonly algorithm?: (typeof wipeAlgorithms)[number]
}

export interface WriteVolumeOptions extends CallOptions {
  /** From here; from its beginning without it. */
  readonly offset?: number
  /** At most so many bytes; as much as comes without it. */
  readonly lengthBytes?: number
}

export interface RemoveVolumeOptions extends CallOptions {
  /** Also when a domain has it as a disk, or another volume is based on it. */
  readonly force?: boolean
}

/** Volumes, each by its name in a pool. */
export interface Volumes {
  /** Of a pool that is active, by name. */
  list(pool: string): Promise<Volume[]>
  get(pool: string, volume: string): Promise<Volume>
  /** The volume with this path or key. */
  find?(options: { readonly path?: string; readonly key?: string }): Promise<Volume>
  /** In libvirt's words. */
  describe?(pool: string, volume: string): Promise<VolumeDefinition>
  /** Makes an empty volume, one that is based on another, or a seed for a first boot. Fails with `already-exists`. */
  create?(pool: string, options: CreateVolumeOptions): Promise<Volume>
  /** Makes a copy: at once where the file system can share blocks, or linked. */
  clone?(pool: string, volume: string, options: CloneVolumeOptions): Promise<Volume>
  /** Changes the size that the guest sees; `invalid-state` while a domain that runs has it. */
  resize?(pool: string, volume: string, options: ResizeVolumeOptions): Promise<Volume>
  /** Says which secret unlocks an encrypted volume that came from elsewhere; tried at once. */
  unlock?(pool: string, volume: string, options: UnlockVolumeOptions): Promise<Volume>
  /** Makes what is on it unreadable; `invalid-state` while a domain that runs has it. */
  wipe?(pool: string, volume: string, options?: WipeVolumeOptions): Promise<void>
  /** Its bytes, or a part of them; `invalid-state` while a domain that runs writes to it. */
  download?(pool: string, volume: string, options?: DownloadOptions): Promise<VolumeContent>
  /**
   * Writes into a raw volume, in place: what it does not reach stays, also when it fails. Fails with `invalid-argument`
   * when more comes than there is room in it, `invalid-state` while a domain that runs has it.
   */
  write?(pool: string, volume: string, content: Content, options?: WriteVolumeOptions): Promise<Volume>
  /** Removes it and what is on it; `invalid-state` while a domain or another volume needs it, unless forced. */
  remove?(pool: string, volume: string, options?: RemoveVolumeOptions): Promise<void>
}

const preallocation = s.choice('what is allocated at once', preallocations, { optional: true })
const capacity = <const D extends string>(doc: D) =>
  s.size(doc, { unit: 'bytes', min: 0, max: Number.MAX_SAFE_INTEGER })

export const volumeOperations = {
  list: {
    access: 'read',
    doc: 'The volumes of a pool, by name.',
    key: 'pool',
    result: s.array('volumes', Volume),
  },
  get: { access: 'read', doc: 'A volume as it is now.', key: 'pool', item: 'volume', result: Volume },
  find: {
    access: 'read',
    doc: 'The volume with this path or key.',
    options: s.object('FindVolume', 'Which', {
      path: s.string('where it is', { optional: true }),
      key: s.string('its identity', { optional: true }),
    }),
    result: Volume,
  },
  describe: {
    access: 'read',
    doc: "A volume in libvirt's words.",
    key: 'pool',
    item: 'volume',
    result: VolumeDefinition,
  },
  create: {
    access: 'admin',
    doc: 'Makes a volume.',
    key: 'pool',
    options: s.object('CreateVolume', 'What', {
      ...VolumeDefinition.fields,
      preallocation,
      image: s.string("a disk image of visor's that it is a copy of", { optional: true }),
      firstBoot: s.field(
        FirstBoot,
        { optional: true },
        'what a guest is told at its first boot: the volume is a CD-ROM with that',
      ),
    }),
    result: Volume,
    parallel: true,
  },
  clone: {
    access: 'admin',
    doc: 'Copies a volume.',
    key: 'pool',
    item: 'volume',
    options: s.object('CloneVolume', 'How', {
      name: s.string('name of the copy'),
      toPool: s.string('pool of the copy; the same without it', { optional: true }),
      format: s.choice('format of the copy; the same without it', volumeFormats, { optional: true }),
      linked: s.boolean('based on the volume, which must stay as it is then', { optional: true }),
      encryption: s.field(VolumeEncryption, { optional: true }),
      decrypt: s.boolean('the copy is not encrypted, though the volume is', { optional: true }),
      capacityBytes: s.size('size the guest sees; the same without it', {
        unit: 'bytes',
        optional: true,
        min: 1,
        max: Number.MAX_SAFE_INTEGER,
      }),
      preallocation,
    }),
    result: Volume,
    long: true,
    parallel: true,
  },
  resize: {
    access: 'admin',
    doc: 'Changes the size of a volume.',
    key: 'pool',
    item: 'volume',
    options: s.object('ResizeVolume', 'How', {
      capacityBytes: capacity('size the guest sees'),
      shrink: s.boolean('it may become smaller: what is at its end is lost', { optional: true }),
      preallocation,
    }),
    result: Volume,
    parallel: true,
  },
  unlock: {
    access: 'admin',
    doc: 'Says which secret unlocks an encrypted volume.',
    key: 'pool',
    item: 'volume',
    options: s.object('UnlockVolume', 'By what', {
      secret: s.string('uuid of a secret, or the name of what it is for', { maxLength: 4095 }),
    }),
    result: Volume,
    parallel: true,
  },
  wipe: {
    access: 'admin',
    doc: 'Makes what is on a volume unreadable.',
    key: 'pool',
    item: 'volume',
    options: s.object('WipeVolume', 'How', {
      algorithm: s.choice('what is written over it', wipeAlgorithms, { optional: true }),
    }),
    long: true,
    parallel: true,
  },
  download: downloadOperation,
  write: writeOperation,
  remove: {
    access: 'admin',
    doc: 'Removes a volume and what is on it.',
    key: 'pool',
    item: 'volume',
    options: s.object('RemoveVolume', 'How', {
      force: s.boolean('also while a domain or another volume needs it', { optional: true }),
    }),
    parallel: true,
  },
} as const satisfies PartTable<Volumes>

/** The secret that unlocks a volume (LUKS), by uuid. */
export interface VolumeLock {
  readonly secret: string
}

/** How a guest reaches a volume. */
export type VolumeAccess =
  | {
      readonly type: 'file' | 'block' | 'directory'
      readonly path: string
      readonly format: VolumeFormat
      readonly encryption?: VolumeLock | undefined
    }
  | {
      readonly type: 'network'
      readonly protocol: 'nbd' | 'iscsi' | 'rbd' | 'gluster'
      readonly name: string
      readonly hosts: readonly { readonly name: string; readonly port?: number | undefined }[]
      readonly auth?: { readonly username: string; readonly secret: SecretReference } | undefined
      readonly initiator?: string | undefined
      readonly format: VolumeFormat
      readonly encryption?: VolumeLock | undefined
    }

/** What drivers ask of the storage of this host. */
export interface GuestStorage {
  /**
   * Where a volume is, its pool started where that is needed. Fails with `not-found`, `invalid-state`, and with
   * `denied` when the image is based on something that visor did not base it on.
   */
  access(pool: string, volume: string): Promise<VolumeAccess>
  /**
   * The value of the secret that a definition names, which must be for that use. Fails with `not-found`, and with
   * `invalid-state` when it has no value.
   */
  secret(reference: SecretReference, usage: 'volume' | 'ceph' | 'iscsi' | 'vtpm'): Promise<Uint8Array>
}

/** The storage of a host. */
export interface HostStorage {
  readonly pools: Pools
  readonly volumes: Volumes
  readonly uploads: Uploads
  readonly secrets: Secrets
  readonly guests: GuestStorage
  events(options?: EventOptions): AsyncIterable<Event>
  /** Starts those that start with the daemon; one that fails is logged. */
  autostart(): Promise<void>
  close(): Promise<void>
}
