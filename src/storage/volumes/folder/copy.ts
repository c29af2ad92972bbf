/** Copies a volume to a file: by sharing blocks, by basing the copy on it, or byte by byte. */
import { constants } from 'node:fs'
import { copyFile, link, realpath, rm } from 'node:fs/promises'
import { errorNumber } from '../../../host/index.ts'
import { VisorError, type VolumeFormat } from '../../../model/index.ts'
import { qemuImg } from '../qemu-img.ts'
import type { CopyOptions, CopySource } from '../store.ts'
import { type Base, makeImage } from './create.ts'

/** What the copy is based on, when it is. */
export interface Copied {
  readonly base?: string
}

/** Writes a copy to `path`. */
export async function copyImage(
  path: string,
  { volume, access }: CopySource,
  options: CopyOptions,
  format: VolumeFormat,
): Promise<Copied> {
  const { linked = false, capacityBytes = volume.capacityBytes, preallocation, signal, progress } = options
  if (access.type === 'network' || access.type === 'directory')
    throw new VisorError(
      'unsupported-config',
      `The volume '${volume.name}' is not on this host: it cannot be copied.`,
    )
  if (capacityBytes < volume.capacityBytes)
    throw new VisorError(
      'invalid-argument',
      `The copy cannot be smaller than the volume '${volume.name}': ${volume.capacityBytes} bytes.`,
      { path: 'capacityBytes' },
    )
  const source: Base = { path: access.path, format: volume.format, capacityBytes: volume.capacityBytes }
  if (linked) {
    const wanted = { name: options.name, capacityBytes, ...(signal && { signal }) }
    await makeImage(path, wanted, format, source, false)
    return { base: source.path }
  }
  const keepsBase = volume.base !== undefined && format === 'qcow2' && volume.format === 'qcow2'
  const isSame = format === volume.format && preallocation === undefined
  if (!(isSame && (await shareBlocks(source.path, path)))) {
    const base = keepsBase && volume.base ? ['-B', volume.base.path, '-F', volume.base.format] : []
    const allocate = preallocation === undefined ? [] : ['-o', `preallocation=${preallocation}`]
    await qemuImg(
      ['convert', '-f', qemuFormat(volume.format), '-O', format, ...base, ...allocate, source.path, path],
      { signal, progress, phase: 'copying' },
    )
  }
  if (capacityBytes > volume.capacityBytes)
    await qemuImg(['resize', '-q', '-f', qemuFormat(format), path, String(capacityBytes)], { signal })
  return keepsBase && volume.base ? { base: volume.base.path } : {}
}

/** The same file under another name, or a copy of it. */
export async function takeFile(from: string, to: string): Promise<void> {
  const real = await realpath(from)
  try {
    await link(real, to)
  } catch (error) {
    if (!['EXDEV', 'EPERM', 'EMLINK', 'EACCES'].includes(errorNumber(error) ?? '')) throw error
    await copyFile(real, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  }
}

/** Source: ioctl_ficlone(2). False where the file system cannot, or the two are on different ones. */
async function shareBlocks(from: string, to: string): Promise<boolean> {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE)
    return true
  } catch (error) {
    await rm(to, { force: true })
    const expected = ['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EXDEV', 'EINVAL', 'ENOTTY', 'EPERM']
    if (expected.includes(errorNumber(error) ?? '')) return false
    throw error
  }
}

/** QEMU's name of a format. */
export const qemuFormat = (format: VolumeFormat): string => (format === 'iso' ? 'raw' : format)
