/** Limits on what a machine takes of its host. Source: libvirt's "Domain XML format", memory and block I/O tuning. */
import { path, unknown, words } from './domain-words.ts'
import * as s from './schema.ts'

const memory = (doc: string, xml: string) =>
  s.size(doc, { xml, unit: 'KiB', optional: true, min: 1, max: 2 ** 53 })

export const MemoryTune = s.object(
  'MemoryTune',
  'Bounds on the memory that the machine takes of its host, with what its emulator needs',
  {
    hardLimitKiB: memory('the most it gets; the kernel ends it when it needs more', 'hard_limit'),
    softLimitKiB: memory('what it is pressed back to when the host is short', 'soft_limit'),
    swapHardLimitKiB: memory('the most it gets of memory and swap together', 'swap_hard_limit'),
    unknown,
  },
  { order: { '.': words('hard_limit soft_limit min_guarantee swap_hard_limit') } },
)

const rate = (doc: string, xml: string, max: number) => s.integer(doc, { xml, optional: true, min: 0, max })
const weight = s.integer('share of the device against others', {
  xml: 'weight',
  optional: true,
  min: 10,
  max: 1000,
})

const deviceLimits = {
  path: path('block device', { xml: 'path' }),
  weight,
  readRequests: rate('reads a second', 'read_iops_sec', 2 ** 32 - 1),
  writeRequests: rate('writes a second', 'write_iops_sec', 2 ** 32 - 1),
  readBytes: rate('bytes read a second', 'read_bytes_sec', 2 ** 53 - 1),
  writeBytes: rate('bytes written a second', 'write_bytes_sec', 2 ** 53 - 1),
} as const
const ofDevice = 'Bounds on the use of one block device of the host; 0 is none'

/** As one is set while the machine runs. */
export const BlockDeviceLimits = s.object('BlockDeviceLimits', ofDevice, {
  ...deviceLimits,
  weight: s.integer('share of the device against others, from 10', { optional: true, min: 0, max: 1000 }),
})

const BlockTuneDevice = s.object(
  'BlockTuneDevice',
  ofDevice,
  { ...deviceLimits, unknown },
  { order: { '.': words('path weight read_iops_sec write_iops_sec read_bytes_sec write_bytes_sec') } },
)

export const BlockTune = s.object(
  'BlockTune',
  "Bounds on the use of the host's disks",
  {
    weight,
    devices: s.array('single devices', BlockTuneDevice, {
      xml: 'device',
      default: [],
      maxItems: 64,
      key: ['path'],
    }),
    unknown,
  },
  { order: { '.': words('weight device') } },
)

export type BlockDeviceLimits = s.Output<typeof BlockDeviceLimits>
