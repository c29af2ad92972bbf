/** Limits of disks, set through the monitor. Source: QEMU's QMP reference, block_set_io_throttle. */
import type { Disk, DiskThrottle } from '../../../model/index.ts'
import { isRecord, type QmpClient } from '../qmp/index.ts'

const names = [
  ['Bytes', 'bps'],
  ['Iops', 'iops'],
] as const
const sides = [
  ['total', ''],
  ['read', '_rd'],
  ['write', '_wr'],
] as const

/** Arguments of `block_set_io_throttle`. What is absent is 0, which is no limit. */
export function throttleArguments(device: string, throttle: Disk['throttle']) {
  const limits: Record<string, number> = {}
  const value = (key: string) => throttle?.[key as keyof DiskThrottle] as number | undefined
  for (const [name, short] of names)
    for (const [side, suffix] of sides) {
      limits[`${short}${suffix}`] = value(`${side}${name}Sec`) ?? 0
      const burst = value(`${side}${name}SecMax`)
      const length = value(`${side}${name}SecMaxLength`)
      if (burst) limits[`${short}${suffix}_max`] = burst
      if (length) limits[`${short}${suffix}_max_length`] = length
    }
  return {
    id: device,
    ...limits,
    ...(throttle?.sizeIopsSec ? { iops_size: throttle.sizeIopsSec } : {}),
    // Without a name it would stay in the group it is in; its own is named after it.
    group: throttle?.groupName ?? device,
  }
}

/** Sets the limits of the disks that have some. Drives without medium have nothing that could be limited. */
export async function limitDisks(
  monitor: QmpClient,
  disks: readonly Disk[],
  options: Parameters<QmpClient['execute']>[2],
): Promise<void> {
  const limited = disks.filter(({ throttle }) => throttle)
  if (limited.length > 0) await setDiskLimits(monitor, limited, options)
}

/** Sets the limits of these disks to what they say, which is none where they say nothing. */
export async function setDiskLimits(
  monitor: QmpClient,
  disks: readonly Disk[],
  options: Parameters<QmpClient['execute']>[2] = {},
): Promise<void> {
  const blocks = await monitor.execute('query-block', undefined, options)
  // Where the medium is in a device differs: that of virtio-blk is in its backend.
  const deviceOf = (alias = '') =>
    (Array.isArray(blocks) ? blocks.filter(isRecord) : []).find(
      ({ qdev, inserted }) =>
        isRecord(inserted) && typeof qdev === 'string' && qdev.split('/').includes(alias),
    )?.qdev
  for (const { alias, throttle } of disks) {
    const device = deviceOf(alias)
    if (typeof device === 'string')
      await monitor.execute('block_set_io_throttle', throttleArguments(device, throttle), options)
  }
}
