/**
 * Images that distributions publish: a data file of visor's, and those beside it that a host adds
 * (`remotes/*.json` in the state directory, of the same shape).
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readJsonFile } from '../../host/index.ts'
import { parse, schema as s, suggest, VisorError } from '../../model/index.ts'
import { digestAlgorithms } from './checksums.ts'
import published from './distributions.json' with { type: 'json' }

const aFile = { pattern: /^[\w.{}+-]+$/u, patternName: 'the name of a file', maxLength: 255 } as const
const aName = {
  pattern: /^[a-z0-9][a-z0-9.-]{0,62}$/u,
  patternName: 'a name of lower-case letters, digits, dots and hyphens',
} as const

const Distribution = s.object('Distribution', 'An image that is published', {
  name: s.string('name', aName),
  title: s.string('what it is', { maxLength: 200 }),
  aliases: s.array('other names', s.string('name', aName), { default: [], maxItems: 16 }),
  base: s.string('folder of the server; {arch} is the architecture', {
    pattern: /^https?:\/\/[^\s\p{Cc}]+\/$/u,
    patternName: 'an http or https address that ends in a slash',
    maxLength: 2048,
  }),
  files: s.record('files by architecture', s.string('file', aFile)),
  format: s.choice('format of the files', ['qcow2', 'raw'], { default: 'qcow2' }),
  checksums: s.object('DistributionChecksums', 'Where its digests are', {
    file: s.string('file with them; {file} is the file itself, {arch} the architecture', aFile),
    algorithm: s.choice('kind of digest', digestAlgorithms),
  }),
})
export type Distribution = s.Output<typeof Distribution>

const Catalogue = s.object('Catalogue', 'Images that are published', {
  images: s.array('which', Distribution, { maxItems: 1000 }),
})

/** All that are known; a host's own go before visor's. Fails with `invalid-definition` naming a file that is none. */
export async function knownDistributions(stateDirectory: string): Promise<Distribution[]> {
  const folder = join(stateDirectory, 'remotes')
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json')).sort()
  const own: Distribution[] = []
  for (const name of names) {
    const path = join(folder, name)
    try {
      own.push(...parse(Catalogue, await readJsonFile(path)).images)
    } catch (error) {
      throw new VisorError('invalid-definition', `'${path}' names no images: ${(error as Error).message}`, {
        cause: error,
        remedy: 'Correct it, or take it away.',
      })
    }
  }
  return [...own, ...parse(Catalogue, published).images]
}

export interface PublishedFile {
  readonly distribution: Distribution
  readonly arch: string
  readonly url: string
  readonly checksums: { readonly url: string; readonly file: string; readonly algorithm: 'sha256' | 'sha512' }
}

/** The file of an image for an architecture. Fails with `not-found`, naming what there is. */
export function findPublished(all: readonly Distribution[], name: string, arch: string): PublishedFile {
  const distribution = all.find((one) => one.name === name || one.aliases.includes(name))
  const names = all.flatMap((one) => [one.name, ...one.aliases])
  if (!distribution) {
    const meant = suggest(name, names)
    throw new VisorError('not-found', `No distribution publishes an image '${name}' that is known here.`, {
      remedy: `${meant === undefined ? '' : `Did you mean '${meant}'? `}There are ${all.map((one) => one.name).join(', ')}; or name the address of a file.`,
      object: { kind: 'image', name },
    })
  }
  const file = distribution.files[arch]
  if (file === undefined)
    throw new VisorError(
      'not-found',
      `${distribution.title} is not published for the architecture '${arch}'.`,
      {
        remedy: `Choose one of ${Object.keys(distribution.files).join(', ')}.`,
        object: { kind: 'image', name },
      },
    )
  const fill = (text: string) => text.replaceAll('{arch}', arch).replaceAll('{file}', file)
  const base = fill(distribution.base)
  const { checksums } = distribution
  return {
    distribution,
    arch,
    url: base + file,
    checksums: { url: base + fill(checksums.file), file, algorithm: checksums.algorithm },
  }
}
