/** Limits of disks, changed while their machine runs and for its next start. */
import { type Disk, Disk as DiskSchema, diffValues } from '../../../model/index.ts'
import { setDiskLimits } from '../disks/disk-throttle.ts'
import type { QmpClient } from '../qmp/index.ts'

/**
 * The disks with the limits of `changed` put in order: what is 0 is no limit, and those that share its group have
 * the same ones. Without limits it leaves its group, whose others keep theirs.
 */
export function withLimitsOf(disks: readonly Disk[], changed: Disk): Disk[] {
  const named = Object.entries(changed.throttle ?? {}).filter(([, value]) => value !== 0)
  const isLimited = named.some(([, value]) => typeof value === 'number')
  const { throttle: _, ...free } = changed
  const throttle = isLimited ? (Object.fromEntries(named) as Disk['throttle']) : undefined
  const group = throttle?.groupName
  return disks.map((one) => {
    if (one === changed) return throttle ? { ...free, throttle } : free
    return group !== undefined && one.throttle?.groupName === group ? { ...one, throttle } : one
  })
}

/** Whether only the limits of a disk are other ones. */
export function areLimitsAlone(old: Disk, next: Disk): boolean {
  const different = diffValues(DiskSchema, old, next)
  return different.length > 0 && different.every(({ path }) => path.startsWith('throttle'))
}

/** Has QEMU hold the disk to its limits, or let go of those it had; with a group, all that are in it. */
export async function changeLimits(monitor: QmpClient, old: Disk, next: Disk): Promise<void> {
  if (old.throttle || next.throttle) await setDiskLimits(monitor, [next])
}
