/** What QEMU was let at for devices that are gone. */
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Devices } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { hostDeviceFiles } from '../devices/host-devices.ts'
import { type DiskImage, readMedium } from '../disks/disk-image.ts'
import { secretFiles } from '../disks/disk-secrets.ts'
import { filesAtStart, revokeAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import type { AnyDevice } from './one-device.ts'

/** The definition with the devices alone that `less` has not, to look at what they need of the host. */
export function devicesBetween(more: CompleteDefinition, less: CompleteDefinition): CompleteDefinition {
  const { memballoon: _, ...lists } = more.devices
  const known = less.devices as unknown as Readonly<Record<string, unknown>>
  const rest = Object.entries(lists).map(([kind, list]) => {
    if (!Array.isArray(list)) return [kind, list] as const
    const before: unknown = known[kind]
    return [kind, list.filter((one) => !has(Array.isArray(before) ? before : [], one))] as const
  })
  const { kernel: _kernel, initrd: _initrd, ...os } = more.os
  return { ...more, os, devices: Object.fromEntries(rest) as unknown as Devices }
}

function has(list: readonly object[], one: object): boolean {
  const { alias }: AnyDevice = one
  return list.some((other: AnyDevice) => other === one || (alias !== undefined && other.alias === alias))
}

/**
 * Takes from the QEMU of a machine the files of `gone`, with what its images are based on and its secrets; not those
 * that `kept` needs too. An image that cannot be read any more counts by its own name alone.
 */
export async function revokeFilesOf(
  context: Context,
  machine: Machine,
  { gone, kept }: { readonly gone: CompleteDefinition; readonly kept: CompleteDefinition },
): Promise<void> {
  const [files, needed] = await Promise.all([filesOf(context, gone), filesOf(context, kept)])
  const still = new Set(needed)
  const unneeded = files.filter((path) => !still.has(path))
  if (unneeded.length > 0) await revokeAccess(machine, unneeded)
  // What was written for the devices that are gone.
  const own = context.paths.of(gone.uuid)
  const secrets = gone.devices.disks.flatMap((disk) => secretFiles(disk, own))
  for (const path of unneeded)
    if (dirname(path) === own.directory && secrets.includes(path)) await rm(path, { force: true })
}

async function filesOf(context: Context, definition: CompleteDefinition): Promise<string[]> {
  const images = new Map<string, DiskImage>()
  for (const disk of definition.devices.disks) {
    const path = disk.file ?? disk.block
    const known: DiskImage | undefined = path === undefined ? undefined : { path, format: 'raw' }
    const image = await readMedium(disk).catch(() => known)
    if (image) images.set(disk.alias ?? disk.target, image)
  }
  const files = filesAtStart(definition, images, context.paths.of(definition.uuid))
  const others = await hostDeviceFiles(definition.devices).catch(() => [])
  return [...files, ...others].filter(({ folder }) => !folder).map(({ path }) => path)
}
