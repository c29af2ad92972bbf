/** Images of servers that list what they have. */

import type { PullImageOptions } from '../../driver/index.ts'
import type { PublishedImage } from '../../model/index.ts'
import { suggest, VisorError } from '../../model/index.ts'
import { parseDigest } from './checksums.ts'
import type { ImageServer } from './distributions.ts'
import { type Fetching, fetchSigned } from './fetch-signed.ts'
import type { Wanted } from './pull.ts'
import {
  findFiles,
  findProduct,
  indexPath,
  itemLimits,
  readIndex,
  readProducts,
  type StreamItem,
  type StreamProduct,
  signedIndexPath,
} from './simplestreams.ts'

/** Longest list that is read. */
const mostListBytes = 2 ** 25

/** Names that are anything but an address of the server. */
const addressOf = ({ url }: ImageServer, path: string): string =>
  url + path.split('/').map(encodeURIComponent).join('/').replaceAll('%3A', ':')

/** What a server has, and with which key that is signed. */
interface Listed {
  readonly products: readonly StreamProduct[]
  readonly signedBy?: string | undefined
}

async function fetchProducts(
  server: ImageServer,
  fetching: Fetching,
  signal: AbortSignal | undefined,
): Promise<Listed> {
  const bounds = { maxBytes: mostListBytes, signal }
  const { signature } = server
  const fetch = (url: string) => fetchSigned({ url, signature }, fetching, bounds)
  const url = addressOf(server, signature ? signedIndexPath : indexPath)
  const index = await fetch(url)
  const products: StreamProduct[] = []
  for (const path of readIndex(index.text, url)) {
    const address = addressOf(server, path)
    products.push(...readProducts((await fetch(address)).text, address))
    if (products.length >= itemLimits.products) break
  }
  return { products, signedBy: index.signedBy }
}

/** All that a server has of which something can be made, by name. */
export async function listPublished(
  server: ImageServer,
  fetching: Fetching,
  signal: AbortSignal | undefined,
): Promise<PublishedImage[]> {
  const byName = new Map<string, PublishedImage>()
  for (const product of (await fetchProducts(server, fetching, signal)).products) {
    const kinds = (['disk', 'container'] as const).filter((kind) => findFiles(product, kind))
    if (kinds.length === 0) continue
    const [first = product.id, ...others] = [...product.aliases].sort((a, b) => a.length - b.length)
    const name = `${server.name}:${first}`
    const known = byName.get(name)
    byName.set(name, {
      ...{ name, title: product.title, aliases: others },
      arches: [...new Set([...(known?.arches ?? []), product.arch])],
      kinds: [...new Set([...(known?.kinds ?? []), ...kinds])],
    })
  }
  return [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** What is meant by the name of an image on a server. Fails with `not-found`, naming what was probably meant. */
export async function findOnServer(
  server: ImageServer,
  name: string,
  { arch: given, kind = 'disk', checksum, name: own, signal }: PullImageOptions,
  { hostArch, ...fetching }: Fetching & { readonly hostArch: string },
): Promise<Wanted> {
  const { products, signedBy } = await fetchProducts(server, fetching, signal)
  const arch = given ?? hostArch
  const product = findProduct(products, name, arch)
  if (!product) throw notThere(server, name, arch, products)
  const files = findFiles(product, kind)
  if (!files) {
    const other = kind === 'disk' ? 'container' : 'disk'
    throw new VisorError(
      'not-found',
      `The server '${server.name}' has '${name}' for ${product.arch}, but not ${kind === 'disk' ? 'the disk of a machine' : 'the root file system of a container'}.`,
      {
        object: { kind: 'image', name },
        ...(findFiles(product, other) && {
          remedy:
            other === 'container' ? 'There is one for containers: --container.' : 'Leave out --container.',
        }),
      },
    )
  }
  const plain = `${server.name}-${name}`.toLowerCase().replace(/[^a-z0-9.-]+/gu, '-')
  const fileOf = (item: StreamItem) => ({
    url: addressOf(server, item.path),
    digest: { algorithm: 'sha256', hex: item.sha256 } as const,
  })
  const common = {
    ...{ arch: product.arch, title: `${product.title} (${files.version})` },
    ...(signedBy !== undefined && { signedBy }),
  }
  if (files.kind === 'disk') {
    const { url, digest } = fileOf(files.disk)
    const said = checksum === undefined ? digest : parseDigest(checksum)
    return { ...common, name: own ?? plain.slice(0, 63), format: 'qcow2', url, digest: said }
  }
  if (checksum !== undefined)
    throw new VisorError(
      'invalid-argument',
      'An image of a container is several files, with digests of their own.',
      {
        path: 'checksum',
        remedy: 'Leave it out: each is held against what the server publishes.',
      },
    )
  const { rootfs, metadata } = files
  const isSquashed = rootfs.type.includes('squashfs')
  const format = isSquashed ? 'squashfs' : 'tar.xz'
  const main = fileOf(rootfs)
  return {
    ...{ ...common, ...main, format, name: own ?? `${plain.slice(0, 53)}-container` },
    parts: [
      { role: 'rootfs', file: `rootfs.${format}`, ...main },
      ...(metadata ? [{ role: 'metadata' as const, file: 'metadata.tar.xz', ...fileOf(metadata) }] : []),
    ],
  }
}

function notThere(
  server: ImageServer,
  name: string,
  arch: string,
  products: readonly StreamProduct[],
): VisorError {
  const elsewhere = products.filter(({ aliases, id }) => aliases.includes(name) || id === name)
  const known = products.filter((product) => product.arch === arch).flatMap(({ aliases }) => aliases)
  const meant = elsewhere.length === 0 ? suggest(name, known) : undefined
  const remedy =
    elsewhere.length > 0
      ? `It is there for ${[...new Set(elsewhere.map((product) => product.arch))].join(', ')}: --arch.`
      : `${meant === undefined ? '' : `Did you mean '${server.name}:${meant}'? `}'visor image available ${server.name}' lists what there is.`
  return new VisorError('not-found', `The server '${server.name}' has no image '${name}' for ${arch}.`, {
    remedy,
    object: { kind: 'image', name: `${server.name}:${name}` },
  })
}
