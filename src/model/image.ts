/** What a machine can be made from. */
import * as s from './schema.ts'

export const Image = s.object('Image', 'A kernel or disk that machines are made from', {
  name: s.string('name: micro'),
  arch: s.string('architecture: x86_64, i686'),
  kind: s.choice('what it is', ['kernel', 'disk']),
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
  format: s.string('format of the disk image', { optional: true }),
  sizeBytes: s.integer('size on disk'),
  sha256: s.string('digest over its files'),
  createdAt: s.string('when it was made, ISO 8601'),
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
})
export type PublishedImage = s.Output<typeof PublishedImage>

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
