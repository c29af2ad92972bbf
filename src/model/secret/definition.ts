/**
 * What is said of a secret: libvirt's `<secret>` as a typed description. The value is no part of it.
 *
 * Source: libvirt's "Secret XML format" (formatsecret). Fields stand in the order in which libvirt prints them.
 */
import { unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { aUuid, printable } from '../storage/words.ts'

/** What a secret is for: disks and volumes, servers of Ceph and iSCSI, private keys of TLS, states of TPMs. */
export const secretUsages = ['none', 'volume', 'ceph', 'iscsi', 'tls', 'vtpm'] as const

const SecretUsage = s.object(
  'SecretUsage',
  'What it is for',
  {
    type: s.choice('kind of use', secretUsages, { xml: '@type' }),
    volume: s.string('path or name of the volume that it unlocks', {
      xml: 'volume',
      optional: true,
      ...printable,
    }),
    name: s.string('name that disks and devices call it by: of the types ceph, tls and vtpm', {
      xml: 'name',
      optional: true,
      ...printable,
    }),
    target: s.string('name that disks call it by: of the type iscsi', {
      xml: 'target',
      optional: true,
      ...printable,
    }),
  },
  { order: { '.': words('volume name target') } },
)

export const SecretDefinition = s.object(
  'SecretDefinition',
  'A secret: a passphrase of a disk, a password of a server',
  {
    ephemeral: s.boolean('never written down: it is gone when visord ends', {
      xml: '@ephemeral',
      as: 'yes-no',
      default: false,
    }),
    private: s.boolean('never told to anybody again, only used', {
      xml: '@private',
      as: 'yes-no',
      default: false,
    }),
    uuid: s.string('identity; made by visor when absent', { xml: 'uuid', optional: true, ...aUuid }),
    description: s.string('any text about it', { xml: 'description', optional: true, maxLength: 65_536 }),
    usage: s.field(SecretUsage, { xml: 'usage', optional: true }),
    unknown,
  },
  {
    xml: 'secret',
    order: { '.': words('@ephemeral @private uuid description usage') },
  },
)
export type SecretDefinition = s.Output<typeof SecretDefinition>
export type SecretDefinitionInput = s.Input<typeof SecretDefinition>
