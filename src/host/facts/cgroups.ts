import type { HostFiles } from './files.ts'
import { parseMountinfo } from './mounts.ts'

/** How control groups are mounted. `hybrid`: version 1 controllers beside a version 2 tree. */
export interface Cgroups {
  readonly layout: 'v2' | 'v1' | 'hybrid' | 'none'
  /** Where the version 2 tree is. */
  readonly unified: string | undefined
  /** Controllers that can limit guests now, whichever version serves them. */
  readonly controllers: ReadonlySet<string>
  /** Controllers that the kernel knows but nothing has mounted or enabled. */
  readonly idle: ReadonlySet<string>
}

/** Controllers of /proc/cgroups that are not switched off on the kernel's command line. */
export function parseCgroups(text: string): Set<string> {
  const rows = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Set(
    rows.map((row) => row.split(/\s+/u)).flatMap(([name, , , on]) => (name && on === '1' ? name : [])),
  )
}

/** Version 1's names of what version 2 calls otherwise. */
const unifiedNames: Readonly<Record<string, string>> = { blkio: 'io', cpuacct: 'cpu' }

export function readCgroups(files: HostFiles): Cgroups {
  const known = parseCgroups(files.read('/proc/cgroups') ?? '')
  const mounts = parseMountinfo(files.read('/proc/self/mountinfo') ?? '')
  const unified = mounts.find(({ type }) => type === 'cgroup2')?.point
  const legacy = new Set(
    mounts
      .filter(({ type }) => type === 'cgroup')
      .flatMap(({ options }) => options.filter((o) => known.has(o))),
  )
  const enabled = unified ? words(files.read(`${unified}/cgroup.controllers`)) : []
  const controllers = new Set([...legacy, ...enabled])
  const covered = (name: string) => controllers.has(name) || controllers.has(unifiedNames[name] ?? name)
  return {
    layout: legacy.size > 0 ? (unified ? 'hybrid' : 'v1') : unified ? 'v2' : 'none',
    unified,
    controllers,
    idle: new Set([...known].filter((name) => !covered(name))),
  }
}

function words(text: string | undefined): string[] {
  return text?.split(/\s+/u).filter(Boolean) ?? []
}
