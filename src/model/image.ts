/** What a machine can be made from. */
import * as s from './schema.ts'

export const ImageUser = s.object('ImageUser', 'What needs an image', {
  kind: s.choice('what it is', ['domain', 'volume']),
  name: s.string('name; that of a volume with its pool, where that is not the default one'),
})
export type ImageUser = s.Output<typeof ImageUser>

export const Image = s.object('Image', 'A kernel, disk or root file system that machines are made from', {
  name: s.string('name: micro'),
  arch: s.string('architecture: x86_64, i686'),
  kind: s.choice('what it is', ['kernel', 'disk', 'container']),
  kernel: s.string('kernel file', { optional: true }),
  packedKernel: s.string('kernel file for UEFI, which starts no unpacked one', { optional: true }),
  initrd: s.string('initial RAM disk', { optional: true }),
  commandLine: s.string('kernel command line', { optional: true }),
  hostnameParameter: s.string("parameter of the command line that sets the guest's hostname", {
    optional: true,
  }),
  title: s.string('one line about it', { optional: true }),
  url: s.string('where it was fetched from', { optional: true }),
  disk: s.string('disk image', { optional: true }),
  rootfs: s.string('archive of the root file system of a container', { optional: true }),
  metadata: s.string('archive with what its maker says of it', { optional: true }),
  format: s.string('format of the disk image, or of the archive', { optional: true }),
  sizeBytes: s.integer('size on disk'),
  virtualSizeBytes: s.integer('size of the disk that a guest sees', { optional: true }),
  sha256: s.string('digest over its files'),
  signedBy: s.string(
    'fingerprint of the key that what was published of it is signed with, where that was verified',
    {
      optional: true,
    },
  ),
  createdAt: s.string('when it was made, ISO 8601'),
  lastUsedAt: s.string('when something was made of it, or else it was, ISO 8601', { optional: true }),
  usedBy: s.array('who is based on it, when one image is asked for', ImageUser, { optional: true }),
  sources: s.array(
    'packages it was made from',
    s.object('ImageSource', 'A package', {
      package: s.string('name'),
      version: s.string('version'),
      arch: s.string('architecture'),
      sha256: s.string('digest of the package'),
    }),
  ),
})
export type Image = s.Output<typeof Image>

export const PublishedImage = s.object('PublishedImage', 'An image that a distribution publishes', {
  name: s.string('name'),
  title: s.string('what it is'),
  aliases: s.array('other names', s.string('name')),
  arches: s.array('architectures that it is published for', s.string('architecture')),
  kinds: s.array('what can be made of it', s.choice('kind', ['disk', 'container'])),
})
export type PublishedImage = s.Output<typeof PublishedImage>

export const ImageServer = s.object('ImageServer', 'A server that lists the images that it has', {
  name: s.string('name, before the colon of its images'),
  type: s.choice('how it lists them', ['simplestreams']),
  title: s.string('what it is'),
  url: s.string('its address'),
})
export type ImageServer = s.Output<typeof ImageServer>

export const ImagePruning = s.object('ImagePruning', 'What nobody uses', {
  dryRun: s.boolean('whether it is only told, and still there'),
  items: s.array(
    'what it is',
    s.object('PrunedItem', 'Something that nobody uses', {
      kind: s.choice('what it is', ['download', 'build', 'volume', 'image']),
      name: s.string('name, or what it was a download of'),
      sizeBytes: s.integer('size on disk'),
      reason: s.string('why nobody needs it'),
    }),
  ),
  freedBytes: s.integer('room that becomes free: files that others share do not free any'),
})
export type ImagePruning = s.Output<typeof ImagePruning>

/** The kernel command line for a guest of this image, which takes `name` as its hostname where it can. */
export function kernelCommandLine(
  { commandLine, hostnameParameter }: Pick<Image, 'commandLine' | 'hostnameParameter'>,
  name: string,
): string | undefined {
  // RFC 1123: other names of guests are no hostnames, and might be more than one word of the line.
  if (hostnameParameter === undefined || !/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/iu.test(name))
    return commandLine
  return `${commandLine ?? ''} ${hostnameParameter}=${name}`.trim()
}
