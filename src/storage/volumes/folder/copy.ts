/** Copies a volume to a file: by sharing blocks, by basing the copy on it, or byte by byte. */
import { constants } from 'node:fs'
import { copyFile, link, realpath, rm } from 'node:fs/promises'
import { errorNumber } from '../../../host/index.ts'
import { VisorError, type VolumeFormat } from '../../../model/index.ts'
import { encryptedImage, keyObject, nameImage } from '../encryption.ts'
import { qemuImg } from '../qemu-img.ts'
import { nameNetworkImage } from '../server/network-image.ts'
import type { CopyOptions, CopySource } from '../store.ts'
import { type Base, makeImage } from './create.ts'

/** What the copy is based on, when it is. */
export interface Copied {
  readonly base?: string
}

export interface CopyImageOptions extends CopyOptions {
  /** Files of the keys of the volume and of the copy, where they are encrypted. */
  readonly keyFile?: string | undefined
  readonly newKeyFile?: string | undefined
  /** Of the same format, encrypted or not with the same key: the bytes are what they are. */
  readonly isCopied: boolean
}

/** Writes a copy to `path`. */
export async function copyImage(
  path: string,
  { volume, access }: CopySource,
  options: CopyImageOptions,
  format: VolumeFormat,
): Promise<Copied> {
  const { linked = false, capacityBytes = volume.capacityBytes, preallocation, signal, isCopied } = options
  if (access.type === 'directory')
    throw new VisorError(
      'unsupported-config',
      `The volume '${volume.name}' is a folder: it cannot be copied into a file.`,
    )
  if (capacityBytes < volume.capacityBytes)
    throw new VisorError(
      'invalid-argument',
      `The copy cannot be smaller than the volume '${volume.name}': ${volume.capacityBytes} bytes.`,
      { path: 'capacityBytes' },
    )
  const at = access.type === 'network' ? volume.path : access.path
  const source: Base = { path: at, format: volume.format, capacityBytes: volume.capacityBytes }
  if (linked) {
    const wanted = { name: options.name, capacityBytes, ...(signal && { signal }) }
    await makeImage(path, wanted, format, source, false)
    return { base: source.path }
  }
  const isOfQcow2 = format === 'qcow2' && volume.format === 'qcow2'
  const base = isOfQcow2 && (isCopied || options.newKeyFile === undefined) ? volume.base : undefined
  const isSame = isCopied && preallocation === undefined
  if (!(isSame && (await shareBlocks(source.path, path)))) {
    if (isCopied && volume.encrypted) await copyBytes(source.path, path, options)
    else await convertImage(path, { ...source, access }, options, { format, base })
  }
  if (capacityBytes > volume.capacityBytes) {
    const { flags, name } = nameImage({ path, format, keyFile: options.newKeyFile })
    await qemuImg(['resize', '-q', ...flags, name, String(capacityBytes)], { signal })
  }
  return base ? { base: base.path } : {}
}

/** An image whose key nobody needs to know. */
function copyBytes(from: string, to: string, { signal, progress }: CopyOptions): Promise<void> {
  return qemuImg(['convert', '-f', 'raw', '-O', 'raw', from, to], { signal, progress, phase: 'copying' })
}

/** How the source is opened, on this host or on a server. */
function nameSource(
  { path, format, access }: Base & Pick<CopySource, 'access'>,
  keyFile: string | undefined,
) {
  if (access.type !== 'network') return nameImage({ path, format, keyFile })
  const { protocol, name, hosts, initiator, auth } = access
  const [{ name: host, port } = { name: '', port: undefined }] = hosts
  if ((protocol !== 'nbd' && protocol !== 'iscsi') || port === undefined)
    throw new VisorError('unsupported-config', `Volumes of ${protocol} cannot be copied yet.`)
  const login = auth && keyFile !== undefined ? { username: auth.username, keyFile } : undefined
  return nameNetworkImage({ protocol, name, host, port, initiator, login })
}

interface Wanted {
  readonly format: VolumeFormat
  readonly base: Pick<Base, 'path' | 'format'> | undefined
}

async function convertImage(
  path: string,
  source: Base & Pick<CopySource, 'access'>,
  options: CopyImageOptions,
  { format, base }: Wanted,
): Promise<void> {
  const { name, encryption, preallocation, keyFile, newKeyFile, signal, progress } = options
  const call = { signal, progress, phase: 'copying' }
  const from = nameSource(source, keyFile)
  if (newKeyFile === undefined) {
    const onBase = base ? ['-B', base.path, '-F', base.format] : []
    const allocate = preallocation === undefined ? [] : ['-o', `preallocation=${preallocation}`]
    await qemuImg(['convert', ...from.flags, '-O', format, ...onBase, ...allocate, from.name, path], call)
    return
  }
  // Into an image that is there: its key is not that of the source.
  const { capacityBytes } = source
  const made = { name, capacityBytes, preallocation, encryption, ...(signal && { signal }) }
  await makeImage(path, made, format, undefined, false, newKeyFile)
  const key = keyObject(newKeyFile, 'new')
  const to = ['--target-image-opts', from.name, encryptedImage(path, format, 'new')]
  await qemuImg(['convert', '-n', ...key, ...from.flags, ...to], call)
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
