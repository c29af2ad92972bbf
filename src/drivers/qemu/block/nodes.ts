/** Nodes of QEMU's block layer for images that a running machine gets. Source: QEMU's QMP reference, blockdev-add. */
import type { Disk } from '../../../model/index.ts'
import type { DiskFile } from './image-files.ts'

/** An image with the settings of the disk it is for, on top of nothing yet. */
export function overlayNode(disk: Disk, file: DiskFile, name: string): Record<string, unknown> {
  return { ...imageNode(disk, file, name), backing: null }
}

/** An image with the settings of the disk it is for. */
export function imageNode(
  { cache: mode, discard = 'unmap', io }: Pick<Disk, 'cache' | 'discard' | 'io'>,
  { type, path, format }: DiskFile,
  name: string,
): Record<string, unknown> {
  const cache = { direct: mode === 'none' || mode === 'directsync', 'no-flush': mode === 'unsafe' }
  const aio = io ? { aio: io } : {}
  const driver = type === 'block' ? 'host_device' : 'file'
  return {
    driver: format,
    'node-name': name,
    cache,
    discard,
    file: { driver, filename: path, 'node-name': `${name}.file`, cache, discard, ...aio },
  }
}
