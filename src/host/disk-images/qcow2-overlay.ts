/**
 * Makes empty qcow2 images on top of others, without a program: qemu-img takes longer to start than a clone
 * has. Source: QEMU's docs/interop/qcow2.
 */
import { open, rm } from 'node:fs/promises'
import { VisorError } from '../../model/index.ts'
import { cannotWrite, errorNumber } from '../files.ts'

export interface OverlayBase {
  /** An absolute path. */
  readonly file: string
  readonly format: 'raw' | 'qcow2'
  /** What the guest sees. */
  readonly sizeBytes: number
}

const overlay = { what: 'The disk overlay' }
const clusterBytes = 0x10000
const headerBytes = 112
const backingFormatExtension = 0xe2792aca
/** A cluster of the second table maps this much of the disk. */
const bytesPerEntry = clusterBytes * (clusterBytes / 8)

/**
 * The image: header and name of the base, table of reference counts, one block of them, table of the clusters
 * (empty). Its last cluster ends in a hole.
 */
export function formatOverlay({ file, format, sizeBytes }: OverlayBase): {
  readonly head: Buffer
  readonly lengthBytes: number
} {
  const name = Buffer.from(file)
  if (name.length > 1023)
    throw new VisorError('unsupported-config', `The path '${file}' is too long for a qcow2 image to name.`)
  const entries = Math.max(1, Math.ceil(sizeBytes / bytesPerEntry))
  const clusters = 3 + Math.ceil((entries * 8) / clusterBytes)
  const head = Buffer.alloc(2 * clusterBytes + clusters * 2)
  const extension = Buffer.alloc(24)
  extension.writeUInt32BE(backingFormatExtension)
  extension.writeUInt32BE(format.length, 4)
  extension.write(format, 8, 'latin1')
  head.write('QFI\xfb', 'latin1')
  head.writeUInt32BE(3, 4) // version
  head.writeBigUInt64BE(BigInt(headerBytes + extension.length), 8)
  head.writeUInt32BE(name.length, 16)
  head.writeUInt32BE(16, 20) // cluster bits
  head.writeBigUInt64BE(BigInt(sizeBytes), 24)
  head.writeUInt32BE(entries, 36)
  head.writeBigUInt64BE(BigInt(3 * clusterBytes), 40)
  head.writeBigUInt64BE(BigInt(clusterBytes), 48)
  head.writeUInt32BE(1, 56) // clusters of the table of reference counts
  head.writeUInt32BE(4, 96) // reference counts of 16 bits
  head.writeUInt32BE(headerBytes, 100)
  extension.copy(head, headerBytes)
  name.copy(head, headerBytes + extension.length)
  head.writeBigUInt64BE(BigInt(2 * clusterBytes), clusterBytes)
  for (let cluster = 0; cluster < clusters; cluster++) head.writeUInt16BE(1, 2 * clusterBytes + cluster * 2)
  return { head, lengthBytes: clusters * clusterBytes }
}

/**
 * Writes an empty overlay to `path`, which must not be there (`already-exists`), and syncs it. Fails with
 * `failed` when it cannot be written; nothing is left then.
 */
export async function createOverlay(path: string, base: OverlayBase): Promise<void> {
  const { head, lengthBytes } = formatOverlay(base)
  const file = await open(path, 'wx', 0o600).catch((cause: unknown) => {
    throw errorNumber(cause) === 'EEXIST'
      ? new VisorError('already-exists', `The file '${path}' is there already.`, {
          cause,
          remedy: 'Move or remove it, or choose another name.',
        })
      : cannotWrite(path, cause, overlay)
  })
  try {
    await file.write(head)
    await file.truncate(lengthBytes)
    await file.datasync()
  } catch (cause) {
    await rm(path, { force: true })
    throw cannotWrite(path, cause, overlay)
  } finally {
    await file.close()
  }
}
