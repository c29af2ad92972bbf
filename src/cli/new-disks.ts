import type { CompleteConnection } from '../driver/index.ts'
import { type ErrorCode, toVisorError, VisorError } from '../model/index.ts'
import type { DiskSpec } from './disk-spec.ts'

/**
 * Makes the disks that are asked for by size, `NAME-0.qcow2` and so on, and hands all disks, now files, to `use`.
 * When that fails, the new disks are removed again.
 */
export async function withNewDisks(
  { volumes }: CompleteConnection,
  name: string,
  specs: readonly DiskSpec[],
  signal: AbortSignal,
  use: (disks: readonly DiskSpec[]) => Promise<void>,
): Promise<void> {
  const made: string[] = []
  try {
    const disks: DiskSpec[] = []
    for (const [index, { sizeBytes, ...spec }] of specs.entries()) {
      if (sizeBytes === undefined) {
        disks.push(spec)
        continue
      }
      const volume = `${fileName(name)}-${index}.${spec.format}`
      const { path } = await volumes
        .create(volume, { sizeBytes, signal })
        .catch((error) => Promise.reject(explain(error)))
      made.push(volume)
      disks.push({ ...spec, file: path })
    }
    await use(disks)
  } catch (error) {
    for (const volume of made) await volumes.remove(volume).catch(() => {})
    throw error
  }
}

/** A machine may be named in any script; a volume is a file with a plain name. */
function fileName(name: string): string {
  const plain = name.replace(/[^\w.-]+/gu, '_').replace(/^[^a-z0-9]+/iu, '')
  return plain.slice(0, 150) || `disk-${crypto.randomUUID()}`
}

const remedies: Partial<Record<ErrorCode, string>> = {
  unsupported:
    "Make the disk yourself ('qemu-img create -f qcow2 FILE SIZE') and name its file: --disk FILE. Disks by size are kept by visord.",
  'already-exists':
    "It is a disk of a machine before: use it with --disk FILE ('visor volume list'), or remove it ('visor volume remove').",
}

function explain(error: unknown): VisorError {
  const { code, message, remedy } = toVisorError(error)
  return new VisorError(code, message, { remedy: remedies[code] ?? remedy, cause: error })
}
