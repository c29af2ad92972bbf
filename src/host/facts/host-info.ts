import { hostname, machine } from 'node:os'
import type { HostInfo } from '../../model/index.ts'
import { type HostFiles, hostFiles } from './files.ts'
import { readMemory } from './memory.ts'
import { readProcessor } from './processor.ts'

/** What the host is, for every driver that runs guests on this very machine. */
export function readHostInfo(visor: string, files: HostFiles = hostFiles()): HostInfo {
  const processor = readProcessor(files)
  const memory = readMemory(files)
  return {
    hostname: hostname(),
    arch: machine(),
    cpus: processor.count || 1,
    ...(processor.name ? { cpuModel: processor.name } : {}),
    memoryKiB: memory.totalKiB,
    freeMemoryKiB: memory.availableKiB,
    kernel: files.read('/proc/sys/kernel/osrelease')?.trim() ?? '',
    visor,
  }
}

/** Name and version of the operating system, as /etc/os-release has it for people (os-release(5)). */
export function readSystemName(files: HostFiles): string {
  const text = files.read('/etc/os-release') ?? files.read('/usr/lib/os-release') ?? ''
  return /^PRETTY_NAME=["']?(.*?)["']?$/mu.exec(text)?.[1] ?? 'Linux'
}

/** The package families whose commands remedies can name. */
export type PackageFamily = 'debian' | 'fedora' | 'suse' | 'arch' | 'alpine' | 'other'

/** Which family the operating system belongs to, by ID and ID_LIKE. */
export function readPackageFamily(files: HostFiles): PackageFamily {
  const text = files.read('/etc/os-release') ?? files.read('/usr/lib/os-release') ?? ''
  const ids = [...text.matchAll(/^ID(?:_LIKE)?=["']?(.*?)["']?$/gmu)].map(([, id]) => id).join(' ')
  if (/\b(debian|ubuntu)\b/u.test(ids)) return 'debian'
  if (/\b(fedora|rhel|centos)\b/u.test(ids)) return 'fedora'
  if (/suse/u.test(ids)) return 'suse'
  if (/\barch\b/u.test(ids)) return 'arch'
  return /\balpine\b/u.test(ids) ? 'alpine' : 'other'
}
