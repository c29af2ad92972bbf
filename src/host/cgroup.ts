/**
 * Control groups: one for each guest, below the one that this process is in, in every hierarchy that serves
 * (v2, v1, or both side by side). Sources: cgroups(7), the kernel's admin-guide/cgroup-v2.
 */
import { access, constants, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type CgroupSetting, makeGroup, withoutLeaf } from './cgroup-limits.ts'
import { errorNumber } from './files.ts'

/** A hierarchy guests get a group in. */
export interface CgroupHierarchy {
  /** `2`, or the v1 controllers it has of those that matter: `cpuacct,cpu`. */
  readonly controller: string
  /** Where the groups of guests are made. */
  readonly parent: string
}

/** The v1 hierarchies that matter for a guest: what it uses, and what limits it. */
const v1Controllers = ['cpuacct', 'cpu', 'memory', 'pids', 'blkio']
/** Only to limit with: a group there is made for a guest that has such a limit. */
const onDemand = ['cpu', 'blkio']

/** The hierarchies where groups can be made; none where nothing is writable. */
export async function findCgroupHierarchies(): Promise<CgroupHierarchy[]> {
  const [mounts, own] = await Promise.all([read('/proc/self/mounts'), read('/proc/self/cgroup')])
  const found = parseCgroupHierarchies(mounts, own)
  const writable = await Promise.all(found.map((hierarchy) => isWritable(hierarchy.parent)))
  return found.filter((_, index) => writable[index])
}

/** Reads mounts and membership as the kernel prints them. */
export function parseCgroupHierarchies(mounts: string, own: string): CgroupHierarchy[] {
  const memberships = new Map<string, string>()
  for (const line of own.split('\n')) {
    const match = /^\d+:([^:]*):(\/.*)$/u.exec(line)
    for (const controller of match?.[1]?.split(',') ?? []) memberships.set(controller, match?.[2] ?? '/')
  }
  const found = new Map<string, CgroupHierarchy>()
  for (const line of mounts.split('\n')) {
    const [, target = '', type, options = ''] = line.split(' ')
    if (type !== 'cgroup' && type !== 'cgroup2') continue
    const given = new Set(options.split(','))
    const controllers = type === 'cgroup2' ? ['2'] : v1Controllers.filter((one) => given.has(one))
    const controller = controllers.join(',')
    const path = memberships.get(type === 'cgroup2' ? '' : (controllers[0] ?? ''))
    if (controller && path !== undefined && !found.has(controller))
      found.set(controller, { controller, parent: join(unescapeMount(target), withoutLeaf(path)) })
  }
  return [...found.values()]
}

/** Those in which every guest has a group; with `all`, also those that only limit. */
export function usualHierarchies(hierarchies: readonly CgroupHierarchy[], all: boolean): CgroupHierarchy[] {
  return hierarchies.filter(({ controller }) => all || !onDemand.includes(controller))
}

/** The directories of a guest's groups, whether they are there or not. */
export function cgroupPaths(hierarchies: readonly CgroupHierarchy[], name: string): string[] {
  return hierarchies.map(({ parent }) => join(parent, 'visor-guests', name))
}

/** Makes the groups and moves a process with all its threads there. Groups that cannot be had are left out; gives those that can. */
export async function enterCgroups(
  paths: readonly string[],
  pid: number,
  limits: readonly CgroupSetting[] = [],
): Promise<string[]> {
  const entered = await Promise.all(
    paths.map(async (path) => {
      try {
        await makeGroup(path)
        const own = limits.filter((setting) => setting.path === path)
        await Promise.all(own.map(({ file, value }) => writeFile(join(path, file), value).catch(() => {})))
        await writeFile(join(path, 'cgroup.procs'), String(pid))
        return true
      } catch {
        await rmdir(path).catch(() => {})
        return false
      }
    }),
  )
  return paths.filter((_, index) => entered[index])
}

/** Ends what still runs in the groups and removes them. Resolves with those that could not be removed. */
export async function removeCgroups(paths: readonly string[]): Promise<string[]> {
  const left = await Promise.all(paths.map(async (path) => ((await removeCgroup(path)) ? undefined : path)))
  return left.filter((path) => path !== undefined)
}

async function removeCgroup(path: string): Promise<boolean> {
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      await rmdir(path)
    } catch (error) {
      const number = errorNumber(error)
      if (number === 'EBUSY') {
        await killCgroup(path)
        await removeBelow(path)
        await new Promise((resolve) => setTimeout(resolve, 2 + attempt))
        continue
      }
      if (number !== 'ENOENT') return false
    }
    // The folder of all guests goes with the last of them.
    await rmdir(dirname(path)).catch(() => {})
    return true
  }
  return false
}

/** Groups of single threads, which are empty as soon as their processes have ended. */
async function removeBelow(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  for (const entry of entries.filter((one) => one.isDirectory())) {
    const below = join(path, entry.name)
    await killCgroup(below)
    await rmdir(below).catch(() => {})
  }
}

/** Kills every process of a group. */
async function killCgroup(path: string): Promise<void> {
  for (const pid of (await read(join(path, 'cgroup.procs'))).split('\n')) {
    try {
      if (Number(pid) > 0) process.kill(Number(pid), 'SIGKILL')
    } catch {
      // Gone already.
    }
  }
}

/** Processor time that a group used; undefined when no group of these tells. */
export async function readCgroupCpu(
  paths: readonly string[],
): Promise<{ totalNs: number; userNs: number; systemNs: number } | undefined> {
  for (const path of paths) {
    const stat = await read(join(path, 'cpu.stat'))
    const value = (key: string) => Number(new RegExp(`^${key} (\\d+)$`, 'mu').exec(stat)?.[1] ?? Number.NaN)
    const total = value('usage_usec')
    if (Number.isFinite(total))
      return {
        totalNs: total * 1000,
        userNs: value('user_usec') * 1000,
        systemNs: value('system_usec') * 1000,
      }
  }
  return undefined
}

async function isWritable(path: string): Promise<boolean> {
  try {
    await access(join(path, 'cgroup.procs'), constants.W_OK)
    await access(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return ''
  }
}

/** Mount points have spaces and the like as octal numbers, proc(5). */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/gu, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
