/** Machines whose disks are overlays on those of another, which must then stay as they are. */
import { VisorError } from '../../../model/index.ts'
import { fileOf } from '../block/image-files.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { readDiskImage } from '../disks/disk-image.ts'
import { isWritten } from '../disks/disks.ts'
import type { Registry } from '../registry.ts'

/** Fails with `invalid-state` when the machine would write to, or give up, what a linked copy is based on. */
export async function refuseLinkedBases(
  { linked }: Pick<Context, 'linked'>,
  registry: Registry,
  { uuid, name, devices }: CompleteDefinition,
  verb: 'started' | 'undefined',
): Promise<void> {
  if (linked.size === 0) return
  const files = devices.disks.flatMap((disk) => (isWritten(disk) ? (fileOf(disk)?.path ?? []) : []))
  for (const [copy, bases] of linked) {
    const base = files.find((path) => bases.includes(path))
    const other = registry.defined.find(copy)?.definition
    if (base === undefined || !other || copy === uuid || !(await isBasedOn(other, base))) continue
    throw new VisorError(
      'invalid-state',
      `Domain '${name}' cannot be ${verb}: '${other.name}', a linked clone, is based on its disk '${base}'.`,
      {
        object: { kind: 'domain', name },
        remedy: `Make the clone whole while it runs or is off: 'visor block pull ${other.name} DISK'; or undefine it.`,
      },
    )
  }
}

async function isBasedOn({ devices }: Pick<CompleteDefinition, 'devices'>, base: string): Promise<boolean> {
  for (const disk of devices.disks) {
    const file = fileOf(disk)
    let image = file && (await readDiskImage(file.path, file.format).catch(() => undefined))
    for (; image; image = image.backing) if (image.path === base) return true
  }
  return false
}
