/** The links of the host that network cards are connected to: QEMU gets them as open files when it starts. */
import type { GuestNetworks, NetworkAccess } from '../../../driver/index.ts'
import { openTap, type Tap } from '../../../host/index.ts'
import { type Devices, type Interface, VisorError } from '../../../model/index.ts'

/** The numbers that the queues of a card have in QEMU, by its alias. */
export type TapDescriptors = ReadonlyMap<string, readonly number[]>

/** 3 is the monitor, 4 a state that is read. */
const firstDescriptor = 5

export const isTap = ({ type }: Pick<Interface, 'type'>): boolean =>
  type === 'bridge' || type === 'ethernet' || type === 'network'

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
  /** Nobody has them: they leave their networks. */
  leave(): Promise<void>
}

/** Readies the network of a card. */
async function admit(
  { uuid, name }: Machine,
  { network = '', portGroup, mac = '' }: Interface,
  networks: GuestNetworks | undefined,
): Promise<NetworkAccess> {
  if (!networks)
    throw new VisorError('unsupported-config', `Domain '${name}' cannot be on network '${network}' here.`, {
      object: { kind: 'domain', name },
      remedy: "Run visord as root, which networks need, or use an interface of type 'user'.",
    })
  const access = await networks.admit({ network, portGroup, domain: uuid, name, driver: 'qemu', mac })
  if (access.bridge !== undefined) return access
  throw new VisorError('unsupported-config', `Network '${network}' has no bridge for domain '${name}'.`, {
    object: { kind: 'domain', name },
    remedy: "Use an interface of type 'direct' with the link of the network.",
  })
}

interface Machine {
  readonly uuid: string
  readonly name: string
  readonly devices: Devices
}

/** Makes the links of a machine. Fails as `openTap` does, and as its networks do; nothing is left then. */
export async function openTaps(machine: Machine, networks: GuestNetworks | undefined): Promise<Taps> {
  const taps: Tap[] = []
  const cards = machine.devices.interfaces.filter(isTap)
  const joined: Interface[] = []
  const close = () => {
    for (const tap of taps) tap.close()
  }
  const leave = async () => {
    for (const { mac } of joined) await networks?.leave(machine.uuid, mac)
  }
  try {
    for (const one of cards) {
      const access = one.type === 'network' ? await admit(machine, one, networks) : undefined
      const { bridge = access?.bridge, mtu = access?.mtu, target, queues } = one
      const tap = await openTap({ name: linkName(target), bridge, queues, mtu })
      taps.push(tap)
      if (!access) continue
      joined.push(one)
      await access.join(tap.name)
    }
  } catch (error) {
    close()
    await leave()
    throw error
  }
  return {
    descriptors: taps.flatMap((tap) => tap.descriptors),
    close,
    leave,
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
