/** What machines are made from: fetched, built, made of disks. */
import {
  Image,
  ImagePruning,
  ImageServer,
  type ImageUser,
  PublishedImage,
  schema as s,
  type Volume,
  type VolumeFormat,
} from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'
import { type DiskBuildOptions, diskBuildOptions } from './disk-build.ts'
import { type DownloadOptions, downloadOptions, type VolumeContent } from './uploads.ts'

export interface BuildImageOptions extends CallOptions, DiskBuildOptions {
  /** Architecture of the guest: x86_64, i686. The host's without it. */
  readonly arch?: string
  /** Build again though it is cached. */
  readonly refresh?: boolean
}

export interface PullImageOptions extends CallOptions {
  /** Name in visor's list; made from the name of the file without it. */
  readonly name?: string
  /** Architecture of the guest. The host's without it. */
  readonly arch?: string
  /** The digest that it must have: `sha256:...` or `sha512:...`; that of the distribution without it, where there is one. */
  readonly checksum?: string
  /** Of a file whose name does not say it. */
  readonly format?: 'qcow2' | 'raw'
  /** What of an image of a server: the disk of a machine, or the root file system of a container; a disk without it. */
  readonly kind?: 'disk' | 'container'
  /** Fetch it again though it is there. */
  readonly refresh?: boolean
}

export interface PublishImageOptions extends CallOptions {
  /** Name of the image. */
  readonly name: string
  /** A domain that is off, whose disk it is made of. */
  readonly domain?: string
  /** Which of its disks; the first without it. */
  readonly disk?: string
  /** Pool of `volume`; `default` without it. */
  readonly pool?: string
  /** A volume that it is made of, in place of a domain's disk. */
  readonly volume?: string
  /** Architecture of its guests; that of the domain, or of the host, without it. */
  readonly arch?: string
  /** One line about it. */
  readonly title?: string
  /** Smaller, and slower to make. */
  readonly compress?: boolean
  /** It may take the place of an image of this name. */
  readonly replace?: boolean
}

export interface PruneImagesOptions extends CallOptions {
  /** Also images that nobody uses and that nothing was made of for so long. */
  readonly olderThanSeconds?: number
  /** Only tell. */
  readonly dryRun?: boolean
}

export interface Images {
  list(): Promise<Image[]>
  /** Images that can be pulled by name: of distributions, or all of a server. */
  published?(options?: { readonly server?: string; readonly signal?: AbortSignal }): Promise<PublishedImage[]>
  /** Servers that list the images that they have. */
  servers?(): Promise<ImageServer[]>
  /**
   * Fetches an image: of a distribution by name, of a server by its name and that of the image (`images:debian/12`), of any by address, of the host by absolute path. Goes on
   * where an earlier call broke off. Fails with `unavailable`, `not-found`, and `failed` when it is not what it
   * should be.
   */
  pull?(options: PullImageOptions & { readonly source: string }): Promise<Image>
  /** With the size of its disk and who uses it. Fails with `failed` when its files are not what they were. */
  get(image: string): Promise<Image>
  /** The bytes of its disk, as they lie or converted. Fails with `invalid-argument` for an image without one. */
  export?(image: string, options?: DownloadOptions): Promise<VolumeContent>
  /**
   * Makes an image from a distribution's packages: `micro`, a kernel with a shell, or a disk that boots by itself, such as
   * `debian-12`. One that is there already is given back at once. Fails with `unavailable` naming what the host lacks,
   * `denied` where it takes root, `not-found` for a package, `already-exists` where the name is of another image.
   */
  build?(image: string, options?: BuildImageOptions): Promise<Image>
  /**
   * Makes an image of a volume, or of a disk of a domain that is off: a copy of the whole, based on nothing. Fails with
   * `invalid-state` while the domain runs, `already-exists` where there is an image of that name.
   */
  publish?(options: PublishImageOptions): Promise<Image>
  /** Removes what nobody uses: downloads and builds that were given up, what copies of former images were based on. */
  prune?(options?: PruneImagesOptions): Promise<ImagePruning>
  remove?(image: string, options?: CallOptions): Promise<void>
}

/** A disk that an image is made of. */
export interface DiskToPublish {
  readonly path: string
  readonly format: VolumeFormat
}

export interface MakeImageOptions extends Omit<PublishImageOptions, 'domain' | 'disk' | 'pool' | 'volume'> {
  /** What it is made of, in words. */
  readonly of: string
}

/** What pruning has to know of the rest of the host. */
export interface ImageSurroundings {
  usersOf(image: Image): Promise<ImageUser[]>
  /** Volumes that copies of images are based on, and now none is. */
  unusedBases(): Promise<Volume[]>
  /** Fails with `invalid-state` when it is used meanwhile. */
  removeBase(volume: Volume): Promise<void>
}

/** The images of a host, as what is made of them needs them. */
export interface HostImages extends Required<Omit<Images, 'publish' | 'prune'>> {
  /** As `get`, without a look whether its files are what they were; it counts as used now. */
  use(image: string): Promise<Image>
  /** Makes an image of a disk that nobody writes to. */
  make(disk: DiskToPublish, options: MakeImageOptions): Promise<Image>
  prune(surroundings: ImageSurroundings, options: PruneImagesOptions): Promise<ImagePruning>
}

const anImageName = {
  pattern: /^[a-z0-9][a-z0-9.-]{0,62}$/u,
  patternName: 'a name of lower-case letters, digits, dots and hyphens',
} as const
const arch = s.string('architecture of the guest', {
  optional: true,
  pattern: /^[a-z0-9_]{1,32}$/u,
  patternName: 'the name of an architecture',
})

export const imageOperations = {
  list: { access: 'read', doc: 'All images, by name.', result: s.array('images', Image) },
  get: { access: 'read', doc: 'An image.', key: 'image', result: Image },
  build: {
    access: 'admin',
    doc: "Makes an image from the distribution's packages.",
    key: 'image',
    options: s.object('BuildImage', 'How', {
      arch: s.string('architecture of the guest', { optional: true }),
      refresh: s.boolean('build again though it is cached', { optional: true }),
      ...diskBuildOptions,
    }),
    result: Image,
    long: true,
  },
  published: {
    access: 'read',
    doc: 'Images that can be pulled by name.',
    options: s.object('PublishedImages', 'Of whom', {
      server: s.string('a server; distributions without it', { optional: true, maxLength: 64 }),
    }),
    result: s.array('images', PublishedImage),
  },
  servers: {
    access: 'read',
    doc: 'Servers that list the images that they have.',
    result: s.array('servers', ImageServer),
  },
  pull: {
    access: 'admin',
    doc: 'Fetches an image.',
    options: s.object('PullImage', 'Which', {
      source: s.string('name of a published image, address, or absolute path on the host', {
        minLength: 1,
        maxLength: 4095,
      }),
      name: s.string("name in visor's list", { optional: true, ...anImageName }),
      arch,
      checksum: s.string('digest that it must have', { optional: true, maxLength: 200 }),
      format: s.choice('of a file whose name does not say it', ['qcow2', 'raw'], { optional: true }),
      kind: s.choice('what of an image of a server; a disk without it', ['disk', 'container'], {
        optional: true,
      }),
      refresh: s.boolean('fetch it again though it is there', { optional: true }),
    }),
    result: Image,
    long: true,
  },
  export: {
    access: 'admin',
    doc: 'The bytes of the disk of an image.',
    key: 'image',
    options: s.object('ExportImage', 'How', downloadOptions),
    result: 'content',
  },
  publish: {
    access: 'admin',
    doc: 'Makes an image of a disk.',
    refersTo: 'domain',
    options: s.object('PublishImage', 'Of what', {
      name: s.string('name of the image', anImageName),
      domain: s.string('uuid or name of a domain that is off', { optional: true, maxLength: 255 }),
      disk: s.string('which of its disks, by target; the first without it', {
        optional: true,
        maxLength: 255,
      }),
      pool: s.string("pool of the volume; 'default' without it", { optional: true, maxLength: 255 }),
      volume: s.string("a volume, in place of a domain's disk", { optional: true, maxLength: 255 }),
      arch,
      title: s.string('one line about it', { optional: true, maxLength: 200 }),
      compress: s.boolean('smaller, and slower to make', { optional: true }),
      replace: s.boolean('it may take the place of an image of this name', { optional: true }),
    }),
    result: Image,
    long: true,
  },
  prune: {
    access: 'admin',
    doc: 'Removes what nobody uses.',
    options: s.object('PruneImages', 'What', {
      olderThanSeconds: s.integer('also images that nobody uses, and that nothing was made of for so long', {
        optional: true,
        min: 0,
        max: 2 ** 40,
      }),
      dryRun: s.boolean('only tell', { optional: true }),
    }),
    result: ImagePruning,
  },
  remove: { access: 'admin', doc: 'Removes an image.', key: 'image' },
} as const satisfies PartTable<Images>
