/** The files of a disk, from the one in use down, as the images themselves say. */
import { readDiskImage } from '../disks/disk-image.ts'
import type { DiskFile } from './image-files.ts'

/** Fails as {@link readDiskImage}. */
export async function readFileChain(file: DiskFile): Promise<DiskFile[]> {
  const files: DiskFile[] = []
  let image: Awaited<ReturnType<typeof readDiskImage>> | undefined = await readDiskImage(
    file.path,
    file.format,
  )
  for (let type = file.type; image; image = image.backing, type = 'file')
    files.push({ type, path: image.path, format: image.format })
  return files
}
