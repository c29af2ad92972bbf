/** Bytes of volumes on their way: downloads, and uploads that can be broken off and gone on with. */
import { schema as s, Upload, uploadWanted, Volume, type VolumeFormat } from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

/** Bytes that are all zero, and need not be sent. */
export interface Hole {
  readonly holeBytes: number
}

/** The bytes of a volume in order: as they are, or how many zeros. */
export type ContentPart = Uint8Array | Hole
export type Content = AsyncIterable<ContentPart>

/** The bytes of a volume, or a part of them. Read once; fails with `conflict` when they change meanwhile. */
export interface VolumeContent extends AsyncIterable<ContentPart> {
  /** Of the whole. */
  readonly sizeBytes: number
  /** Where in the whole this begins, and how long it is. */
  readonly offset: number
  readonly lengthBytes: number
  readonly format: VolumeFormat
  /** Another one when the bytes have changed. */
  readonly entityTag: string
  /** Of the whole, in hexadecimal, when it was asked for. */
  readonly sha256?: string
  /** Needed only where it is not read to its end. */
  close(): Promise<void>
}

/** What a volume can be converted to on its way. */
export const downloadFormats = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx'] as const
export type DownloadFormat = (typeof downloadFormats)[number]

export interface DownloadOptions {
  readonly signal?: AbortSignal
  /** From here; the whole without it. */
  readonly offset?: number
  /** At most so many bytes; to the end without it. */
  readonly lengthBytes?: number
  /** Converted to it, without what it is based on; the bytes of its file without it. Then it is whole. */
  readonly format?: DownloadFormat
  /** Tell the SHA-256 of the whole. */
  readonly checksum?: boolean
  /** Fails with `conflict` when it is not this one any more. */
  readonly ifMatch?: string
}

export interface CreateUploadOptions extends CallOptions {
  /** Name of the volume that it becomes. */
  readonly volume: string
  /** How long it is; told by its end without it. */
  readonly sizeBytes?: number
  /** How much of it are not holes: what the pool must have room for. */
  readonly allocationBytes?: number
  /** As the name of the volume says without it. */
  readonly format?: VolumeFormat
  /** That it must have, in hexadecimal. */
  readonly sha256?: string
  /** It may take the place of a volume of this name. */
  readonly replace?: boolean
  /** What is sent, in words of the sender's: who begins the same again goes on with it. */
  readonly source?: string
}

/**
 * Uploads to a pool. What has come is no volume before {@link Uploads.finish}, outlives the daemon, and is removed a
 * day after the last of it came.
 */
export interface Uploads {
  list(pool: string): Promise<Upload[]>
  /** Says how far it came. */
  get(pool: string, upload: string): Promise<Upload>
  /** Begins one, or finds the one that was begun with the same words. Fails with `already-exists` where there is the volume. */
  create?(pool: string, options: CreateUploadOptions): Promise<Upload>
  /**
   * Takes more. What came before a failure stays, unless the pool is full; one that was under way is broken off. Fails
   * with `conflict` when `offset` is not where the next byte goes.
   */
  append?(
    pool: string,
    upload: string,
    content: Content,
    options: { readonly offset: number } & CallOptions,
  ): Promise<Upload>
  /**
   * Makes it the volume, at once and whole. Fails with `invalid-argument` when it has not its checksum or is not of its
   * format, `denied` when it is based on something out of its pool; nothing is left of it then.
   */
  finish?(pool: string, upload: string, options?: CallOptions): Promise<Volume>
  /** Gives it up. */
  remove?(pool: string, upload: string, options?: CallOptions): Promise<void>
}

const bytes = <const D extends string>(doc: D) =>
  s.size(doc, { unit: 'bytes', min: 0, max: Number.MAX_SAFE_INTEGER })
const optionalBytes = <const D extends string>(doc: D) =>
  s.size(doc, { unit: 'bytes', optional: true, min: 0, max: Number.MAX_SAFE_INTEGER })

export const uploadOperations = {
  list: {
    access: 'read',
    doc: 'Uploads to a pool that are not whole yet.',
    key: 'pool',
    result: s.array('uploads', Upload),
  },
  get: { access: 'read', doc: 'How far an upload came.', key: 'pool', item: 'upload', result: Upload },
  create: {
    access: 'admin',
    doc: 'Begins an upload, or finds the one that was begun with the same words.',
    key: 'pool',
    options: s.object('CreateUpload', 'What', {
      ...uploadWanted,
      allocationBytes: optionalBytes('how much of it are not holes: what the pool must have room for'),
    }),
    result: Upload,
    parallel: true,
  },
  append: {
    access: 'admin',
    doc: 'Takes more of an upload.',
    key: 'pool',
    item: 'upload',
    body: 'content',
    options: s.object('AppendUpload', 'Where', { offset: bytes('where the first byte goes') }),
    result: Upload,
    parallel: true,
  },
  finish: {
    access: 'admin',
    doc: 'Makes an upload the volume, at once and whole.',
    key: 'pool',
    item: 'upload',
    result: Volume,
    long: true,
    parallel: true,
  },
  remove: { access: 'admin', doc: 'Gives an upload up.', key: 'pool', item: 'upload', parallel: true },
} as const satisfies PartTable<Uploads>

export const downloadOptions = {
  offset: optionalBytes('from here; the whole without it'),
  lengthBytes: optionalBytes('at most so many; to the end without it'),
  format: s.choice('converted to it, without what it is based on', downloadFormats, { optional: true }),
  checksum: s.boolean('tell the SHA-256 of the whole', { optional: true }),
  ifMatch: s.string('entity tag that it must have', { optional: true, maxLength: 200 }),
}

export const downloadOperation = {
  access: 'admin',
  doc: 'The bytes of a volume.',
  key: 'pool',
  item: 'volume',
  options: s.object('DownloadVolume', 'Which', downloadOptions),
  result: 'content',
} as const

export const writeOperation = {
  access: 'admin',
  doc: 'Writes into a raw volume, in place.',
  key: 'pool',
  item: 'volume',
  body: 'content',
  options: s.object('WriteVolume', 'Where', {
    offset: optionalBytes('from here; from its beginning without it'),
    lengthBytes: optionalBytes('at most so many; as much as comes without it'),
  }),
  result: Volume,
  parallel: true,
} as const
