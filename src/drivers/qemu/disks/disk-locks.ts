/** No two machines write the same image: told before QEMU's own locks would, and with the name of the other. */
import { realpath } from 'node:fs/promises'
import { type Disk, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Machine } from '../machine/machine.ts'
import { isWritten } from './disks.ts'

interface Use {
  readonly path: string
  readonly disk: Disk
}

/**
 * Fails with `busy` when a machine that runs has an image of this one as a disk and one of the two writes it,
 * unless both call it shareable.
 */
export async function refuseUsedImages(
  definition: CompleteDefinition,
  machines: Iterable<[string, Machine]>,
): Promise<void> {
  const wanted = await usesOf(definition)
  if (wanted.length === 0) return
  for (const [uuid, { details }] of machines) {
    if (uuid === definition.uuid) continue
    const others = await usesOf(details.definition)
    for (const { path, disk } of wanted) {
      const other = others.find((one) => one.path === path && conflict(one.disk, disk))
      if (!other) continue
      const writer = writes(other.disk) ? 'is written by' : 'is read by'
      throw new VisorError(
        'busy',
        `The disk image '${path}' of domain '${definition.name}' ${writer} domain '${details.definition.name}', which runs.`,
        {
          remedy: `Stop '${details.definition.name}' first, make the disk read-only in both, or shareable in both.`,
          object: { kind: 'file', name: path },
        },
      )
    }
  }
}

const writes = (disk: Disk): boolean => isWritten(disk) && !disk.transient

const conflict = (one: Disk, other: Disk): boolean =>
  (writes(one) || writes(other)) && !(one.shareable && other.shareable)

async function usesOf({ devices }: CompleteDefinition): Promise<Use[]> {
  const found = await Promise.all(
    devices.disks.map(async (disk) => {
      const path = disk.type === 'block' ? disk.block : disk.type === 'file' ? disk.file : undefined
      return path === undefined ? [] : [{ path: await realpath(path).catch(() => path), disk }]
    }),
  )
  return found.flat()
}
