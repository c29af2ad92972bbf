/** Work on disks moves them to other files: from then on it is files that the definition names. */
import type { Context } from '../context.ts'
import { locateVolume } from '../disks/volume-disks.ts'
import type { Registry } from '../registry.ts'

/**
 * Names in the definition for the next start the files and devices that its volumes are, so that what follows them
 * there (an overlay, a copy) can stand in their place. Fails where a volume cannot be found.
 */
export async function writeDownVolumes(
  context: Pick<Context, 'storage'>,
  registry: Registry,
  uuid: string,
): Promise<void> {
  const { disks } = registry.definition(uuid).devices
  if (!disks.some(({ type, device }) => type === 'volume' && device === 'disk')) return
  const located = await Promise.all(
    disks.map((disk) => (disk.device === 'disk' ? locateVolume(context, disk) : disk)),
  )
  const local = located.map((disk, index) =>
    disk.type === 'file' || disk.type === 'block' ? disk : (disks[index] ?? disk),
  )
  const entry = registry.defined.get(uuid)
  const { devices } = entry.definition
  await registry.defined.put({
    ...entry,
    definition: { ...entry.definition, devices: { ...devices, disks: local } },
  })
}
