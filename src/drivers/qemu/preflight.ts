/** Looks at everything a machine needs from the host before anything is started. */
import { access, constants, stat } from 'node:fs/promises'
import { checkSocketPath } from '../../host/index.ts'
import type { Disk } from '../../model/index.ts'
import type { CompleteDefinition } from './definition.ts'
import { cannotOpen, type DiskImage, readDiskImage } from './disk-image.ts'
import type { GuestPaths } from './paths.ts'

/** The images of a machine's disks, by the alias of the disk; a drive without medium has none. */
export type DiskImages = ReadonlyMap<string, DiskImage>

/** Fails as {@link readDiskImage} does, for whatever is missing. */
export async function preflight(definition: CompleteDefinition, paths: GuestPaths): Promise<DiskImages> {
  const { os, devices } = definition
  checkSocketPath(paths.longestSocket(definition))
  const [images] = await Promise.all([
    Promise.all(devices.disks.map(readDisk)),
    os.kernel ? checkFile(os.kernel, 'kernel') : undefined,
    os.initrd ? checkFile(os.initrd, 'initial RAM disk') : undefined,
    ...devices.rngs.map(({ source }) => (source ? checkReadable(source, 'source of randomness') : undefined)),
  ])
  return new Map(images.filter((entry) => entry !== undefined))
}

async function readDisk(disk: Disk): Promise<[string, DiskImage] | undefined> {
  const path = disk.file ?? disk.block
  if (path === undefined) return undefined
  const image = await readDiskImage(path, disk.format === 'qcow2' ? 'qcow2' : 'raw')
  if (!disk.readonly && disk.device === 'disk')
    await access(path, constants.W_OK).catch((cause) => {
      throw cannotOpen(path, cause, 'disk image')
    })
  return [disk.alias ?? disk.target, image]
}

async function checkFile(path: string, what: string): Promise<void> {
  await checkReadable(path, what)
  if (!(await stat(path)).isFile()) throw cannotOpen(path, new Error('it is not a file'), what)
}

async function checkReadable(path: string, what: string): Promise<void> {
  await access(path, constants.R_OK).catch((cause) => {
    throw cannotOpen(path, cause, what)
  })
}
