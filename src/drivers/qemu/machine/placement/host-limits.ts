/** What a definition says that the machine may take of its host, for its control groups. */
import type { CgroupLimits } from '../../../../host/index.ts'
import type { DomainDefinition } from '../../../../model/index.ts'

const bytes = (kib: number | undefined) => (kib === undefined ? undefined : kib * 1024)

export function hostLimits({ cputune, memtune, blkiotune }: DomainDefinition): CgroupLimits {
  return {
    cpuShares: cputune?.shares,
    cpuPeriodUs: cputune?.globalPeriodUs,
    cpuQuotaUs: cputune?.globalQuotaUs,
    memoryBytes: bytes(memtune?.hardLimitKiB),
    memorySoftBytes: bytes(memtune?.softLimitKiB),
    memorySwapBytes: bytes(memtune?.swapHardLimitKiB),
    ioWeight: blkiotune?.weight,
    ioDevices: blkiotune?.devices.length ? blkiotune.devices : undefined,
  }
}
