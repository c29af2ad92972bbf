/**
 * What control groups hold a guest to, as files of version 2 and of the controllers of version 1. Sources: the
 * kernel's admin-guide/cgroup-v2 and admin-guide/cgroup-v1; what the values of libvirt's elements mean, "Domain
 * XML format".
 */
import { statSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { VisorError } from '../model/index.ts'
import type { CgroupHierarchy } from './cgroup.ts'
import { errorNumber } from './files.ts'

export interface CgroupLimits {
  /** Weight against others: 2 to 262144 in version 1, 1 to 10000 in version 2. */
  readonly cpuShares?: number | undefined
  /** Processor time in each period, microseconds; -1 for no limit. */
  readonly cpuQuotaUs?: number | undefined
  readonly cpuPeriodUs?: number | undefined
  /** More is never given: the guest is ended by the kernel instead. */
  readonly memoryBytes?: number | undefined
  /** What it is pressed back to where memory is short. */
  readonly memorySoftBytes?: number | undefined
  /** Memory and swap together. */
  readonly memorySwapBytes?: number | undefined
  readonly ioWeight?: number | undefined
  readonly ioDevices?: readonly IoDeviceLimits[] | undefined
  /** Threads and processes. */
  readonly pids?: number | undefined
}

/** Of one block device, per second. */
export interface IoDeviceLimits {
  readonly path: string
  readonly weight?: number | undefined
  readonly readBytes?: number | undefined
  readonly writeBytes?: number | undefined
  readonly readRequests?: number | undefined
  readonly writeRequests?: number | undefined
}

/** One file of a group. */
export interface CgroupSetting {
  /** Of the group. */
  readonly path: string
  /** Names of which the first that is there is meant: kernels differ. */
  readonly file: string
  readonly otherFile?: string
  readonly value: string
  /** What it is, for messages. */
  readonly what: string
}

type Setting = Omit<CgroupSetting, 'path'>

/** Of what is asked for, what can be set in which of these groups. Fails with `unsupported-config` for what none of them has. */
export function limitSettings(
  hierarchies: readonly CgroupHierarchy[],
  paths: readonly string[],
  limits: CgroupLimits,
): CgroupSetting[] {
  const settings: CgroupSetting[] = []
  for (const [controller, ofV1, ofV2] of settingsOf(limits)) {
    if (ofV1.length === 0) continue
    const v1 = hierarchies.findIndex((one) => one.controller.split(',').includes(controller))
    const v2 = hierarchies.findIndex((one) => one.controller === '2')
    const path = paths[v1 >= 0 ? v1 : v2]
    if (path === undefined)
      throw new VisorError(
        'unsupported-config',
        `This host has no control groups that limit: ${controller}.`,
        {
          remedy:
            "Leave the limit out, or give visord a service with 'Delegate=yes' (packaging/visord.service).",
        },
      )
    settings.push(...(v1 >= 0 ? ofV1 : ofV2).map((setting) => ({ ...setting, path })))
  }
  return settings
}

/** Each controller with its files in version 1, and in version 2. */
function settingsOf(limits: CgroupLimits): (readonly [string, Setting[], Setting[]])[] {
  const { cpuShares, cpuQuotaUs, cpuPeriodUs, memoryBytes, memorySoftBytes, memorySwapBytes } = limits
  const { ioWeight, pids, ioDevices = [] } = limits
  const one = (what: string, file: string, value: number | string | undefined, otherFile?: string) =>
    value === undefined
      ? []
      : [{ what, file, value: String(value), ...(otherFile === undefined ? {} : { otherFile }) }]
  const swap =
    memorySwapBytes === undefined || memorySwapBytes < 0
      ? memorySwapBytes
      : Math.max(0, memorySwapBytes - Math.max(0, memoryBytes ?? 0))
  const orMax = (value: number | undefined) => (value === -1 ? 'max' : value)
  const max =
    cpuQuotaUs === undefined && cpuPeriodUs === undefined
      ? undefined
      : `${cpuQuotaUs === undefined || cpuQuotaUs < 0 ? 'max' : cpuQuotaUs} ${cpuPeriodUs ?? 100_000}`
  return [
    [
      'cpu',
      [
        ...one('shares', 'cpu.shares', cpuShares),
        ...one('period', 'cpu.cfs_period_us', cpuPeriodUs),
        ...one('quota', 'cpu.cfs_quota_us', cpuQuotaUs),
      ],
      [...one('shares', 'cpu.weight', cpuShares), ...one('quota', 'cpu.max', max)],
    ],
    [
      'memory',
      [
        ...one('hard limit', 'memory.limit_in_bytes', memoryBytes),
        ...one('soft limit', 'memory.soft_limit_in_bytes', memorySoftBytes),
        ...one('limit with swap', 'memory.memsw.limit_in_bytes', memorySwapBytes),
      ],
      [
        ...one('hard limit', 'memory.max', orMax(memoryBytes)),
        ...one('soft limit', 'memory.high', orMax(memorySoftBytes)),
        ...one('limit with swap', 'memory.swap.max', orMax(swap)),
      ],
    ],
    [
      'blkio',
      [
        ...one('weight', 'blkio.weight', ioWeight, 'blkio.bfq.weight'),
        ...ioDevices.flatMap((device) => deviceSettingsV1(device)),
      ],
      [
        ...one('weight', 'io.weight', ioWeight, 'io.bfq.weight'),
        ...ioDevices.flatMap((device) => deviceSettingsV2(device)),
      ],
    ],
    ['pids', one('pids', 'pids.max', pids), one('pids', 'pids.max', pids)],
  ]
}

function deviceSettingsV1(device: IoDeviceLimits): Setting[] {
  const number = deviceNumber(device.path)
  const { readBytes, writeBytes, readRequests, writeRequests, weight } = device
  const rates = {
    'blkio.throttle.read_bps_device': readBytes,
    'blkio.throttle.write_bps_device': writeBytes,
    'blkio.throttle.read_iops_device': readRequests,
    'blkio.throttle.write_iops_device': writeRequests,
  }
  const what = `limit of '${device.path}'`
  return [
    ...Object.entries(rates).flatMap(([file, rate]) =>
      rate === undefined ? [] : [{ what, file, value: `${number} ${rate}` }],
    ),
    ...(weight === undefined
      ? []
      : [
          {
            what,
            file: 'blkio.weight_device',
            otherFile: 'blkio.bfq.weight_device',
            value: `${number} ${weight}`,
          },
        ]),
  ]
}

function deviceSettingsV2(device: IoDeviceLimits): Setting[] {
  const number = deviceNumber(device.path)
  const { readBytes, writeBytes, readRequests, writeRequests, weight } = device
  const rates = Object.entries({
    rbps: readBytes,
    wbps: writeBytes,
    riops: readRequests,
    wiops: writeRequests,
  }).flatMap(([key, rate]) => (rate === undefined ? [] : [`${key}=${rate === 0 ? 'max' : rate}`]))
  const what = `limit of '${device.path}'`
  return [
    ...(rates.length === 0 ? [] : [{ what, file: 'io.max', value: `${number} ${rates.join(' ')}` }]),
    ...(weight === undefined
      ? []
      : [
          {
            what,
            file: 'io.weight',
            otherFile: 'io.bfq.weight',
            value: `${number} ${weight === 0 ? 'default' : weight}`,
          },
        ]),
  ]
}

function deviceNumber(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found?.isBlockDevice())
    throw new VisorError(
      'unsupported-config',
      `'${path}' is no block device, so its use cannot be limited.`,
      {
        path: 'blkiotune.devices',
        remedy: 'Name the disk of the host, such as /dev/sda; or limit the disk of the guest with iotune.',
      },
    )
  const major = ((found.rdev >> 8) & 0xfff) | (Math.floor(found.rdev / 2 ** 32) & ~0xfff)
  const minor = (found.rdev & 0xff) | ((found.rdev >> 12) & ~0xff & 0xfff00)
  return `${major}:${minor}`
}

/** Makes the groups and holds them to these limits. Fails with `unsupported-config`, naming what the kernel refused. */
export async function applyLimits(settings: readonly CgroupSetting[]): Promise<void> {
  for (const path of new Set(settings.map((setting) => setting.path))) await makeGroup(path)
  for (const { path, file, otherFile, value, what } of settings)
    await write(join(path, file), value)
      .catch((error: unknown) => {
        if (otherFile === undefined || errorNumber(error) !== 'ENOENT') throw error
        return write(join(path, otherFile), value)
      })
      .catch((cause: Error) => {
        throw new VisorError(
          'unsupported-config',
          `The ${what} ${value} cannot be set here: ${cause.message}.`,
          {
            cause,
            remedy: `See ${path}: what is not there, the kernel of this host cannot limit.`,
          },
        )
      })
}

/** As {@link applyLimits}, of groups that have other limits: memory with swap is never less than memory, whichever moves first. */
export async function changeLimits(settings: readonly CgroupSetting[]): Promise<void> {
  await applyLimits(settings).catch((error: unknown) => {
    if (settings.length < 2) throw error
    return applyLimits([...settings].reverse())
  })
}

export function noGroups(): VisorError {
  return new VisorError(
    'unsupported-config',
    'It has no control group of its own, so it cannot be limited.',
    {
      remedy:
        "Give visord a service with 'Delegate=yes' (packaging/visord.service), and start the machine anew.",
    },
  )
}

/** Makes a group that can have limits, as far as those above it pass them on. */
export async function makeGroup(path: string): Promise<void> {
  await mkdir(path, { recursive: true })
  const above = dirname(path)
  // The folder of all guests comes and goes with them, and what it passes on with it.
  const [passed, known] = await Promise.all([
    words(join(above, 'cgroup.controllers')),
    words(join(above, 'cgroup.subtree_control')),
  ])
  await enable(
    above,
    v2Controllers.filter((one) => passed.includes(one) && !known.includes(one)),
  )
}

async function enable(path: string, controllers: readonly string[]): Promise<void> {
  // One by one: some may be refused, such as for processes with real-time priorities.
  for (const one of controllers) await write(join(path, 'cgroup.subtree_control'), `+${one}`).catch(() => {})
}

/** A file of a group is there from its beginning, or not at all; it must not be made. */
function write(path: string, value: string): Promise<void> {
  return writeFile(path, value, { flag: 'r+' })
}

/** The group that the service manager puts the daemon into, so that the one above can have limits. */
const leaf = 'visord'

/** The group above, for a daemon that is in a leaf of it. */
export function withoutLeaf(path: string): string {
  return path.endsWith(`/${leaf}`) ? dirname(path) : path
}

const v2Controllers = ['cpu', 'memory', 'io', 'pids']

/**
 * Lets groups below `parent` have limits, in version 2. A group with processes of its own cannot pass its
 * controllers on: it can where the service manager has put us into a leaf (DelegateSubgroup=visord in
 * systemd.resource-control(5), since 254), or in the hierarchy's root. We do not move ourselves: an older
 * service manager could not put our successor into a group that passes controllers on. Gives the controllers
 * that can be had.
 */
export async function passOnControllers(parent: string): Promise<readonly string[]> {
  const available = (await words(join(parent, 'cgroup.controllers'))).filter((one) =>
    v2Controllers.includes(one),
  )
  const known = await words(join(parent, 'cgroup.subtree_control'))
  await enable(
    parent,
    available.filter((one) => !known.includes(one)),
  )
  const enabled = await words(join(parent, 'cgroup.subtree_control'))
  return available.filter((one) => enabled.includes(one))
}

async function words(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.split(/\s+/u).filter((word) => word !== '')
}
