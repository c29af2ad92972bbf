import { link, rename, rm } from 'node:fs/promises'
import { errorNumber } from '../../host/index.ts'

/** Makes `path` the same file as `twin`, which has the same content. Both stay where the file system cannot do it. */
export async function shareFile(twin: string, path: string): Promise<void> {
  const fresh = `${path}.twin`
  try {
    await link(twin, fresh)
    await rename(fresh, path)
  } catch (error) {
    // ENOENT: the twin was removed meanwhile.
    if (!['ENOENT', 'EXDEV', 'EPERM', 'EMLINK', 'EACCES'].includes(errorNumber(error) ?? '')) throw error
  } finally {
    // Two names of one file are not renamed to each other: rename(2).
    await rm(fresh, { force: true })
  }
}
