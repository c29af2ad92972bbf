/** Changes what is in a drive while its machine runs. */
import { withUndo } from '../../../host/index.ts'
import { type Disk, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { DiskImage } from '../disks/disk-image.ts'
import { topNode } from '../disks/disk-node.ts'
import { isWritten, mediumParts } from '../disks/disks.ts'
import { filesOfImage, grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import { preflight } from '../machine/preflight.ts'
import { findNodes, plugIn, removeBackends } from './plug.ts'
import { revokeFilesOf } from './revoke-files.ts'

interface Drive {
  readonly old: Disk
  readonly next: Disk
  readonly before: CompleteDefinition
  readonly after: CompleteDefinition
}

/**
 * Opens the tray, takes the old medium out, puts the new one in. Fails with `invalid-state` when the guest
 * has locked the tray, unless forced; the old medium stays in then, and is put in again when the new one is refused.
 */
export async function changeMedium(
  context: Context,
  machine: Machine,
  { old, next, before, after }: Drive,
  force: boolean,
): Promise<void> {
  const { monitor } = machine
  const id = String(next.alias)
  const paths = context.paths.of(after.uuid)
  const image = await imageOf(context, after, next)
  await withUndo(
    async (undo) => {
      if (image) await grantAccess(machine, filesOfImage(image, { write: isWritten(next) }))
      if (image)
        undo.push(() => revokeFilesOf(context, machine, { gone: withDisk(after, next), kept: before }))
      await openTray(machine, id, force)
      undo.push(async () => {
        const back = await imageOf(context, before, old)
        await takeOut(machine, old, paths)
        if (back) await putIn(machine, old, back, paths)
        await monitor.execute('blockdev-close-tray', { id })
      })
      await takeOut(machine, old, paths)
      if (image) await putIn(machine, next, image, paths)
      await monitor.execute('blockdev-close-tray', { id })
    },
    (error) => context.log.warn({ error: String(error) }, 'A medium could not be put in again.'),
  )
  await revokeFilesOf(context, machine, { gone: withDisk(before, old), kept: after })
}

async function imageOf(context: Context, definition: CompleteDefinition, disk: Disk) {
  return (await preflight(withDisk(definition, disk), context.paths.of(definition.uuid))).get(
    disk.alias ?? disk.target,
  )
}

/** With this disk alone. */
const withDisk = (definition: CompleteDefinition, disk: Disk): CompleteDefinition => ({
  ...definition,
  devices: { ...definition.devices, disks: [disk] },
})

type Paths = ReturnType<Context['paths']['of']>

/** Also what stood ready and was never put in. */
async function takeOut(machine: Machine, disk: Disk, paths: Paths): Promise<void> {
  const id = String(disk.alias)
  const nodes = await findNodes(machine, [id])
  await machine.monitor.execute('blockdev-remove-medium', { id })
  const image: DiskImage = { path: disk.file ?? disk.block ?? '/', format: 'raw' }
  await removeBackends(machine, mediumParts(disk, image, { paths }), [...nodes, topNode(disk), disk.target])
}

async function putIn(machine: Machine, disk: Disk, image: DiskImage, paths: Paths): Promise<void> {
  await plugIn(machine, mediumParts(disk, image, { paths }))
  await machine.monitor.execute('blockdev-insert-medium', {
    id: String(disk.alias),
    'node-name': topNode(disk),
  })
}

async function openTray({ monitor, details }: Machine, id: string, force: boolean): Promise<void> {
  const opened = monitor.execute('blockdev-open-tray', { id, force })
  await opened.catch((error: unknown) => {
    if (!(error instanceof VisorError) || !/locked/u.test(error.message)) throw error
    throw new VisorError(
      'invalid-state',
      `The guest of domain '${details.definition.name}' has locked the tray of '${id}'.`,
      { cause: error, remedy: 'Unmount it in the guest, or force it.' },
    )
  })
}
