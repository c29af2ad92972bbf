/** Images of disks that are here. */
import { join } from 'node:path'
import type { DiskToPublish, MakeImageOptions } from '../../driver/index.ts'
import type { NewImage } from '../image-cache.ts'
import { nameImage } from '../volumes/encryption.ts'
import { qemuImg } from '../volumes/qemu-img.ts'

/**
 * Copies the disk, with all that it is based on, to a qcow2 image in the folder `output`. Fails with `busy` while
 * somebody writes to it.
 */
export async function makeOfDisk(
  { path, format }: DiskToPublish,
  output: string,
  arch: string,
  { name, of, title, compress, signal, progress }: MakeImageOptions,
): Promise<NewImage> {
  const { flags, name: source } = nameImage({ path, format })
  const disk = 'disk.qcow2'
  const packed = compress ? ['-c'] : []
  await qemuImg(['convert', ...flags, ...packed, '-O', 'qcow2', source, join(output, disk)], {
    ...{ signal, progress, phase: 'copying the disk' },
  })
  return {
    ...{
      name,
      arch,
      kind: 'disk',
      disk,
      format: 'qcow2',
      sources: [],
      recipe: `publish ${crypto.randomUUID()}`,
    },
    title: title ?? `made of ${of}`,
  }
}
