/** Pools whose volumes are files in a folder: one that is there, or what is mounted on it. */
import { chmod, chown, mkdir, readdir, rmdir, stat, statfs } from 'node:fs/promises'
import { errorNumber, findRefusing } from '../../host/index.ts'
import { type PoolDefinition, VisorError } from '../../model/index.ts'
import { clearScratch, folderVolumes } from '../volumes/folder/index.ts'
import type { PoolBackend, PoolSurroundings, PoolUsage } from './backend.ts'

/** A pool of type `dir`. */
export function folderPool(definition: PoolDefinition, around: PoolSurroundings): PoolBackend {
  const { path: folder = '', permissions, copyOnWrite, name } = definition
  return {
    volumes: folderVolumes({ folder, ...around, noCow: copyOnWrite === false }),
    isThere: () => isFolder(folder),
    async start() {
      await enterFolder(folder, name)
      await clearScratch(folder)
    },
    tidy: () => clearScratch(folder),
    async stop() {},
    usage: () => usageOf(folder),
    build: () => makeFolder(folder, permissions),
    delete: () => removeFolder(folder, name),
  }
}

async function isFolder(folder: string): Promise<boolean> {
  const kind = await stat(folder).catch(() => undefined)
  return kind?.isDirectory() ?? false
}

/** Fails with `not-found` or `denied`, naming what is in the way. */
export async function enterFolder(folder: string, pool: string): Promise<void> {
  const object = { kind: 'pool', name: pool }
  try {
    await readdir(folder)
  } catch (cause) {
    const number = errorNumber(cause)
    if (number === 'ENOENT')
      throw new VisorError('not-found', `The folder '${folder}' of the pool '${pool}' does not exist.`, {
        cause,
        object,
        remedy: `Make it with 'visor pool build ${pool}', or correct the path in its definition.`,
      })
    if (number === 'EACCES')
      throw new VisorError(
        'denied',
        `The folder '${folder}' of the pool '${pool}' cannot be read by uid ${process.getuid?.()}.`,
        {
          cause,
          object,
          remedy: `See to the permissions of '${findRefusing(folder)}'.`,
        },
      )
    throw new VisorError('failed', `'${folder}' of the pool '${pool}' cannot be used: ${String(cause)}.`, {
      cause,
      object,
    })
  }
}

export async function usageOf(folder: string): Promise<PoolUsage> {
  const { bsize, blocks, bfree, bavail } = await statfs(folder)
  return {
    capacityBytes: bsize * blocks,
    allocationBytes: bsize * (blocks - bfree),
    availableBytes: bsize * bavail,
  }
}

/** Makes the folder, and those above it, where they are missing. */
export async function makeFolder(folder: string, permissions: PoolDefinition['permissions']): Promise<void> {
  const { mode = '0711', owner = -1, group = -1 } = permissions ?? {}
  const isNew = !(await isFolder(folder))
  await mkdir(folder, { recursive: true, mode: 0o755 })
  if (isNew || permissions?.mode !== undefined) await chmod(folder, Number.parseInt(mode, 8))
  if (owner >= 0 || group >= 0)
    await chown(
      folder,
      owner >= 0 ? owner : (process.getuid?.() ?? 0),
      group >= 0 ? group : (process.getgid?.() ?? 0),
    )
}

/** Removes the folder; `invalid-state` when something is in it. */
export async function removeFolder(folder: string, pool: string): Promise<void> {
  try {
    await rmdir(folder)
  } catch (cause) {
    if (errorNumber(cause) === 'ENOENT') return
    if (errorNumber(cause) !== 'ENOTEMPTY') throw cause
    throw new VisorError('invalid-state', `The folder '${folder}' of the pool '${pool}' is not empty.`, {
      cause,
      object: { kind: 'pool', name: pool },
      remedy: 'Remove its volumes first.',
    })
  }
}
