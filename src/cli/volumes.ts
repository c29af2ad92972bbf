/** Volumes as people name them: in the pool `default` by their name alone, else `POOL/NAME`. */
import type { CompleteConnection } from '../driver/index.ts'
import { VisorError, type Volume } from '../model/index.ts'

export const defaultPool = 'default'

export interface VolumePlace {
  readonly pool: string
  readonly name: string
}

export const volumeName = ({ pool, name }: VolumePlace): string =>
  pool === defaultPool ? name : `${pool}/${name}`

/** Fails with `invalid-argument`. */
export function parseVolumeName(text: string): VolumePlace {
  const [first = '', second, ...others] = text.split('/')
  const isName = (one: string | undefined) => one !== undefined && !/^\.{0,2}$/u.test(one)
  if (others.length === 0 && isName(first) && (second === undefined || isName(second)))
    return second === undefined ? { pool: defaultPool, name: first } : { pool: first, name: second }
  throw new VisorError('invalid-argument', `'${text}' names no volume.`, {
    remedy: `Name it as 'data.qcow2', or in another pool than '${defaultPool}' as 'fast/data.qcow2'.`,
  })
}

/** Of the pool that is named, else of all that are active. */
export async function listVolumes({ pools, volumes }: CompleteConnection, pool?: string): Promise<Volume[]> {
  if (pool !== undefined) return volumes.list(pool)
  const all = await pools.list()
  const usable = all.filter(({ active, name }) => active || name === defaultPool)
  return (await Promise.all(usable.map(({ name }) => volumes.list(name)))).flat()
}

/** A volume by its name in a pool, or by its path or key, as virsh takes them. */
export async function findVolume(
  { volumes }: CompleteConnection,
  name: string,
  pool: string | undefined,
): Promise<Volume> {
  if (pool !== undefined) return volumes.get(pool, name)
  if (name.startsWith('/')) return volumes.find({ path: name })
  const place = parseVolumeName(name)
  return volumes.get(place.pool, place.name)
}
