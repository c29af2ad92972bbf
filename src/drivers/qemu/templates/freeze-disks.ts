/** Puts an overlay on each disk of a machine that stands still, so that what is below stays as it is. */

import { rm } from 'node:fs/promises'
import { dirname, join, parse } from 'node:path'
import { createOverlay } from '../../../host/index.ts'
import type { Disk } from '../../../model/index.ts'
import { VisorError } from '../../../model/index.ts'
import { blockNode } from '../disks/disks.ts'
import { grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import { type FrozenDisk, onOverlay } from './clone-definition.ts'

interface LiveDisk extends FrozenDisk {
  readonly disk: Disk
  /** The node that the device reads and writes. */
  readonly node: string
}

/** The disks of a machine that it can write to, as QEMU has them. */
export async function writableDisks({ monitor, details }: Machine): Promise<LiveDisk[]> {
  const answer = await monitor.execute('query-block')
  const blocks = Array.isArray(answer) ? answer.filter(isRecord) : []
  return details.definition.devices.disks.flatMap((disk) => {
    const { alias = '' } = disk
    const block = blocks.find(({ qdev }) => typeof qdev === 'string' && qdev.split('/').includes(alias))
    const inserted = isRecord(block?.inserted) ? block.inserted : undefined
    if (!inserted || inserted.ro === true || disk.device !== 'disk') return []
    const image = isRecord(inserted.image) ? inserted.image : {}
    const { drv: format, 'node-name': node } = inserted
    const file = disk.file ?? disk.block
    if ((format !== 'raw' && format !== 'qcow2') || typeof node !== 'string' || file === undefined)
      throw new VisorError(
        'unsupported-config',
        `The disk '${disk.target}' has the format '${String(format)}' or is no file; only raw and qcow2 files can be kept still.`,
        { path: 'devices.disks' },
      )
    return [{ disk, alias, node, file, format, sizeBytes: Number(image['virtual-size']) }]
  })
}

/** Where the machine goes on writing: beside the disk that is kept still. */
export function overlayPath({ file }: FrozenDisk, template: string): string {
  return join(dirname(file), `${parse(file).name}.${template}.qcow2`)
}

/**
 * Lets a machine that stands still go on on overlays, all of its disks or none. Gives their
 * files, in the order of the disks. Fails as {@link createOverlay}, or `failed`; the overlays are removed then.
 */
export async function freezeDisks(
  machine: Machine,
  live: readonly LiveDisk[],
  template: string,
): Promise<string[]> {
  const { monitor } = machine
  const made: string[] = []
  const nodes: string[] = []
  try {
    const actions: object[] = []
    for (const [index, one] of live.entries()) {
      const path = overlayPath(one, template)
      await createOverlay(path, one)
      made.push(path)
      await grantAccess(machine, [{ path, write: true, what: 'disk image' }])
      const disk = onOverlay(one.disk, path)
      const node = `frozen${index}-${Date.now().toString(36)}`
      await monitor.execute('blockdev-add', {
        ...blockNode(disk, { path, format: 'qcow2' }, node, false),
        backing: null,
      })
      nodes.push(node)
      actions.push({ type: 'blockdev-snapshot', data: { node: one.node, overlay: node } })
    }
    if (actions.length > 0) await monitor.execute('transaction', { actions })
    return made
  } catch (error) {
    for (const node of nodes) await monitor.execute('blockdev-del', { 'node-name': node }).catch(() => {})
    for (const path of made) await rm(path, { force: true })
    throw error
  }
}
