/** What a machine can be made from. */
import * as s from './schema.ts'

export const Image = s.object('Image', 'A kernel or disk that machines are made from', {
  name: s.string('name: micro'),
  arch: s.string('architecture: x86_64, i686'),
  kind: s.choice('what it is', ['kernel', 'disk']),
  kernel: s.string('kernel file', { optional: true }),
  initrd: s.string('initial RAM disk', { optional: true }),
  commandLine: s.string('kernel command line', { optional: true }),
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
