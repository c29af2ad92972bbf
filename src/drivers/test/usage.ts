/** What a test guest uses: figures that grow while it runs. */
import type { DomainDefinition, DomainStats } from '../../model/index.ts'

/** A guest keeps a tenth of each processor busy. */
const load = 0.1
/** What booting took. */
const bootNs = 250_000_000

/** Everything a running guest of this definition has used after `runMs` of running. */
export function usageAfter(
  { memoryKiB, currentMemoryKiB, currentVcpus, vcpus, devices }: DomainDefinition,
  runMs: number,
): Omit<DomainStats, 'uuid' | 'name' | 'state'> {
  const perVcpuNs = bootNs + Math.round(runMs * 1e6 * load)
  const online = currentVcpus ?? vcpus
  const cpuTimeNs = perVcpuNs * online
  const cpuSystemNs = Math.round(cpuTimeNs / 4)
  const memory = currentMemoryKiB ?? memoryKiB
  const ticks = Math.round(runMs)
  return {
    cpuTimeNs,
    cpuSystemNs,
    cpuUserNs: cpuTimeNs - cpuSystemNs,
    vcpus: Array.from({ length: online }, (_, id) => ({ id, timeNs: perVcpuNs })),
    memoryKiB: memory,
    maxMemoryKiB: memoryKiB,
    residentKiB: Math.round(memory * Math.min(0.9, 0.1 + ticks / 1e6)),
    blocks: devices.disks.map(({ target, file, block }) => blockUsage(target, file ?? block, ticks)),
    interfaces: devices.interfaces.map(({ target, alias }, index) =>
      interfaceUsage(target ?? alias ?? `net${index}`, ticks),
    ),
  }
}

const diskBytes = 2 ** 30

function blockUsage(name: string, path: string | undefined, ticks: number): DomainStats['blocks'][number] {
  return {
    name,
    ...(path === undefined ? {} : { path }),
    readRequests: 1_000 + ticks,
    readBytes: (1_000 + ticks) * 4096,
    readTimeNs: (1_000 + ticks) * 20_000,
    writeRequests: 100 + ticks,
    writeBytes: (100 + ticks) * 512,
    writeTimeNs: (100 + ticks) * 30_000,
    flushRequests: 10 + Math.floor(ticks / 100),
    capacityBytes: diskBytes,
    allocationBytes: Math.min(diskBytes, 2 ** 24 + ticks * 512),
    physicalBytes: Math.min(diskBytes, 2 ** 24 + ticks * 512),
  }
}

function interfaceUsage(name: string, ticks: number): DomainStats['interfaces'][number] {
  return {
    name,
    rxBytes: ticks * 1500,
    rxPackets: ticks,
    rxErrors: 0,
    rxDrops: 0,
    txBytes: ticks * 600,
    txPackets: ticks,
    txErrors: 0,
    txDrops: 0,
  }
}
