import type { HostFiles } from './files.ts'

/** Memory of the host, KiB. */
export interface Memory {
  readonly totalKiB: number
  /** What can be had without swapping. */
  readonly availableKiB: number
}

/** Huge pages of one size. */
export interface HugePages {
  readonly sizeKiB: number
  readonly total: number
  readonly free: number
}

/** The lines of /proc/meminfo, by name; KiB, or a count for HugePages_*. */
export function parseMeminfo(text: string): Map<string, number> {
  const values = new Map<string, number>()
  for (const [, name, value] of text.matchAll(/^([\w()]+):\s+(\d+)/gmu))
    if (name !== undefined) values.set(name, Number(value))
  return values
}

export function readMemory(files: HostFiles): Memory {
  const values = parseMeminfo(files.read('/proc/meminfo') ?? '')
  const free = values.get('MemFree') ?? 0
  return { totalKiB: values.get('MemTotal') ?? 0, availableKiB: values.get('MemAvailable') ?? free }
}

/** Huge pages of every size the kernel has, smallest first. */
export function readHugePages(files: HostFiles): HugePages[] {
  const folder = '/sys/kernel/mm/hugepages'
  const count = (size: string, name: string) => Number(files.read(`${folder}/${size}/${name}`)) || 0
  return files
    .list(folder)
    .map((size) => ({
      sizeKiB: Number(/^hugepages-(\d+)kB$/u.exec(size)?.[1]) || 0,
      total: count(size, 'nr_hugepages'),
      free: count(size, 'free_hugepages'),
    }))
    .filter(({ sizeKiB }) => sizeKiB > 0)
    .sort((a, b) => a.sizeKiB - b.sizeKiB)
}
