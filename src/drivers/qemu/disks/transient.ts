/** Disks whose changes end with the machine: an overlay takes what is written, and goes with it. */
import { mkdir, open, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createOverlay, listDirectory } from '../../../host/index.ts'
import { type Disk, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { DiskImages } from '../machine/preflight.ts'
import type { GuestPaths } from '../paths.ts'
import type { DiskImage } from './disk-image.ts'

/** The images with an overlay on those of transient disks. It is gone with {@link removeOverlays}. */
export async function withOverlays(
  { devices }: CompleteDefinition,
  images: DiskImages,
  paths: GuestPaths,
): Promise<DiskImages> {
  const disks = devices.disks.filter(({ transient }) => transient)
  if (disks.length === 0) return images
  await removeOverlays(paths)
  await mkdir(paths.transient, { recursive: true, mode: 0o700 })
  const all = new Map(images)
  for (const disk of disks) {
    const base = images.get(disk.alias ?? disk.target)
    if (base) all.set(disk.alias ?? disk.target, await overlay(disk, base, paths))
  }
  return all
}

async function overlay({ target }: Disk, base: DiskImage, paths: GuestPaths): Promise<DiskImage> {
  const path = join(paths.transient, `${target}.qcow2`)
  const format = base.format === 'qcow2' ? 'qcow2' : 'raw'
  await createOverlay(path, { file: base.path, format, sizeBytes: await sizeOf(base.path, format) })
  return { path, format: 'qcow2', backing: base }
}

/** What the guest sees of it: at byte 24 of a qcow2 header, else all there is. */
async function sizeOf(path: string, format: 'raw' | 'qcow2'): Promise<number> {
  const file = await open(path, 'r')
  try {
    if (format === 'raw') return await endOf(file)
    const bytes = Buffer.alloc(8)
    await file.read(bytes, 0, 8, 24)
    return Number(bytes.readBigUInt64BE())
  } finally {
    await file.close()
  }
}

async function endOf(file: Awaited<ReturnType<typeof open>>): Promise<number> {
  const kind = await file.stat()
  if (kind.isFile()) return kind.size
  // Devices have no size of their own; reading at a place beyond their end gives nothing.
  const byte = Buffer.alloc(1)
  const isThere = async (at: number) => (await file.read(byte, 0, 1, at)).bytesRead === 1
  let [low, high] = [0, 512]
  while (await isThere(high)) [low, high] = [high, high * 2]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (await isThere(middle)) low = middle
    else high = middle
  }
  return high
}

/** What a machine wrote to its transient disks goes. */
export async function removeOverlays(paths: Pick<GuestPaths, 'transient'>): Promise<void> {
  await rm(paths.transient, { recursive: true, force: true })
  await rmdir(dirname(paths.transient)).catch(() => {})
}

/** After visord was killed: what machines left that do not run any more. */
export async function removeStaleOverlays(folder: string, running: ReadonlySet<string>): Promise<void> {
  for (const uuid of await listDirectory(folder))
    if (!running.has(uuid)) await rm(join(folder, uuid), { recursive: true, force: true })
}

/** Fails with `invalid-state` for a machine with transient disks, whose state elsewhere would lack them. */
export function refuseTransient({ name, devices }: CompleteDefinition, what: string): void {
  const disk = devices.disks.find(({ transient }) => transient)
  if (disk)
    throw new VisorError(
      'invalid-state',
      `Domain '${name}' cannot be ${what}: what is written to its disk '${disk.target}' ends with it.`,
      { remedy: 'Shut it down, or define it without the transient disk.' },
    )
}
