/** Makes what is on a volume unreadable. */
import { randomFillSync } from 'node:crypto'
import { open, rename, rm, stat, truncate } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { WipeVolumeOptions } from '../../../driver/index.ts'
import { syncDirectory } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { FoundVolume } from '../store.ts'
import { makeImage } from './create.ts'

const chunkBytes = 2 ** 20

/**
 * Writes over every byte that the file has, and makes an empty image of the same kind of it. What a copy-on-write
 * file system, or a flash disk, keeps of the old content is out of reach: encrypt the volume where that matters.
 */
export async function wipeImage(
  volume: FoundVolume,
  options: WipeVolumeOptions,
  keyFile?: string,
): Promise<void> {
  const { algorithm = 'zero', signal, progress } = options
  if (algorithm !== 'trim') await overwrite(volume.path, algorithm, { signal, progress })
  if (volume.format === 'raw' || volume.format === 'iso') {
    if (algorithm !== 'trim') return
    const { size } = await stat(volume.path)
    await truncate(volume.path, 0)
    await truncate(volume.path, size)
    return
  }
  const folder = dirname(volume.path)
  const scratch = join(folder, `.new-${crypto.randomUUID()}`)
  try {
    const empty = { name: volume.name, capacityBytes: volume.capacityBytes, ...(signal && { signal }) }
    await makeImage(scratch, empty, volume.format, undefined, false, keyFile)
    await rename(scratch, volume.path)
  } finally {
    await rm(scratch, { force: true })
  }
  await syncDirectory(folder)
}

async function overwrite(
  path: string,
  algorithm: 'zero' | 'random',
  { signal, progress }: Pick<WipeVolumeOptions, 'signal' | 'progress'>,
): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const { size } = await file.stat()
    const chunk = Buffer.alloc(chunkBytes)
    for (let at = 0; at < size; at += chunkBytes) {
      if (signal?.aborted)
        throw new VisorError('cancelled', `The volume is wiped up to byte ${at} of ${size}.`, {
          remedy: 'What was on it is lost; wipe it again for the rest.',
        })
      if (algorithm === 'random') randomFillSync(chunk)
      await file.write(chunk, 0, Math.min(chunkBytes, size - at), at)
      progress?.({ phase: 'wiping', done: Math.min(at + chunkBytes, size), total: size, unit: 'bytes' })
    }
    await file.sync()
  } finally {
    await file.close()
  }
}
