/** The links of the host that network cards are connected to: QEMU gets them as open files when it starts. */
import { closeSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import {
  coalesceLink,
  hasVhost,
  limitLink,
  moveToBridge,
  openTap,
  openVhost,
  setBridgePort,
  type Tap,
  type Vlan,
} from '../../../host/index.ts'
import type { Devices, Interface } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { openDirect, removeDirect } from './direct.ts'
import { admitCard } from './membership.ts'

/** The numbers that the files of a card have in QEMU. */
export interface CardFiles {
  /** One for each queue. */
  readonly queues: readonly number[]
  /** The kernel's own ends of them. */
  readonly vhosts: readonly number[]
}

/** By the alias of the card. */
export type TapDescriptors = ReadonlyMap<string, CardFiles>

/** 3 is the monitor, 4 a state that is read. */
const firstDescriptor = 5

export const isTap = ({ type }: Pick<Interface, 'type'>): boolean =>
  ['bridge', 'ethernet', 'network', 'direct'].includes(type)

/** What number each is given, which only depends on the definition. */
export function tapDescriptors({ devices }: { readonly devices: Devices }): TapDescriptors {
  let next = firstDescriptor
  const some = (count: number) => Array.from({ length: count }, () => next++)
  return new Map(
    devices.interfaces
      .filter(isTap)
      .map(({ alias = '', queues = 1, driver }) => [
        alias,
        { queues: some(queues), vhosts: some(driver === 'vhost' ? queues : 0) },
      ]),
  )
}

/**
 * As in libvirt, the kernel moves the packets of virtio cards of machines with KVM where it can and nothing else is
 * said. What is chosen is of this start alone: the machine may go on where the kernel cannot.
 */
export function withVhost<D extends CompleteDefinition>(definition: D): D {
  const { type, devices } = definition
  const isMeant = (one: Interface) =>
    isTap(one) && one.driver === undefined && (one.model ?? 'virtio').startsWith('virtio')
  if (type !== 'kvm' || !devices.interfaces.some(isMeant) || !hasVhost()) return definition
  const interfaces = devices.interfaces.map((one) =>
    isMeant(one) ? { ...one, driver: 'vhost' as const } : one,
  )
  return { ...definition, devices: { ...devices, interfaces } }
}

/** A name that was given to a link once says nothing about the next: as in libvirt, `vnet` is for such names. */
const linkName = (target: string | undefined) =>
  target === undefined || /^(?:macvtap|vnet)\d+$/u.test(target) ? 'vnet%d' : target

interface OpenCard extends CardFiles {
  readonly alias: string | undefined
  readonly name: string
  close(): void
  /** Removes what stays when nobody has it open. */
  remove(): Promise<void>
}

export interface Taps {
  /** The open files here, a card after another. */
  readonly cards: readonly CardFiles[]
  /** Whether any is a macvtap, which stays when nobody has it open. */
  readonly hasDirect: boolean
  /** All files of QEMU after its sockets: the state that it reads, then those of its cards. */
  filesWith(incoming: number | undefined): number[]
  /** The definition with the names that they have. */
  named<D extends { readonly devices: Devices }>(definition: D): D
  /** Closes them here. */
  close(): void
  /** Nobody has them: they leave their networks. */
  leave(): Promise<void>
}

/** Makes the links of a machine. Fails as `openTap` does, and as its networks do; nothing is left then. */
export async function openTaps(
  machine: CompleteDefinition,
  context: Pick<Context, 'networks' | 'owner'>,
): Promise<Taps> {
  const { networks } = context
  const cards: OpenCard[] = []
  const joined: Interface[] = []
  let hasDirect = false
  const close = () => {
    for (const card of cards) card.close()
  }
  const leave = async () => {
    for (const card of cards) await card.remove()
    for (const { mac } of joined) await networks?.leave(machine.uuid, mac)
  }
  try {
    for (const one of machine.devices.interfaces.filter(isTap)) {
      const access = one.type === 'network' ? await admitCard(machine, one, networks) : undefined
      if (access) joined.push(one)
      const { bridge = access?.bridge, mtu = access?.mtu } = one
      const direct = one.type === 'direct' ? one : access?.direct && { ...one, ...access.direct, mtu }
      hasDirect ||= direct !== undefined
      const open = () =>
        direct
          ? openDirect(context, machine.uuid, direct)
          : openTap({ name: linkName(one.target), bridge, queues: one.queues, mtu })
      const card = await openCard({ ...one, bridge, mtu }, open, async (link) => {
        if (direct) await removeDirect(context, machine.uuid, link)
      })
      cards.push(card)
      await access?.join(card.name)
    }
  } catch (error) {
    close()
    await leave()
    throw error
  }
  return {
    cards,
    hasDirect,
    close,
    leave,
    named(definition) {
      const names = new Map(cards.map(({ alias, name }) => [alias, name]))
      const interfaces = definition.devices.interfaces.map((one) => {
        const target = names.get(one.alias)
        return target === undefined ? one : { ...one, target }
      })
      return { ...definition, devices: { ...definition.devices, interfaces } }
    },
    filesWith(incoming) {
      const descriptors = cards.flatMap(({ queues, vhosts }) => [...queues, ...vhosts])
      // The place of a state that is read is always taken, so that the numbers stay.
      const [filler = incoming] = descriptors
      const first = incoming ?? filler
      return first === undefined ? [] : [first, ...descriptors]
    },
  }
}

/** A card with the bridge and the packets of its network. */
type Placed = Omit<Interface, 'bridge' | 'mtu'> & {
  readonly bridge: string | undefined
  readonly mtu: number | undefined
}

async function openCard(
  one: Placed,
  open: () => Promise<Tap>,
  removeLink: (link: string) => Promise<void>,
): Promise<OpenCard> {
  const { alias, queues = 1, driver } = one
  const tap = await open()
  const remove = () => removeLink(tap.name)
  try {
    await setUp(tap.name, one)
    const vhosts = driver === 'vhost' ? openVhost(queues) : []
    const close = () => {
      tap.close()
      for (const fd of vhosts) closeSync(fd)
    }
    return { alias, name: tap.name, queues: tap.descriptors, vhosts, close, remove }
  } catch (error) {
    tap.close()
    await remove()
    throw error
  }
}

async function setUp(link: string, one: Placed): Promise<void> {
  const { bridge, isolated, inbound, outbound, coalescedFrames } = one
  if (bridge !== undefined) await setBridgePort(bridge, link, { isolated, vlans: vlansOf(one) })
  if (inbound ?? outbound) await limitLink(link, { inbound, outbound })
  if (coalescedFrames !== undefined) await coalesceLink(link, coalescedFrames)
}

/** Changes the link of a card of a machine that runs. Fails as {@link openTaps} does. */
export async function changeLink(old: Interface, next: Interface): Promise<void> {
  const { target, bridge, inbound, outbound } = next
  if (!isTap(next) || target === undefined) return
  if (bridge !== undefined && bridge !== old.bridge) {
    await moveToBridge(target, bridge)
    await setBridgePort(bridge, target, { isolated: next.isolated, vlans: vlansOf(next) })
  }
  if (next.coalescedFrames !== old.coalescedFrames) await coalesceLink(target, next.coalescedFrames ?? 0)
  if (isDeepStrictEqual([inbound, outbound], [old.inbound, old.outbound])) return
  try {
    await limitLink(target, { inbound, outbound })
  } catch (error) {
    await limitLink(target, { inbound: old.inbound, outbound: old.outbound })
    throw error
  }
}

/** A single tag without a trunk is for packets that have none themselves. */
function vlansOf({ vlanTags, vlanTrunk }: Pick<Interface, 'vlanTags' | 'vlanTrunk'>): Vlan[] {
  const isAccess = !vlanTrunk && vlanTags.length === 1
  return vlanTags.map(({ id, nativeMode }) => ({ id, untagged: isAccess || nativeMode === 'untagged' }))
}
