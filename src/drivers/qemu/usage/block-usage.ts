/** What the disks of a machine did: counted by QEMU, which is asked once for all disks of a machine. */
import { stat } from 'node:fs/promises'
import type { BlockStats } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'

/** A machine that does not answer is told without what only it knows. */
const timeoutMs = 2_000
/** Images grow slowly, and are resized rarely: their sizes are looked at this often. */
const sizesLastMs = 10_000

interface Size {
  readonly capacityBytes?: number
  readonly physicalBytes?: number
}
interface KnownSizes {
  readonly readAt: number
  /** Of whose disks these are. */
  readonly definition: object
  readonly byNode: ReadonlyMap<string, Size>
  readonly byPath: ReadonlyMap<string, number>
}
const knownSizes = new WeakMap<Machine, KnownSizes>()

export async function readBlocks(machine: Machine): Promise<BlockStats[]> {
  const { disks } = machine.details.definition.devices
  if (disks.length === 0) return []
  const [counters, sizes] = await Promise.all([readCounters(machine), readSizes(machine)])
  return disks.map((disk) => {
    const path = disk.file ?? disk.block
    const one = counters.get(disk.alias ?? '')
    const size = sizes.byNode.get(one?.node ?? '')
    const physicalBytes = sizes.byPath.get(path ?? '') ?? size?.physicalBytes
    return {
      name: disk.target,
      ...(path === undefined ? {} : { path }),
      ...one?.counters,
      ...(size?.capacityBytes === undefined ? {} : { capacityBytes: size.capacityBytes }),
      ...(physicalBytes === undefined ? {} : { physicalBytes }),
    }
  })
}

const fields = {
  readRequests: 'rd_operations',
  readBytes: 'rd_bytes',
  readTimeNs: 'rd_total_time_ns',
  readErrors: 'failed_rd_operations',
  writeRequests: 'wr_operations',
  writeBytes: 'wr_bytes',
  writeTimeNs: 'wr_total_time_ns',
  writeErrors: 'failed_wr_operations',
  flushRequests: 'flush_operations',
  flushTimeNs: 'flush_total_time_ns',
  unmapRequests: 'unmap_operations',
  unmapBytes: 'unmap_bytes',
  allocationBytes: 'wr_highest_offset',
} as const

type Counters = { -readonly [K in keyof typeof fields]?: number }
const fieldNames = Object.keys(fields) as (keyof typeof fields)[]

/** By the alias of the disk, whatever its image is by now. Read for all machines each second: without detours. */
async function readCounters(machine: Machine) {
  const found = new Map<string, { node: string; counters: Counters }>()
  for (const one of await ask(machine, 'query-blockstats')) {
    const alias = aliasOf(one.qdev)
    const { stats } = one
    if (alias === undefined || !isRecord(stats)) continue
    const counters: Counters = {}
    for (const name of fieldNames) {
      const value = count(stats[fields[name]])
      if (value !== undefined) counters[name] = value
    }
    found.set(alias, { node: String(one['node-name'] ?? ''), counters })
  }
  return found
}

const peripherals = '/machine/peripheral/'

/** One with an id is told by it, one within a device, such as the disk of virtio, by its path. */
function aliasOf(device: unknown): string | undefined {
  if (typeof device !== 'string') return undefined
  const start = device.startsWith(peripherals) ? peripherals.length : 0
  const end = device.indexOf('/', start)
  return device.slice(start, end < 0 ? undefined : end) || undefined
}

async function readSizes(machine: Machine): Promise<KnownSizes> {
  const { definition } = machine.details
  const known = knownSizes.get(machine)
  const now = performance.now()
  if (known?.definition === definition && now - known.readAt < sizesLastMs) return known
  const [nodes, files] = await Promise.all([
    ask(machine, 'query-named-block-nodes', { flat: true }),
    Promise.all(
      definition.devices.disks.flatMap(({ file }) =>
        file === undefined
          ? []
          : stat(file).then(
              (one) => [file, one.blocks * 512] as const,
              () => undefined,
            ),
      ),
    ),
  ])
  const byNode = new Map<string, Size>()
  for (const { 'node-name': name, image } of nodes) {
    const capacityBytes = isRecord(image) ? count(image['virtual-size']) : undefined
    const physicalBytes = isRecord(image) ? count(image['actual-size']) : undefined
    const size = {
      ...(capacityBytes === undefined ? {} : { capacityBytes }),
      // Zero is what is told of devices, which are as large on the host as for the guest.
      ...(physicalBytes
        ? { physicalBytes }
        : capacityBytes === undefined
          ? {}
          : { physicalBytes: capacityBytes }),
    }
    if (typeof name === 'string') byNode.set(name, size)
  }
  const byPath = new Map(files.filter((entry) => entry !== undefined))
  const sizes = { readAt: now, definition, byNode, byPath }
  // Asked again next time when it did not answer.
  if (byNode.size > 0) knownSizes.set(machine, sizes)
  return sizes
}

async function ask(machine: Machine, command: string, args?: Record<string, unknown>) {
  const answer = await Promise.resolve()
    .then(() => machine.monitor.execute(command, args, { timeoutMs }))
    .catch(() => [])
  return Array.isArray(answer) ? answer.filter(isRecord) : []
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}
