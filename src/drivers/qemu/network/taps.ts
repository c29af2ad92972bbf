/** The links of the host that network cards are connected to: QEMU gets them as open files when it starts. */
import { openTap, type Tap } from '../../../host/index.ts'
import type { Devices, Interface } from '../../../model/index.ts'

/** The numbers that the queues of a card have in QEMU, by its alias. */
export type TapDescriptors = ReadonlyMap<string, readonly number[]>

/** 3 is the monitor, 4 a state that is read. */
const firstDescriptor = 5

export const isTap = ({ type }: Pick<Interface, 'type'>): boolean => type === 'bridge' || type === 'ethernet'

/** What number each is given, which only depends on the definition. */
export function tapDescriptors({ devices }: { readonly devices: Devices }): TapDescriptors {
  let next = firstDescriptor
  return new Map(
    devices.interfaces
      .filter(isTap)
      .map(({ alias = '', queues = 1 }) => [alias, Array.from({ length: queues }, () => next++)]),
  )
}

/** A name that was given to a link once says nothing about the next: as in libvirt, `vnet` is for such names. */
const linkName = (target: string | undefined) =>
  target === undefined || /^vnet\d+$/u.test(target) ? 'vnet%d' : target

export interface Taps {
  /** Numbers of the open files here. */
  readonly descriptors: readonly number[]
  /** All files of QEMU after its sockets: the state that it reads, then the queues of its cards. */
  filesWith(incoming: number | undefined): number[]
  /** The definition with the names that they have. */
  named<D extends { readonly devices: Devices }>(definition: D): D
  /** Closes them here. */
  close(): void
}

/** Makes the links of a machine. Fails as `openTap` does; nothing is left then. */
export async function openTaps({ devices }: { readonly devices: Devices }): Promise<Taps> {
  const taps: Tap[] = []
  const cards = devices.interfaces.filter(isTap)
  const close = () => {
    for (const tap of taps) tap.close()
  }
  try {
    for (const { bridge, target, queues, mtu } of cards)
      taps.push(await openTap({ name: linkName(target), bridge, queues, mtu }))
  } catch (error) {
    close()
    throw error
  }
  return {
    descriptors: taps.flatMap((tap) => tap.descriptors),
    close,
    named(definition) {
      const names = new Map(cards.map(({ alias }, index) => [alias, taps[index]?.name]))
      const interfaces = definition.devices.interfaces.map((one) => {
        const target = names.get(one.alias)
        return target === undefined ? one : { ...one, target }
      })
      return { ...definition, devices: { ...definition.devices, interfaces } }
    },
    filesWith(incoming) {
      const descriptors = taps.flatMap((tap) => tap.descriptors)
      // The place of a state that is read is always taken, so that the numbers stay.
      const [filler = incoming] = descriptors
      const first = incoming ?? filler
      return first === undefined ? [] : [first, ...descriptors]
    },
  }
}
