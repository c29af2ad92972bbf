/**
 * What running machines use. The kernel is asked for what it knows (processors, memory, links); QEMU only for
 * its disks, in one round trip, and for what stays the same once.
 */
import type { DomainStats } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import { readBlocks } from './block-usage.ts'
import { type KeptFiles, keptFiles } from './kept-files.ts'
import { type LinkCounters, readLinks, readProcessUsage, readThreadTimes } from './process-usage.ts'

/** A machine that does not answer is told without what only it knows. */
const timeoutMs = 2_000

type Usage = Omit<DomainStats, 'uuid' | 'name' | 'state'>

/** Reads of many machines at one time: what is of the host is read once. */
export function usageReader(): (machine: Machine) => Promise<Usage> {
  let links: ReadonlyMap<string, LinkCounters> | undefined
  return async (machine) => {
    const { definition } = machine.details
    const { devices } = definition
    if (devices.interfaces.some(({ target }) => target !== undefined)) links ??= readLinks()
    const { pid } = machine.guest.identity
    const files = filesOf(machine)
    const usage = readProcessUsage(pid, machine.guest.cgroups, files)
    const [blocks, threads, memoryKiB, guestMemory] = await Promise.all([
      readBlocks(machine),
      findThreads(machine),
      readMemory(machine),
      readGuestMemory(machine),
    ])
    return {
      ...usage,
      vcpus: threads.map(({ id, thread }) => ({ id, ...readThreadTimes(pid, thread, files) })),
      memoryKiB,
      maxMemoryKiB: definition.memoryKiB,
      ...(guestMemory ? { guestMemory } : {}),
      blocks,
      // QEMU keeps no counters of networks in user space.
      interfaces: devices.interfaces.map(({ type, alias, target }) => ({
        name: target ?? alias ?? 'net',
        ...countersOf(
          links?.get(target ?? ''),
          type === 'direct' || (type === 'network' && /^macvtap\d+$/u.test(target ?? '')),
        ),
      })),
    }
  }
}

/** A macvtap counts as the guest does, other links as their host. */
function countersOf(link: LinkCounters | undefined, isOwn: boolean): LinkCounters | undefined {
  if (!link || !isOwn) return link
  return {
    ...{ rxBytes: link.txBytes, rxPackets: link.txPackets, rxErrors: link.txErrors, rxDrops: link.txDrops },
    ...{ txBytes: link.rxBytes, txPackets: link.rxPackets, txErrors: link.rxErrors, txDrops: link.rxDrops },
  }
}

/** What a machine that does not run uses. */
export function noUsage(maxMemoryKiB: number): Usage {
  return { cpuTimeNs: 0, vcpus: [], memoryKiB: 0, maxMemoryKiB, blocks: [], interfaces: [] }
}

const kept = new WeakMap<Machine, KeptFiles>()

function filesOf(machine: Machine): KeptFiles {
  const known = kept.get(machine)
  if (known) return known
  const files = keptFiles()
  kept.set(machine, files)
  void whenLetGo(machine).then(() => {
    kept.delete(machine)
    files.close()
  })
  return files
}

/** The end of its monitor: that of the machine, or of our interest in it. */
async function whenLetGo(machine: Machine): Promise<void> {
  try {
    await machine.monitor.closed
  } catch {
    // It has none already.
  }
}

interface Thread {
  readonly id: number
  readonly thread: number
}
const knownThreads = new WeakMap<Machine, { definition: object; threads: readonly Thread[] }>()

/** The threads of its virtual processors: asked again when the definition of the machine has changed. */
async function findThreads(machine: Machine): Promise<readonly Thread[]> {
  const { definition } = machine.details
  const known = knownThreads.get(machine)
  if (known?.definition === definition) return known.threads
  const answer = await ask(machine, 'query-cpus-fast')
  const threads = (Array.isArray(answer) ? answer.filter(isRecord) : []).map(
    ({ 'cpu-index': index, 'thread-id': thread }) => ({ id: Number(index), thread: Number(thread) }),
  )
  if (threads.length > 0) knownThreads.set(machine, { definition, threads })
  return threads
}

const knownMemory = new WeakMap<Machine, number>()

/** Memory the guest has now: its balloon tells changes by events, and is asked once for what was before. */
async function readMemory(machine: Machine): Promise<number> {
  const { state, details } = machine
  const { devices, memoryKiB } = details.definition
  if (state.memoryKiB !== undefined) return state.memoryKiB
  const known = knownMemory.get(machine)
  if (known !== undefined) return known
  const hasBalloon = devices.memballoon !== undefined && devices.memballoon.model !== 'none'
  const answer = hasBalloon ? await ask(machine, 'query-balloon') : undefined
  const actual =
    isRecord(answer) && typeof answer.actual === 'number' ? Math.floor(answer.actual / 1024) : memoryKiB
  if (!hasBalloon || isRecord(answer)) knownMemory.set(machine, actual)
  return actual
}

const guestFields = {
  swapInKiB: 'stat-swap-in',
  swapOutKiB: 'stat-swap-out',
  majorFaults: 'stat-major-faults',
  minorFaults: 'stat-minor-faults',
  unusedKiB: 'stat-free-memory',
  availableKiB: 'stat-total-memory',
  usableKiB: 'stat-available-memory',
  diskCachesKiB: 'stat-disk-caches',
  hugePagesAllocated: 'stat-htlb-pgalloc',
  hugePagesFailed: 'stat-htlb-pgfail',
} as const

/** What the guest says of its memory through its balloon, where the definition asks for that. */
async function readGuestMemory(machine: Machine): Promise<DomainStats['guestMemory']> {
  const { memballoon } = machine.details.definition.devices
  if (!memballoon?.statsPeriodSeconds) return undefined
  const answer = await ask(machine, 'qom-get', {
    path: `/machine/peripheral/${memballoon.alias}`,
    property: 'guest-stats',
  })
  const { stats, 'last-update': updated } = isRecord(answer) ? answer : {}
  if (!isRecord(stats) || !updated) return undefined
  const entries = Object.entries(guestFields).flatMap(([name, key]) => {
    const value = stats[key]
    // All ones is what the guest has not told.
    if (typeof value !== 'number' || value < 0 || value >= 2 ** 63) return []
    return [[name, name.endsWith('KiB') ? Math.floor(value / 1024) : value]]
  })
  return { ...Object.fromEntries(entries), updatedAt: new Date(Number(updated) * 1000).toISOString() }
}

function ask(machine: Machine, command: string, args?: Record<string, unknown>): Promise<unknown> {
  return Promise.resolve()
    .then(() => machine.monitor.execute(command, args, { timeoutMs }))
    .catch(() => undefined)
}
