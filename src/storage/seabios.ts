/** The firmware of the embedded machine: SeaBIOS and its VGA BIOS, as the distribution ships them. */
import { randomUUID } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { join } from 'node:path'
import { hashFile, readJsonFile, writeFileAtomic } from '../host/index.ts'
import { type Progress, VisorError } from '../model/index.ts'
import { withPackages } from './packages.ts'

export interface Firmware {
  readonly bios: string
  readonly vgaBios: string
}

export interface FirmwareOptions {
  readonly stateDirectory: string
  readonly signal?: AbortSignal
  readonly progress?: (progress: Progress) => void
}

const names = { bios: 'bios.bin', vgaBios: 'vgabios-stdvga.bin' }
const installed = '/usr/share/seabios'
const sumsName = 'sha256.json'

/** SeaBIOS where the distribution's package puts it; undefined when that is not installed. */
export async function findInstalledSeabios(): Promise<Firmware | undefined> {
  const firmware = { bios: join(installed, names.bios), vgaBios: join(installed, names.vgaBios) }
  try {
    await Promise.all(Object.values(firmware).map((path) => fs.access(path)))
    return firmware
  } catch {
    return undefined
  }
}

/**
 * SeaBIOS: the installed one, else that of the distribution's package, downloaded once and kept with its
 * digests. Fails with `unavailable` on a host where neither can be had.
 */
export async function findSeabios(options: FirmwareOptions): Promise<Firmware> {
  const found = await findInstalledSeabios()
  if (found) return found
  const parent = join(options.stateDirectory, 'firmware')
  const kept = join(parent, 'seabios')
  return (await readKept(kept)) ?? fetchSeabios(parent, kept, options)
}

async function readKept(directory: string): Promise<Firmware | undefined> {
  const sums = (await readJsonFile(join(directory, sumsName))) as Record<string, string> | undefined
  const firmware = { bios: join(directory, names.bios), vgaBios: join(directory, names.vgaBios) }
  for (const [role, path] of Object.entries(firmware)) {
    const sum = await hashFile(path).catch(() => undefined)
    if (sum === undefined || sums?.[role] !== sum) return undefined
  }
  return firmware
}

async function fetchSeabios(
  parent: string,
  kept: string,
  { signal, progress }: FirmwareOptions,
): Promise<Firmware> {
  await fs.mkdir(parent, { recursive: true })
  const scratch = join(parent, `.fetch-${randomUUID()}`)
  const fresh = join(scratch, 'seabios')
  try {
    await fs.mkdir(fresh, { recursive: true })
    // Its package is for all architectures alike.
    const arch = process.arch === 'arm64' ? 'arm64' : 'amd64'
    const [source] = await withPackages({ arch, directory: scratch, signal, progress }, (index) =>
      index.fetch(['seabios']),
    )
    const sums: Record<string, string> = {}
    for (const [role, name] of Object.entries(names)) {
      await fs.copyFile(join(source?.root ?? '', installed, name), join(fresh, name))
      sums[role] = await hashFile(join(fresh, name))
    }
    await writeFileAtomic(join(fresh, sumsName), JSON.stringify(sums))
    await fs.rm(kept, { recursive: true, force: true })
    // Another process may have been faster; then its files are as good.
    await fs.rename(fresh, kept).catch(() => {})
  } finally {
    await fs.rm(scratch, { recursive: true, force: true })
  }
  const firmware = await readKept(kept)
  if (!firmware) throw new VisorError('failed', `The firmware could not be kept in '${kept}'.`)
  return firmware
}
