/**
 * Lists of images that servers publish as simplestreams: an index that names lists of products, each with versions of
 * files. What servers write is not believed: what is not of the shape is left out, and all of it is bounded. Sources:
 * the documentation of lp:simplestreams (doc/README); what images.linuxcontainers.org and cloud-images.ubuntu.com have.
 */
import { VisorError } from '../../model/index.ts'

/** Where the index is, below the address of a server. */
export const indexPath = 'streams/v1/index.json'
/** Where it is signed in itself. */
export const signedIndexPath = 'streams/v1/index.sjson'

export const itemLimits = { products: 20_000, versions: 1_000, items: 200, text: 1_024, lists: 100 } as const

export interface StreamItem {
  /** What kind of file: `disk-kvm.img`, `root.tar.xz`. */
  readonly type: string
  /** Below the address of the server. */
  readonly path: string
  readonly sha256: string
  readonly sizeBytes?: number
}

export interface StreamVersion {
  readonly name: string
  readonly items: readonly StreamItem[]
}

export interface StreamProduct {
  readonly id: string
  readonly aliases: readonly string[]
  /** In the words of QEMU: x86_64. */
  readonly arch: string
  readonly title: string
  /** The newest first. */
  readonly versions: readonly StreamVersion[]
}

/** What a machine is made of. */
export interface DiskFiles {
  readonly kind: 'disk'
  readonly disk: StreamItem
}
export interface ContainerFiles {
  readonly kind: 'container'
  readonly rootfs: StreamItem
  readonly metadata?: StreamItem
}

/** Names of Debian's ports that QEMU and the kernel call otherwise. */
const arches: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  i386: 'i686',
  arm64: 'aarch64',
  armhf: 'armv7l',
  armel: 'armv6l',
  ppc64el: 'ppc64le',
  loong64: 'loongarch64',
}
/** For a machine, the best first: all are qcow2 images. */
const diskTypes = ['disk-kvm.img', 'disk1.img', 'uefi1.img']
/** For a container, the best first: tar(1) alone unpacks the one, the other is mounted. */
const rootfsTypes = ['root.tar.xz', 'squashfs', 'root.squashfs']
const metadataTypes = ['incus.tar.xz', 'lxd.tar.xz']

/** Paths of the lists of products that an index names. Fails with `failed` when it is none. */
export function readIndex(text: string, from: string): string[] {
  const index = recordOf(recordOf(parseJson(text, from))?.index)
  if (!index) throw notOfFormat(from, 'index')
  return Object.values(index)
    .slice(0, itemLimits.lists)
    .flatMap((entry) => {
      const list = recordOf(entry)
      const path = pathOf(list?.path)
      return list?.datatype === 'image-downloads' && path !== undefined ? [path] : []
    })
}

/** The products of a list, those that something can be made of. Fails with `failed` when it is none. */
export function readProducts(text: string, from: string): StreamProduct[] {
  const products = recordOf(recordOf(parseJson(text, from))?.products)
  if (!products) throw notOfFormat(from, 'list of products')
  return Object.entries(products)
    .slice(0, itemLimits.products)
    .flatMap(([id, given]) => {
      const product = readProduct(id, given)
      return product ? [product] : []
    })
}

function readProduct(id: string, given: unknown): StreamProduct | undefined {
  const product = recordOf(given)
  const arch = textOf(product?.arch)
  const versions = recordOf(product?.versions)
  if (!product || !arch || !/^[a-z0-9_]{1,32}$/u.test(arch) || !versions || !isText(id)) return undefined
  const aliases = (textOf(product.aliases) ?? '').split(',').map((alias) => alias.trim())
  const read = Object.entries(versions)
    .slice(-itemLimits.versions)
    .flatMap(([name, version]) => {
      const items = readItems(recordOf(version)?.items)
      return isText(name) && items.length > 0 ? [{ name, items }] : []
    })
    .sort((a, b) => (a.name < b.name ? 1 : -1))
  if (read.length === 0) return undefined
  const [os, release, variant] = [product.os, product.release_title ?? product.release, product.variant].map(
    textOf,
  )
  return {
    ...{ id, arch: arches[arch] ?? arch, versions: read },
    aliases: [...new Set(aliases.filter((alias) => /^[\w.+-]+(?:\/[\w.+-]+)*$/u.test(alias)))],
    title: [os ?? id, release, variant === 'default' ? undefined : variant].filter(Boolean).join(' '),
  }
}

function readItems(given: unknown): StreamItem[] {
  return Object.values(recordOf(given) ?? {})
    .slice(0, itemLimits.items)
    .flatMap((entry) => {
      const item = recordOf(entry)
      const [type, sha256, path] = [textOf(item?.ftype), textOf(item?.sha256), pathOf(item?.path)]
      if (!type || !path || !sha256 || !/^[0-9a-f]{64}$/iu.test(sha256)) return []
      const size = item?.size
      const isSize = typeof size === 'number' && Number.isSafeInteger(size) && size >= 0
      return [{ type, path, sha256: sha256.toLowerCase(), ...(isSize && { sizeBytes: size }) }]
    })
}

/** The files of the newest version that has all that is needed. */
export function findFiles(
  { versions }: StreamProduct,
  kind: 'disk' | 'container',
): ((DiskFiles | ContainerFiles) & { readonly version: string }) | undefined {
  for (const { name: version, items } of versions) {
    const first = (types: readonly string[]) =>
      types.flatMap((type) => items.filter((item) => item.type === type))[0]
    const disk = first(diskTypes)
    const rootfs = first(rootfsTypes)
    const metadata = first(metadataTypes)
    if (kind === 'disk' && disk) return { kind, disk, version }
    if (kind === 'container' && rootfs) return { kind, rootfs, version, ...(metadata && { metadata }) }
  }
  return undefined
}

/** The product of an alias (`debian/12`, with `/cloud` or `/arm64` behind it where there are several) or id. */
export function findProduct(
  products: readonly StreamProduct[],
  name: string,
  arch: string,
): StreamProduct | undefined {
  const ofArch = products.filter((product) => product.arch === arch)
  const [, plain = name, port = ''] = /^(.+)\/([^/]+)$/u.exec(name) ?? []
  const portArch = arches[port] ?? port
  return (
    ofArch.find(({ aliases }) => aliases.includes(name)) ??
    products.find(({ id }) => id === name) ??
    products.find((product) => product.arch === portArch && product.aliases.includes(plain))
  )
}

function parseJson(text: string, from: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new VisorError('failed', `What '${from}' sends is not JSON.`, {
      cause,
      remedy: 'See whether the address is that of a simplestreams server.',
    })
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return isRecord(value) ? value : undefined
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const isText = (text: string): boolean => text.length <= itemLimits.text && !/\p{Cc}/u.test(text)

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && isText(value) ? value : undefined
}

/** A path that leads to nowhere else: no other server, nothing above. */
function pathOf(value: unknown): string | undefined {
  const path = textOf(value)
  if (path === undefined || /[\\?#\s]/u.test(path)) return undefined
  const parts = path.split('/')
  return parts.every((part) => part !== '' && part !== '.' && part !== '..' && !/%2e|%2f/iu.test(part))
    ? path
    : undefined
}

function notOfFormat(from: string, what: string): VisorError {
  return new VisorError('failed', `What '${from}' sends is no ${what} of simplestreams.`, {
    remedy: 'See whether the address is that of a simplestreams server.',
  })
}
