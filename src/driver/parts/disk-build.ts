/** How a disk is built of a distribution's packages. */
import { schema as s } from '../../model/index.ts'

export interface DiskBuildOptions {
  /** Of a disk: its name in visor's list; that of the release and `-built` without it. */
  readonly name?: string
  /** Of a disk: further packages of the distribution. */
  readonly packages?: readonly string[]
  /** Of a disk: how large it is; as large as its packages need without it. */
  readonly sizeBytes?: number
  /** Of a disk; qcow2 without it. */
  readonly format?: 'qcow2' | 'raw'
  /** Of a disk: http or https address of the distribution's archive, and of its security updates. */
  readonly mirror?: string
  readonly securityMirror?: string
  /**
   * Of a disk: no file in it is later, in seconds since 1970 (SOURCE_DATE_EPOCH); when the release was published without
   * it. The same packages, options and version of visor give the same bytes.
   */
  readonly epoch?: number
}

const anAddress = {
  optional: true,
  maxLength: 2048,
  pattern: /^https?:\/\/[^\s[\]\p{Cc}]+$/u,
  patternName: 'an http or https address',
} as const

export const diskBuildOptions = {
  name: s.string("of a disk: name in visor's list; that of the release and '-built' without it", {
    optional: true,
    pattern: /^[a-z0-9][a-z0-9.-]{0,62}$/u,
    patternName: 'a name of lower-case letters, digits, dots and hyphens',
  }),
  packages: s.array(
    'of a disk: further packages',
    s.string('name', { pattern: /^[a-z0-9][a-z0-9+.-]{1,127}$/u, patternName: 'the name of a package' }),
    { optional: true, maxItems: 1000 },
  ),
  sizeBytes: s.integer('of a disk: how large; as large as its packages need without it', {
    optional: true,
    min: 2 ** 20,
    max: 2 ** 44,
  }),
  format: s.choice('of a disk; qcow2 without it', ['qcow2', 'raw'], { optional: true }),
  mirror: s.string("of a disk: address of the distribution's archive", anAddress),
  securityMirror: s.string('of a disk: address of the security updates', anAddress),
  epoch: s.integer(
    'of a disk: no file in it is later, in seconds since 1970; when the release was published without it',
    {
      optional: true,
      min: 0,
      max: 2 ** 31 - 1,
    },
  ),
}
