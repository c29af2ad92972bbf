import type { CompleteConnection } from '../driver/index.ts'
import { type ErrorCode, type Image, toVisorError, VisorError } from '../model/index.ts'
import type { DiskSpec } from './disk-spec.ts'
import { encryption } from './encryption.ts'
import { defaultPool } from './volumes.ts'

/**
 * Makes the disks that are asked for by size, `NAME-0.qcow2` and so on, and hands all disks, which are there now, to `use`.
 * When that fails, the new disks are removed again.
 */
export async function withNewDisks(
  { volumes }: CompleteConnection,
  name: string,
  specs: readonly DiskSpec[],
  signal: AbortSignal,
  use: (disks: readonly DiskSpec[]) => Promise<void>,
): Promise<void> {
  const made: { readonly pool: string; readonly name: string }[] = []
  try {
    const disks: DiskSpec[] = []
    for (const [index, { sizeBytes, image, ...given }] of specs.entries()) {
      if (sizeBytes === undefined && image === undefined) {
        disks.push(given)
        continue
      }
      const { pool = defaultPool, encrypt, ...spec } = given
      const ending = encrypt !== undefined && spec.format === 'raw' ? 'luks' : spec.format
      const volume = `${fileName(name)}-${index}.${ending}`
      const { path, type, secret } = await volumes
        .create(pool, {
          name: volume,
          ...(sizeBytes !== undefined && { capacityBytes: sizeBytes }),
          ...(image !== undefined && { image }),
          ...encryption(encrypt),
          signal,
        })
        .catch((error) => Promise.reject(explainVolume(error)))
      made.push({ pool, name: volume })
      const locked = secret === undefined ? {} : encryption(secret)
      disks.push({ ...spec, ...locked, ...(type === 'file' ? { file: path } : { pool, volume }) })
    }
    await use(disks)
  } catch (error) {
    for (const volume of made) await volumes.remove(volume.pool, volume.name).catch(() => {})
    throw error
  }
}

/** The disk that a machine has from an image comes first; it is as large as the first new disk that is asked for. */
export function withRootDisk(specs: readonly DiskSpec[], image: Image | undefined): DiskSpec[] {
  if (image?.disk === undefined) return [...specs]
  const sized = specs.find(({ sizeBytes }) => sizeBytes !== undefined)
  const root = sized ?? { format: 'qcow2', device: 'disk', readonly: false }
  return [
    { ...root, format: 'qcow2', image: `${image.name}:${image.arch}` },
    ...specs.filter((spec) => spec !== sized),
  ]
}

/** A machine may be named in any script; a volume is a file with a plain name. */
export function fileName(name: string): string {
  const plain = name.replace(/[^\w.-]+/gu, '_').replace(/^[^a-z0-9]+/iu, '')
  return plain.slice(0, 150) || `disk-${crypto.randomUUID()}`
}

const remedies: Partial<Record<ErrorCode, string>> = {
  unsupported:
    "Make the disk yourself ('qemu-img create -f qcow2 FILE SIZE') and name its file: --disk FILE. Disks by size are kept by visord.",
  'already-exists':
    "It is a disk of a machine before: use it with --disk FILE ('visor volume list'), or remove it ('visor volume remove').",
}

export function explainVolume(error: unknown): VisorError {
  const { code, message, remedy } = toVisorError(error)
  return new VisorError(code, message, { remedy: remedies[code] ?? remedy, cause: error })
}
