/**
 * Groups for single threads of a guest, below its own: what its processors or its emulator alone may take. In
 * version 1 any group can have threads of its own, in version 2 those that are `threaded`. Sources: the kernel's
 * admin-guide/cgroup-v1/cgroups and admin-guide/cgroup-v2, "Threads".
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { VisorError } from '../model/index.ts'
import type { CgroupHierarchy } from './cgroup.ts'
import { applyLimits, limitSettings, noGroups } from './cgroup-limits.ts'
import { errorNumber } from './files.ts'

/** Threads that share one limit. */
export interface ThreadGroup {
  /** Of the folder, as libvirt names them: `vcpu0`, `emulator`, `iothread1`. */
  readonly name: string
  readonly threads: readonly number[]
  /** Processor time of all of them in each period, microseconds; -1 for no limit. */
  readonly cpuQuotaUs?: number | undefined
  readonly cpuPeriodUs?: number | undefined
}

/** Which of a guest's groups can limit processor time. Fails with `unsupported-config` where none can. */
export function cpuGroup(
  hierarchies: readonly CgroupHierarchy[],
  paths: readonly string[],
): { readonly path: string; readonly controller: string } {
  const [setting] = limitSettings(hierarchies, paths, { cpuQuotaUs: -1 })
  const index = paths.indexOf(setting?.path ?? '')
  const [path, controller] = [paths[index], hierarchies[index]?.controller]
  if (path === undefined || controller === undefined) throw noGroups()
  return { path, controller }
}

/**
 * Puts these threads into groups of their own below `path` and holds them to their limits. Groups that are there are
 * taken as they are. Fails with `unsupported-config`, naming what the kernel refused; it goes with the group above.
 */
export async function limitThreads(
  { path, controller }: { readonly path: string; readonly controller: string },
  groups: readonly ThreadGroup[],
): Promise<void> {
  const isV2 = controller === '2'
  for (const { name, threads, cpuQuotaUs, cpuPeriodUs } of groups) {
    const own = join(path, name)
    await refused(name, mkdir(own, { recursive: true }))
    if (isV2) await refused(name, write(join(own, 'cgroup.type'), 'threaded'))
    await applyLimits(limitSettings([{ controller, parent: path }], [own], { cpuQuotaUs, cpuPeriodUs }))
    for (const thread of threads)
      await refused(name, enter(join(own, isV2 ? 'cgroup.threads' : 'tasks'), thread))
  }
}

function refused(name: string, work: Promise<unknown>): Promise<unknown> {
  return work.catch((cause: Error) => {
    throw new VisorError(
      'unsupported-config',
      `The threads of '${name}' cannot be limited: ${cause.message}.`,
      {
        cause,
        remedy: 'Limit the whole machine instead (global_quota), or leave the limit out.',
      },
    )
  })
}

/** A thread that has ended meanwhile needs no limit. */
async function enter(file: string, thread: number): Promise<void> {
  await write(file, String(thread)).catch((error: unknown) => {
    if (errorNumber(error) !== 'ESRCH') throw error
  })
}

function write(path: string, value: string): Promise<void> {
  return writeFile(path, value, { flag: 'r+' })
}
