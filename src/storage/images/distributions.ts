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
import { keyPaths, type SignedList } from './signatures.ts'

const aFile = { pattern: /^[\w.{}+-]+$/u, patternName: 'the name of a file', maxLength: 255 } as const
const aName = {
  pattern: /^[a-z0-9][a-z0-9.-]{0,62}$/u,
  patternName: 'a name of lower-case letters, digits, dots and hyphens',
} as const

const aKey = { pattern: /^(?:\/[^\p{Cc}]+|[\w.+-]+)$/u, patternName: 'a file', maxLength: 1024 } as const
const Keys = {
  keys: s.array(
    'files with keys, the first that is there: paths, or names beside this file',
    s.string('file', aKey),
    {
      maxItems: 16,
    },
  ),
  required: s.boolean('whether it is refused where none of them is there', { default: true }),
}

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
    signature: s.field(
      s.object('CatalogueSignature', 'How they are signed', {
        file: s.string('file with the signature; without it they are signed in themselves', {
          ...aFile,
          optional: true,
        }),
        ...Keys,
      }),
      { optional: true },
    ),
  }),
})
export type Distribution = s.Output<typeof Distribution>

const ImageServer = s.object('CatalogueServer', 'A server that lists the images that it has', {
  name: s.string('name, before the colon of its images', aName),
  type: s.choice('how it lists them', ['simplestreams']),
  title: s.string('what it is', { maxLength: 200 }),
  url: s.string('address, below which its streams are', {
    pattern: /^https?:\/\/[^\s?#\p{Cc}]+\/$/u,
    patternName: 'an http or https address that ends in a slash',
    maxLength: 2048,
  }),
  signature: s.field(s.object('ServerSignature', 'How its lists are signed, in themselves', Keys), {
    optional: true,
  }),
})
export type ImageServer = s.Output<typeof ImageServer>

const Catalogue = s.object('Catalogue', 'Images that are published', {
  images: s.array('which', Distribution, { default: [], maxItems: 1000 }),
  servers: s.array('servers that list more', ImageServer, { default: [], maxItems: 100 }),
})
type Catalogue = s.Output<typeof Catalogue>

/** All that is known; a host's own goes before visor's. Fails with `invalid-definition` naming a file that is none. */
export async function readCatalogue(stateDirectory: string): Promise<Catalogue> {
  const folder = join(stateDirectory, 'remotes')
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json')).sort()
  const own: Catalogue[] = []
  for (const name of names) {
    const path = join(folder, name)
    try {
      own.push(withKeyPaths(parse(Catalogue, await readJsonFile(path)), folder))
    } catch (error) {
      throw new VisorError('invalid-definition', `'${path}' names no images: ${(error as Error).message}`, {
        cause: error,
        remedy: 'Correct it, or take it away.',
      })
    }
  }
  const all = [...own, parse(Catalogue, published)]
  return { images: all.flatMap(({ images }) => images), servers: all.flatMap(({ servers }) => servers) }
}

/** Keys beside a file by their whole path. */
function withKeyPaths({ images, servers }: Catalogue, folder: string): Catalogue {
  return {
    images: images.map((image) => {
      const { signature } = image.checksums
      if (!signature) return image
      const keys = keyPaths(signature.keys, folder)
      return { ...image, checksums: { ...image.checksums, signature: { ...signature, keys } } }
    }),
    servers: servers.map(({ signature, ...server }) => ({
      ...server,
      ...(signature && { signature: { ...signature, keys: keyPaths(signature.keys, folder) } }),
    })),
  }
}

/** The distributions of {@link readCatalogue}. */
export async function knownDistributions(stateDirectory: string): Promise<Distribution[]> {
  return (await readCatalogue(stateDirectory)).images
}

/** A server by its name. Fails with `not-found`. */
export function findServer(servers: readonly ImageServer[], name: string): ImageServer {
  const wanted = name.replace(/:$/u, '')
  const server = servers.find((one) => one.name === wanted)
  if (server) return server
  throw new VisorError('not-found', `There is no server of images '${wanted}' that is known here.`, {
    remedy: `There are ${[...new Set(servers.map((one) => one.name))].join(', ')}; more are files remotes/*.json in the state directory.`,
  })
}

/**
 * The server and the name there of `images:debian/12`; undefined for what is the name of a distribution's image, with
 * or without an architecture.
 */
export function splitServer(
  { images, servers }: Catalogue,
  source: string,
): { readonly server: ImageServer; readonly name: string } | undefined {
  const [, before = '', name = ''] = /^([^:]+):(.+)$/u.exec(source) ?? []
  const server = servers.find((one) => one.name === before)
  const isArch = images.some(
    (one) => (one.name === before || one.aliases.includes(before)) && name in one.files,
  )
  return server && !isArch ? { server, name } : undefined
}

export interface PublishedFile {
  readonly distribution: Distribution
  readonly arch: string
  readonly url: string
  readonly checksums: {
    readonly url: string
    readonly file: string
    readonly algorithm: 'sha256' | 'sha512'
    readonly signature?: Pick<SignedList, 'keys' | 'required'> & { readonly url?: string }
  }
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
  const { signature } = checksums
  return {
    distribution,
    arch,
    url: base + file,
    checksums: {
      ...{ url: base + fill(checksums.file), file, algorithm: checksums.algorithm },
      ...(signature && {
        signature: {
          ...{ keys: signature.keys.map(fill), required: signature.required },
          ...(signature.file !== undefined && { url: base + fill(signature.file) }),
        },
      }),
    },
  }
}
