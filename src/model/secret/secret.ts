/** A secret as it is now, without its value. */
import * as s from '../schema.ts'
import { secretUsages } from './definition.ts'

export const Secret = s.object('Secret', 'A secret as it is now', {
  uuid: s.string('identity'),
  usage: s.choice('what it is for', secretUsages),
  name: s.string('name of what it is for: a volume, or what disks and pools call it by', { optional: true }),
  description: s.string('any text about it', { optional: true }),
  private: s.boolean('whether it is only used, and never told'),
  ephemeral: s.boolean('whether it is never written down'),
  hasValue: s.boolean('whether it has a value now'),
  usedBy: s.array('volumes (pool/name) and pools that need it', s.string('name')),
})
export type Secret = s.Output<typeof Secret>

/** The longest value, in bytes: what libvirt takes over its wire. */
export const maxSecretBytes = 65_536

export const SecretValue = s.object('SecretValue', 'The value of a secret', {
  base64: s.string('its bytes as base64', {
    maxLength: Math.ceil(maxSecretBytes / 3) * 4,
    pattern: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/u,
    patternName: 'base64',
  }),
})
export type SecretValue = s.Output<typeof SecretValue>
