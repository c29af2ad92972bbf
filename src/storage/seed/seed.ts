/** What a machine reads at its first boot, as a volume: NoCloud's `cidata`, or the text that Ignition reads. */
import { open } from 'node:fs/promises'
import { type FirstBoot, reseed, type SeedChanges, type SeedFile, seedOf } from '../../model/index.ts'
import { writeIso } from './iso9660.ts'
import { readIso } from './read-iso.ts'

/** Source: cloud-init, "NoCloud": the label by which it is found. */
const labels = { volume: 'cidata', application: 'VISOR FIRST BOOT' } as const
/** More than texts of the greatest length can make. */
const mostBytes = 16 * 2 ** 20

export interface Seed {
  readonly content: Uint8Array
  readonly format: 'iso' | 'raw'
}

/** Fails with `invalid-argument` naming the setting that is not as it should be. */
export function makeSeed(settings: FirstBoot): Seed {
  const made = seedOf(settings)
  return 'ignition' in made
    ? { content: Buffer.from(made.ignition), format: 'raw' }
    : { content: writeSeed(made.files), format: 'iso' }
}

const writeSeed = (files: readonly SeedFile[]): Buffer =>
  writeIso(
    files.map(({ name, text }) => ({ name, content: Buffer.from(text) })),
    labels,
  )

/**
 * The seed of a copy of a machine, of the same length wherever that is possible: undefined when the file is no seed
 * that visor made. Fails as `open(2)` and `read(2)`.
 */
export async function copySeed(path: string, changes: SeedChanges): Promise<Buffer | undefined> {
  const files = await readSeed(path)
  return files && writeSeed(reseed(files, changes))
}

async function readSeed(path: string): Promise<SeedFile[] | undefined> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    if (size === 0 || size > mostBytes) return undefined
    const image = Buffer.alloc(size)
    const { bytesRead } = await file.read(image, 0, size, 0)
    const files = bytesRead === size ? readIso(image, labels) : undefined
    return files?.map(({ name, content }) => ({ name, text: Buffer.from(content).toString('utf8') }))
  } finally {
    await file.close()
  }
}
