/** What undefining and destroying a domain have to do with its snapshots and checkpoints. */
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Domains } from '../../../driver/index.ts'
import { VisorError } from '../../../model/index.ts'
import { type DiskWork, filesInUse } from '../block/disk-work.ts'
import { fileOf } from '../block/image-files.ts'
import { readDiskImage } from '../disks/disk-image.ts'

/**
 * Forgets a domain only together with its snapshots, and lets QEMU write out what checkpoints remember before it
 * is ended.
 */
export function keepingSnapshots<D extends Pick<Domains, 'undefine' | 'destroy'>>(
  work: DiskWork,
  domains: D,
): D {
  const { registry, trees } = work
  return {
    ...domains,
    async undefine(uuid, options = {}) {
      const { name } = registry.definition(uuid)
      const { snapshots, checkpoints, made } = trees.get(uuid)
      if (snapshots.length > 0 && !options.snapshots)
        throw new VisorError('invalid-state', `Domain '${name}' has ${snapshots.length} snapshots.`, {
          remedy: `Remove them first, or undefine it together with them: 'visor undefine --snapshots ${name}'.`,
          object: { kind: 'domain', name },
        })
      const kept = await neededBy(work, uuid)
      await domains.undefine?.(uuid, options)
      if (snapshots.length + checkpoints.length + made.length === 0) return
      await trees.put(uuid, { snapshots: [], checkpoints: [], made: [], bases: [] })
      for (const { memoryFile } of snapshots)
        if (memoryFile !== undefined) await rm(memoryFile, { force: true })
      for (const path of made)
        if (!kept.has(path) && !work.context.frozen.has(path)) await rm(path, { force: true })
      await rm(snapshotDirectory(work, uuid), { recursive: true, force: true })
    },
    async destroy(uuid, options = {}) {
      const graceful = options.graceful || trees.get(uuid).checkpoints.length > 0
      await domains.destroy?.(uuid, { ...options, graceful })
    },
  }
}

/** Where memory of snapshots is kept, and overlays of what is no file. */
export function snapshotDirectory({ context }: DiskWork, uuid: string): string {
  return join(dirname(context.paths.saved), 'snapshots', uuid)
}

/** The files that the disks of a domain are, and are based on. */
async function neededBy({ registry }: DiskWork, uuid: string): Promise<Set<string>> {
  const needed = filesInUse(registry, uuid)
  for (const disk of registry.definition(uuid).devices.disks) {
    const file = fileOf(disk)
    let image = file && (await readDiskImage(file.path, file.format).catch(() => undefined))
    for (; image; image = image.backing) needed.add(image.path)
  }
  return needed
}
