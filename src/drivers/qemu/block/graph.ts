/**
 * What QEMU has open for the disks of a machine, as QEMU tells it; nothing about it is remembered here, since
 * the names of nodes change with every snapshot, commit and copy. Source: QEMU's QMP reference.
 */
import type { Disk } from '../../../model/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'

export interface Bitmap {
  readonly name: string
  readonly granularity: number
  readonly dirtyBytes: number
  readonly persistent: boolean
  /** QEMU ended without storing it, so that it has not all that was written. */
  readonly inconsistent: boolean
}

/** One image of a disk's chain. */
export interface OpenImage {
  readonly node: string
  readonly format: string
  /** Undefined for one that is no file or device of this host. */
  readonly path: string | undefined
  readonly sizeBytes: number
  readonly bitmaps: readonly Bitmap[]
}

/** The chain of a disk: the image in use first, what it is based on after it. */
export type OpenChain = readonly [OpenImage, ...OpenImage[]]

const filters = new Set([
  'throttle',
  'copy-on-read',
  'mirror_top',
  'commit_top',
  'copy-before-write',
  'preallocate',
])

/** The chains of the disks that have a medium, by target name. */
export async function readChains({ monitor, details }: Machine): Promise<Map<string, OpenChain>> {
  const [blocks, nodes, graph] = await Promise.all([
    monitor.execute('query-block'),
    monitor.execute('query-named-block-nodes', { flat: true }),
    monitor.execute('x-debug-query-block-graph'),
  ])
  const walk = graphWalk(records(nodes), graph)
  const chains = new Map<string, OpenChain>()
  for (const { alias, target } of details.definition.devices.disks) {
    const block = records(blocks).find(({ qdev }) => isOf(qdev, alias))
    const top = isRecord(block?.inserted) ? block.inserted['node-name'] : undefined
    const [first, ...rest] = typeof top === 'string' ? walk(top) : []
    if (first) chains.set(target, [first, ...rest])
  }
  return chains
}

/** The chain of one disk; fails with `invalid-argument` when there is no such disk, or nothing in it. */
export async function readChain(machine: Machine, target: string): Promise<OpenChain> {
  const chain = (await readChains(machine)).get(target)
  if (chain) return chain
  throw noDisk(machine.details.definition, target)
}

/** The disk of this target name; fails with `invalid-argument`. */
export function findDisk(
  definition: { readonly name: string; readonly devices: { readonly disks: readonly Disk[] } },
  target: string,
): Disk {
  const disk = definition.devices.disks.find((one) => one.target === target)
  if (disk) return disk
  throw noDisk(definition, target)
}

function noDisk(
  { name, devices }: { readonly name: string; readonly devices: { readonly disks: readonly Disk[] } },
  target: string,
): VisorError {
  const there = devices.disks.map((disk) => disk.target)
  return new VisorError('invalid-argument', `Domain '${name}' has no disk '${target}', or it is empty.`, {
    remedy: there.length > 0 ? `It has ${there.join(', ')}.` : 'It has no disks at all.',
  })
}

const records = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? value.filter(isRecord) : []

function isOf(qdev: unknown, alias: string | undefined): boolean {
  return typeof qdev === 'string' && alias !== undefined && qdev.split('/').includes(alias)
}

/** All nodes by name, and those of them that nothing hangs on. */
export function readGraph(graph: unknown): { readonly nodes: string[]; readonly roots: ReadonlySet<string> } {
  const { nodes: vertices, edges } = isRecord(graph) ? graph : {}
  const children = new Set(records(edges).map((edge) => edge.child))
  const drivers = records(vertices).filter(({ type }) => type === 'block-driver')
  const roots = drivers.filter(({ id }) => !children.has(id))
  return {
    nodes: drivers.map(({ name }) => String(name)),
    roots: new Set(roots.map(({ name }) => String(name))),
  }
}

/** From the name of a node to the images below it. */
function graphWalk(nodes: readonly Record<string, unknown>[], graph: unknown) {
  const byName = new Map(nodes.map((node) => [String(node['node-name']), node]))
  const { nodes: vertices, edges } = isRecord(graph) ? graph : {}
  const nameOf = new Map(records(vertices).map(({ id, name }) => [id, String(name)]))
  const child = (parent: string, kind: string): string | undefined => {
    const edge = records(edges).find((one) => nameOf.get(one.parent) === parent && one.name === kind)
    return edge && nameOf.get(edge.child)
  }
  return (top: string): OpenImage[] => {
    const images: OpenImage[] = []
    for (let name: string | undefined = top; name !== undefined; ) {
      const node = byName.get(name)
      if (!node) break
      const below: string | undefined = child(name, 'backing')
      if (filters.has(String(node.drv))) name = child(name, 'file') ?? below
      else {
        const file = child(name, 'file')
        images.push(describeImage(node, file === undefined ? undefined : byName.get(file)))
        name = below
      }
    }
    return images
  }
}

function describeImage(node: Record<string, unknown>, file: Record<string, unknown> | undefined): OpenImage {
  const image = isRecord(node.image) ? node.image : {}
  return {
    node: String(node['node-name']),
    format: String(node.drv),
    path: pathOf((file ?? node).file),
    sizeBytes: Number(image['virtual-size'] ?? 0),
    bitmaps: records(node['dirty-bitmaps']).map((bitmap) => ({
      name: String(bitmap.name ?? ''),
      granularity: Number(bitmap.granularity ?? 0),
      dirtyBytes: Number(bitmap.count ?? 0),
      persistent: bitmap.persistent === true,
      inconsistent: bitmap.inconsistent === true,
    })),
  }
}

/** The file behind a name of QEMU's, which is JSON where the file alone does not say all. */
function pathOf(name: unknown): string | undefined {
  if (typeof name !== 'string') return undefined
  if (!name.startsWith('json:')) return name.startsWith('/') ? name : undefined
  try {
    for (let value: unknown = JSON.parse(name.slice(5)); isRecord(value); value = value.file)
      if (typeof value.filename === 'string') return value.filename
  } catch {}
  return undefined
}
