/** Devices by the words that people name them by. */
import { type Devices, type DevicesInput, type DomainDefinition, VisorError } from '../model/index.ts'

type Kind = {
  readonly [K in keyof Devices]-?: Devices[K] extends readonly object[] ? K : never
}[keyof Devices]

/** The kinds that can be plugged out. */
export const detachable = [
  ...(['disks', 'interfaces', 'controllers', 'channels', 'serials', 'consoles'] as const),
  ...(['inputs', 'rngs', 'memories', 'filesystems', 'videos'] as const),
]

export interface Found<K extends Kind> {
  readonly kind: K
  readonly device: Devices[K][number]
}

/** What a device may be called by, the most particular first. */
const names = ['alias', 'target', 'mac', 'name', 'file', 'block'] as const

/**
 * The one device that is called so: by alias, target, hardware address, name or source. Fails with `not-found`, telling
 * what there is, or `invalid-argument` when several are called so.
 */
export function findDevice<K extends Kind>(
  { name, devices }: DomainDefinition,
  word: string,
  kinds: readonly K[],
): Found<K> {
  const wanted = word.toLowerCase()
  const all = kinds.flatMap((kind) =>
    (devices[kind] as readonly Devices[K][number][]).map((device) => ({ kind, device })),
  )
  const value = (device: object, key: string) => (device as Record<string, unknown>)[key]
  for (const key of names) {
    const [found, another] = all.filter(
      ({ device }) => String(value(device, key) ?? '').toLowerCase() === wanted,
    )
    if (found && another && key !== 'target')
      throw new VisorError('invalid-argument', `Several devices of domain '${name}' are '${word}'.`, {
        remedy: 'Name one by its alias.',
      })
    if (found) return found
  }
  const called = all.map(({ device }) => names.map((key) => value(device, key)).filter(Boolean)[1])
  const words = all.map(({ device }, index) => called[index] ?? value(device, 'alias')).filter(Boolean)
  throw new VisorError('not-found', `Domain '${name}' has no device '${word}'.`, {
    remedy: words.length > 0 ? `It has ${words.join(', ')}.` : 'It has none of that kind.',
    object: { kind: 'device', name: word },
  })
}

/** A description with that device alone, changed. */
export function oneDevice<K extends Kind>(
  { kind, device }: Found<K>,
  changes: Partial<Record<string, unknown>> = {},
): DevicesInput {
  const changed = Object.fromEntries(
    Object.entries({ ...device, ...changes }).filter(([, value]) => value !== undefined),
  )
  return { [kind]: [changed] } as DevicesInput
}
