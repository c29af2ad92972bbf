/** An upload under way: bytes that are not a volume yet. */
import * as s from '../schema.ts'
import { volumeFormats } from './volume-definition.ts'
import { aVolumeName } from './words.ts'

const mostBytes = Number.MAX_SAFE_INTEGER

/** What is said of an upload when it begins. */
export const uploadWanted = {
  volume: s.string('name of the volume that it becomes', aVolumeName),
  sizeBytes: s.size('how long it is; told by its end without it', {
    unit: 'bytes',
    optional: true,
    min: 0,
    max: mostBytes,
  }),
  format: s.choice('image format; as the name of the volume says without it', volumeFormats, {
    optional: true,
  }),
  sha256: s.string('SHA-256 that it must have, in hexadecimal', {
    optional: true,
    pattern: /^[0-9a-f]{64}$/u,
    patternName: '64 hexadecimal digits in lower case',
  }),
  replace: s.boolean('it may take the place of a volume of this name', { optional: true }),
  source: s.string("what is sent, in words of the sender's: who begins the same again goes on with it", {
    optional: true,
    minLength: 1,
    maxLength: 255,
    pattern: /^[^\p{Cc}]+$/u,
    patternName: 'a text without control characters',
  }),
} as const

export const Upload = s.object('Upload', 'Bytes on their way to become a volume', {
  id: s.string('identity'),
  pool: s.string('name of the pool'),
  ...uploadWanted,
  offset: s.integer('how many bytes have come; the next one goes here', { min: 0, max: mostBytes }),
  createdAt: s.string('when it began, ISO 8601'),
  expiresAt: s.string('when it is removed unless more comes, ISO 8601'),
})
export type Upload = s.Output<typeof Upload>
