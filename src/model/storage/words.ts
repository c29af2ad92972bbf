/** The kinds of words that definitions of storage are made of. */
import * as s from '../schema.ts'

export const aUuid = {
  normalize: 'uuid',
  pattern: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u,
  patternName: "a uuid such as '6695eb01-f6a4-8304-79aa-97f2502e193f'",
} as const
export const printable = {
  pattern: /^[^\p{Cc}]+$/u,
  patternName: 'a text without control characters',
  maxLength: 4095,
} as const
/** A volume's name is the name of a file in most pools; what begins with a dot is nobody's volume. */
export const aVolumeName = {
  pattern: /^(?!\.)[^/\p{Cc}]+$/u,
  patternName: 'a name without slashes or control characters that does not begin with a dot',
  minLength: 1,
  maxLength: 255,
} as const

/** Who a folder or file belongs to. Source: libvirt's "Storage pool and volume XML format", permissions. */
export const StoragePermissions = s.object('StoragePermissions', 'Who it belongs to, and who may do what', {
  mode: s.string('mode in octal', {
    xml: 'mode',
    optional: true,
    pattern: /^0?[0-7]{1,4}$/u,
    patternName: "a mode such as '0700'",
  }),
  owner: s.integer('user id', { xml: 'owner', optional: true, min: -1, max: 2 ** 32 - 2 }),
  group: s.integer('group id', { xml: 'group', optional: true, min: -1, max: 2 ** 32 - 2 }),
  label: s.string('security label', { xml: 'label', optional: true, ...printable }),
  unknown: s.unknown(),
})
export type StoragePermissions = s.Output<typeof StoragePermissions>
