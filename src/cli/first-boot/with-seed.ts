import type { CompleteConnection } from '../../driver/index.ts'
import type { FirstBootInput } from '../../model/index.ts'
import { explainVolume, fileName } from '../new-disks.ts'
import { defaultPool } from '../volumes.ts'

/** Where the file is that a guest reads at its first boot: in a CD drive, or told of by the firmware interface. */
export interface SeedPlace {
  readonly seed?: string
  readonly ignition?: string
}

/** Makes it, and hands its place to `use`; nothing without settings. When that fails, it is removed again. */
export async function withSeed(
  { volumes }: CompleteConnection,
  name: string,
  firstBoot: FirstBootInput | undefined,
  signal: AbortSignal,
  use: (place: SeedPlace) => Promise<void>,
): Promise<void> {
  if (firstBoot === undefined) return use({})
  const isIgnition = firstBoot.ignition !== undefined
  const volume = seedName(name, firstBoot)
  const { path } = await volumes
    .create(defaultPool, { name: volume, firstBoot, signal })
    .catch((error) => Promise.reject(explainVolume(error)))
  try {
    await use(isIgnition ? { ignition: path } : { seed: path })
  } catch (error) {
    await volumes.remove(defaultPool, volume).catch(() => {})
    throw error
  }
}

export const seedName = (name: string, { ignition }: FirstBootInput): string =>
  `${fileName(name)}-${ignition === undefined ? 'seed.iso' : 'ignition.raw'}`
