/** What running machines use. */
import { readFile, stat } from 'node:fs/promises'
import { readCgroupCpu } from '../../host/index.ts'
import type { BlockStats, DomainStats } from '../../model/index.ts'
import type { Machine } from './machine.ts'
import { isRecord } from './qmp/index.ts'

/** USER_HZ, the unit of times in /proc/PID/stat: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100
/** A machine that does not answer is told without what only it knows. */
const timeoutMs = 2_000

type Usage = Omit<DomainStats, 'uuid' | 'name' | 'state'>

/** What it uses now; counters since its start. What cannot be known is left out. */
export async function readUsage(machine: Machine): Promise<Usage> {
  const { pid } = machine.guest.identity
  const ask = (command: string) =>
    Promise.resolve()
      .then(() => machine.monitor.execute(command, undefined, { timeoutMs }))
      .catch(() => undefined)
  const [cpu, residentKiB, blocks, sizes, cpus, balloon] = await Promise.all([
    readCpu(machine),
    readResident(pid),
    ask('query-blockstats'),
    readNodeSizes(machine),
    ask('query-cpus-fast'),
    machine.details.definition.devices.memballoon?.model === 'none' ? undefined : ask('query-balloon'),
  ])
  const { definition } = machine.details
  const actual = isRecord(balloon) && typeof balloon.actual === 'number' ? balloon.actual / 1024 : undefined
  return {
    ...cpu,
    vcpus: await readVcpus(pid, cpus),
    memoryKiB: Math.floor(actual ?? machine.state.memoryKiB ?? definition.memoryKiB),
    maxMemoryKiB: definition.memoryKiB,
    ...(residentKiB === undefined ? {} : { residentKiB }),
    blocks: await readBlocks(machine, blocks, sizes),
    // QEMU keeps no counters of the user network.
    interfaces: definition.devices.interfaces.map(({ alias, target }) => ({
      name: target ?? alias ?? 'net',
    })),
  }
}

/** What a machine that does not run uses. */
export function noUsage(maxMemoryKiB: number): Usage {
  return { cpuTimeNs: 0, vcpus: [], memoryKiB: 0, maxMemoryKiB, blocks: [], interfaces: [] }
}

async function readCpu({ guest }: Machine) {
  const cgroup = await readCgroupCpu(guest.cgroups)
  if (cgroup) return { cpuTimeNs: cgroup.totalNs, cpuUserNs: cgroup.userNs, cpuSystemNs: cgroup.systemNs }
  const text = await readFile(`/proc/${guest.identity.pid}/stat`, 'latin1').catch(() => '')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const nanoseconds = (index: number) => Math.round((Number(fields[index] ?? 0) / ticksPerSecond) * 1e9)
  const [cpuUserNs, cpuSystemNs] = [nanoseconds(11), nanoseconds(12)]
  return { cpuTimeNs: cpuUserNs + cpuSystemNs, cpuUserNs, cpuSystemNs }
}

async function readResident(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '')
  const kibibytes = /^VmRSS:\s*(\d+) kB/mu.exec(status)?.[1]
  return kibibytes === undefined ? undefined : Number(kibibytes)
}

/** By the threads of the virtual processors; under TCG too, where each has one of its own. */
async function readVcpus(pid: number, answer: unknown): Promise<Usage['vcpus']> {
  const list = Array.isArray(answer) ? answer.filter(isRecord) : []
  return Promise.all(
    list.map(async ({ 'cpu-index': index, 'thread-id': thread }) => {
      const text = await readFile(`/proc/${pid}/task/${Number(thread)}/schedstat`, 'latin1').catch(() => '')
      return { id: Number(index), timeNs: Number(text.split(' ')[0] || 0) }
    }),
  )
}

type NodeSizes = ReadonlyMap<string, number>

const nodeSizes = new WeakMap<Machine, NodeSizes>()

/** The sizes of images, by block node. No image changes its size while its machine runs, so one look will do. */
async function readNodeSizes(machine: Machine): Promise<NodeSizes> {
  const known = nodeSizes.get(machine)
  if (known) return known
  const found = new Map<string, number>()
  try {
    const answer = await machine.monitor.execute('query-named-block-nodes', { flat: true }, { timeoutMs })
    for (const { 'node-name': name, image } of Array.isArray(answer) ? answer.filter(isRecord) : []) {
      const size = isRecord(image) ? count(image['virtual-size']) : undefined
      if (typeof name === 'string' && size !== undefined) found.set(name, size)
    }
    nodeSizes.set(machine, found)
  } catch {
    // Asked again next time.
  }
  return found
}

async function readBlocks({ details }: Machine, answer: unknown, sizes: NodeSizes): Promise<BlockStats[]> {
  const found = new Map<string, Record<string, unknown>>()
  for (const one of Array.isArray(answer) ? answer.filter(isRecord) : [])
    if (typeof one['node-name'] === 'string') found.set(one['node-name'], one)
  return Promise.all(
    details.definition.devices.disks.map(async (disk, index) => {
      const path = disk.file ?? disk.block
      const one = found.get(`disk${index}`)
      const stats = isRecord(one?.stats) ? one.stats : {}
      const file = path === undefined ? undefined : await stat(path).catch(() => undefined)
      return defined({
        name: disk.target,
        path,
        readRequests: count(stats.rd_operations),
        readBytes: count(stats.rd_bytes),
        readTimeNs: count(stats.rd_total_time_ns),
        writeRequests: count(stats.wr_operations),
        writeBytes: count(stats.wr_bytes),
        writeTimeNs: count(stats.wr_total_time_ns),
        flushRequests: count(stats.flush_operations),
        allocationBytes: count(stats.wr_highest_offset),
        capacityBytes: sizes.get(`disk${index}`),
        physicalBytes: file?.isFile() ? file.blocks * 512 : sizes.get(`disk${index}-file`),
      })
    }),
  )
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

/** Without the fields that are not known. */
function defined(fields: { readonly [K in keyof BlockStats]: BlockStats[K] | undefined }): BlockStats {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as BlockStats
}
