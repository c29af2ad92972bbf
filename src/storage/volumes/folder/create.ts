/** Makes volumes in a folder: a volume is there whole or not at all. */
import { chmod, chown, link, open, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createOverlay, errorNumber, runChecked, syncDirectory } from '../../../host/index.ts'
import { VisorError, type VolumeFormat } from '../../../model/index.ts'
import { encryptionOptions, keyObject } from '../encryption.ts'
import { qemuImg } from '../qemu-img.ts'
import type { FoundVolume, NewVolume } from '../store.ts'
import { newFormats } from '../volume-format.ts'

const sectorBytes = 512
/** Files under way begin like this; those that a crash left are removed when the pool starts. */
export const scratchPattern = /^\.new-/u

export interface Base {
  readonly path: string
  readonly format: VolumeFormat
  readonly capacityBytes: number
}

/**
 * Makes a file under another name by `make`, and gives it its name when it is whole. Fails with `already-exists`;
 * nothing is left of a failure.
 */
export async function asWhole(
  folder: string,
  name: string,
  make: (scratch: string) => Promise<void>,
  permissions: NewVolume['permissions'] = undefined,
): Promise<void> {
  const scratch = join(folder, `.new-${crypto.randomUUID()}`)
  try {
    await make(scratch)
    await chmod(scratch, Number.parseInt(permissions?.mode ?? '0600', 8))
    const { owner = -1, group = -1 } = permissions ?? {}
    if (owner >= 0 || group >= 0)
      await chown(
        scratch,
        owner >= 0 ? owner : (process.getuid?.() ?? 0),
        group >= 0 ? group : (process.getgid?.() ?? 0),
      )
    const file = await open(scratch, 'r')
    await file.sync().finally(() => file.close())
    // A link never replaces a file there is, as a rename would.
    await link(scratch, join(folder, name))
  } catch (error) {
    throw errorNumber(error) === 'EEXIST' ? alreadyExists(name) : error
  } finally {
    await rm(scratch, { force: true })
  }
  await syncDirectory(folder)
}

export function alreadyExists(name: string): VisorError {
  return new VisorError('already-exists', `There is already a volume '${name}'.`, {
    remedy: 'Choose another name, or remove that one first: visor volume remove.',
    object: { kind: 'volume', name },
  })
}

/** Writes an empty image to `path`. */
export async function makeImage(
  path: string,
  given: NewVolume,
  format: VolumeFormat,
  base: Base | undefined,
  noCow: boolean,
  keyFile?: string,
): Promise<void> {
  const capacity = given.capacityBytes ?? base?.capacityBytes
  if (capacity === undefined)
    throw new VisorError('invalid-argument', `The size of the volume '${given.name}' is not said.`, {
      path: 'capacityBytes',
    })
  const bytes = Math.ceil(capacity / sectorBytes) * sectorBytes
  if (base && bytes < base.capacityBytes)
    throw new VisorError(
      'invalid-argument',
      `The volume '${given.name}' cannot be smaller than what it is based on: ${base.capacityBytes} bytes.`,
      { path: 'capacityBytes' },
    )
  const options = [
    ...imageOptions(given, format),
    ...(keyFile === undefined ? [] : encryptionOptions(format, given.encryption ?? anyEncryption)),
  ]
  if (format === 'raw' && !base) await makeRaw(path, bytes, given, noCow)
  else if (base && isPlain(base) && format === 'qcow2' && options.length === 0 && !noCow)
    await createOverlay(path, {
      file: await realpath(base.path),
      format: base.format as 'raw' | 'qcow2',
      sizeBytes: bytes,
    })
  else {
    const backing = base ? ['-b', await realpath(base.path), '-F', base.format] : []
    const all = noCow && format === 'qcow2' ? [...options, 'nocow=on'] : options
    const listed = all.length > 0 ? ['-o', all.join(',')] : []
    const key = keyObject(keyFile)
    await qemuImg(['create', '-q', ...key, '-f', format, ...backing, ...listed, path, String(bytes)], {
      signal: given.signal,
    })
  }
}

/** What is chosen by QEMU: AES with 256 bits, XTS. */
const anyEncryption: NonNullable<NewVolume['encryption']> = { format: 'luks', secrets: [] }

const isPlain = ({ format }: Base): boolean => format === 'raw' || format === 'qcow2'

/** Source: qemu-img(1), the options of each format. */
function imageOptions(given: NewVolume, format: VolumeFormat): string[] {
  const { compat, clusterBytes, lazyRefcounts, extendedL2, preallocation } = given
  return [
    ...(compat === undefined ? [] : [`compat=${compat}`]),
    ...(clusterBytes === undefined ? [] : [`cluster_size=${clusterBytes}`]),
    ...(lazyRefcounts ? ['lazy_refcounts=on'] : []),
    ...(extendedL2 ? ['extended_l2=on'] : []),
    ...(preallocation === undefined || preallocation === 'off' || format === 'raw'
      ? []
      : [`preallocation=${preallocation}`]),
  ]
}

async function makeRaw(path: string, bytes: number, given: NewVolume, noCow: boolean): Promise<void> {
  const { preallocation = 'off', allocationBytes = 0, signal } = given
  const file = await open(path, 'wx', 0o600)
  await file.close()
  if (noCow) await runChecked('chattr', ['+C', path])
  if (preallocation === 'full' || preallocation === 'falloc')
    await qemuImg(
      ['create', '-q', '-f', 'raw', '-o', `preallocation=${preallocation}`, path, String(bytes)],
      {
        signal,
      },
    )
  else {
    const handle = await open(path, 'r+')
    await handle.truncate(bytes).finally(() => handle.close())
    const wanted = Math.min(allocationBytes, bytes)
    if (wanted > 0) await runChecked('fallocate', ['-l', String(wanted), path], { ...(signal && { signal }) })
  }
}

/** The format of a new volume. Fails with `unsupported-config` for one that none can be made in. */
export function formatOfNew(given: Pick<NewVolume, 'format' | 'name'>, fallback: VolumeFormat): VolumeFormat {
  const format = given.format ?? fallback
  if (newFormats.some((one) => one === format)) return format
  throw new VisorError('unsupported-config', `No volume can be made in the format '${format}'.`, {
    path: 'format',
    remedy: `Formats that can be made: ${newFormats.join(', ')}.`,
  })
}

/** What a new volume shall be based on, which must be a volume of this host that is whole. */
export const asBase = ({ path, format, capacityBytes }: FoundVolume): Base => ({
  path,
  format,
  capacityBytes,
})
