/** The manifest of an OVA: a digest of each of its files. Source: DMTF DSP0243, 5.1. */
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { VisorError } from '../../model/index.ts'

const algorithms = { SHA1: 'sha1', SHA256: 'sha256', SHA512: 'sha512' } as const

export interface ManifestEntry {
  readonly name: string
  readonly algorithm: (typeof algorithms)[keyof typeof algorithms]
  readonly hex: string
}

/** Fails with `invalid-argument` for a line that is none. */
export function parseManifest(text: string): ManifestEntry[] {
  return text
    .split(/\r?\n/u)
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const {
        kind = '',
        name = '',
        hex = '',
      } = /^(?<kind>SHA(?:1|256|512)) ?\((?<name>[^)]+)\) ?= ?(?<hex>[0-9a-fA-F]+)\s*$/u.exec(line)?.groups ??
      {}
      const algorithm = algorithms[kind as keyof typeof algorithms]
      if (algorithm === undefined)
        throw new VisorError(
          'invalid-argument',
          `The manifest has a line that is none: '${line.slice(0, 100)}'.`,
        )
      return { name, algorithm, hex: hex.toLowerCase() }
    })
}

export const manifestLine = (name: string, sha256: string): string => `SHA256(${name})= ${sha256}\n`

export interface Range {
  readonly file: FileHandle
  readonly offset: number
  readonly sizeBytes: number
}

/** Fails with `failed` when it has another digest than the manifest says. */
export async function checkRange(
  { file, offset, sizeBytes }: Range,
  { name, algorithm, hex }: ManifestEntry,
  { signal, onRead }: { readonly signal: AbortSignal; onRead(bytes: number): void },
): Promise<void> {
  const hash = createHash(algorithm)
  const buffer = Buffer.alloc(2 ** 20)
  for (let done = 0; done < sizeBytes; ) {
    signal.throwIfAborted()
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, sizeBytes - done), offset + done)
    if (bytesRead === 0) break
    hash.update(buffer.subarray(0, bytesRead))
    done += bytesRead
    onRead(bytesRead)
  }
  const found = hash.digest('hex')
  if (found !== hex)
    throw new VisorError('failed', `'${name}' is not what its manifest says: its ${algorithm} is ${found}.`, {
      remedy: 'Get it again: it was changed or damaged on the way.',
    })
}
