/**
 * What a machine keeps beside its disks: the variables of its firmware, the state of its TPM. A snapshot with
 * memory has them in its memory's state; without, they are copied, as its disks are: off as they were left, of
 * a machine that runs as after a power cut.
 */
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { unlessMissing } from '../../../host/index.ts'
import { hasVariables, variablesFile } from '../board/firmware.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { GuestPaths } from '../paths.ts'
import type { KeptSnapshot, SnapshotTree } from './tree.ts'

const variablesName = 'variables'
const tpmName = 'tpm'
const ending = '.firmware'

/** Copies what there is into a folder of its own in `directory`; resolves with its path, or undefined for none. */
export async function keepFirmware(
  definition: CompleteDefinition,
  paths: GuestPaths,
  directory: string,
  id: string,
): Promise<string | undefined> {
  const sources = sourcesOf(definition, paths)
  if (sources.length === 0) return undefined
  const folder = join(directory, `${id}${ending}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  try {
    for (const { name, path } of sources)
      await unlessMissing(cp(path, join(folder, name), { recursive: true, preserveTimestamps: true }))
    return folder
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** Puts it back; the machine must be off. What the snapshot had nothing of begins anew. */
export async function restoreFirmware(
  definition: CompleteDefinition,
  paths: GuestPaths,
  { firmware }: Pick<KeptSnapshot, 'firmware'>,
): Promise<void> {
  if (firmware === undefined) return
  for (const { name, path } of sourcesOf(definition, paths)) {
    const beside = `${path}.before`
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await rm(beside, { recursive: true, force: true })
    await cp(join(firmware, name), beside, { recursive: true, preserveTimestamps: true }).catch(() => {})
    await rm(path, { recursive: true, force: true })
    await unlessMissing(rename(beside, path))
  }
}

/** Removes copies that no snapshot has: of one that was given up in the middle. */
export async function dropStrayFirmware(directory: string, { snapshots }: SnapshotTree): Promise<void> {
  const kept = new Set(snapshots.map(({ firmware }) => firmware))
  for (const name of (await unlessMissing(readdir(directory))) ?? []) {
    const path = join(directory, name)
    if (name.endsWith(ending) && !kept.has(path)) await rm(path, { recursive: true, force: true })
  }
}

function sourcesOf(definition: CompleteDefinition, paths: GuestPaths) {
  const hasTpm = definition.devices.tpms.some(({ backend }) => backend === 'emulator')
  return [
    ...(hasVariables(definition) ? [{ name: variablesName, path: variablesFile(definition, paths) }] : []),
    ...(hasTpm ? [{ name: tpmName, path: paths.tpm }] : []),
  ]
}
