/** The network card of a machine, from its definition to the packets that its process sends and receives. */
import type { GuestNetworks } from '../../driver/index.ts'
import {
  findProgram,
  macAddress,
  openTap,
  type Packets,
  passtArguments,
  tapPackets,
} from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { startCable } from './cable-program.ts'
import type { IdentifiedDefinition } from './definition.ts'
import type { CardConfig } from './machine-config.ts'

/** Number of the open file in the machine's process; 3 is the line to its owner. */
const tapDescriptor = 4

/** The host's side of it. */
export interface HostCard {
  /** With the name of its link. */
  readonly definition: IdentifiedDefinition
  readonly config: CardConfig | undefined
  /** Open files for the machine's process. */
  readonly files: readonly number[]
  /** The process has them: closes them here. */
  close(): void
  /** There is no process: ends all of it. */
  end(): Promise<void>
}

type Card = IdentifiedDefinition['devices']['interfaces'][number]

/** The same definition with what visor chooses of cards. */
export function withCards<D extends IdentifiedDefinition>(definition: D): D {
  const { uuid, devices } = definition
  const interfaces = devices.interfaces.map((one, index) => ({
    ...one,
    mac: one.mac ?? macAddress(uuid, index),
    model: one.model ?? ('ne2k_pci' as const),
  }))
  return { ...definition, devices: { ...devices, interfaces } }
}

/**
 * Connects the card of a machine to its network or bridge, or to the host's own sockets. Fails as `openTap` and networks do, and with
 * `unsupported-config` where guests cannot be on networks; nothing is left then.
 */
export async function openHostCard(
  definition: IdentifiedDefinition,
  networks: GuestNetworks | undefined,
): Promise<HostCard> {
  const [one] = definition.devices.interfaces
  if (!one) return { definition, config: undefined, files: [], close() {}, async end() {} }
  const { mac = '' } = one
  if (one.type === 'user') return openUserCard(definition, one)
  const access = one.type === 'network' ? await admit(definition, one, networks) : undefined
  const tap = await openTap({
    name: linkName(one.target),
    bridge: one.type === 'bridge' ? one.bridge : access?.bridge,
    mtu: access?.mtu,
    plain: true,
  })
  try {
    await access?.join(tap.name)
  } catch (error) {
    tap.close()
    throw error
  }
  return {
    definition: {
      ...definition,
      devices: { ...definition.devices, interfaces: [{ ...one, target: tap.name }] },
    },
    config: { mac, cable: { tap: tapDescriptor } },
    files: tap.descriptors,
    close: () => tap.close(),
    end: async () => {
      tap.close()
      await networks?.leave(definition.uuid)
    },
  }
}

/** passt, which serves one machine, is started by the machine's process and ends with it. */
async function openUserCard(definition: IdentifiedDefinition, one: Card): Promise<HostCard> {
  const program = await findProgram('passt')
  if (program === undefined)
    throw new VisorError(
      'unsupported-config',
      `Domain '${definition.name}' has a network card of type 'user', and the program 'passt' is not installed.`,
      {
        object: { kind: 'domain', name: definition.name },
        remedy:
          "Install it: 'apt install passt' on Debian and Ubuntu, 'dnf install passt' on Fedora; or leave the card out.",
      },
    )
  return {
    definition,
    config: { mac: one.mac ?? '', cable: { program, args: passtArguments(one, ['--fd', '3']) } },
    files: [],
    close() {},
    async end() {},
  }
}

/** A name that was given to a link once says nothing about the next: as in libvirt, `vnet` is for such names. */
const linkName = (target: string | undefined) =>
  target === undefined || /^vnet\d+$/u.test(target) ? 'vnet%d' : target

async function admit(
  { uuid, name }: IdentifiedDefinition,
  { network = '', portGroup, mac = '', filter, filterParameters }: Card,
  networks: GuestNetworks | undefined,
) {
  const object = { kind: 'domain', name } as const
  if (!networks)
    throw new VisorError('unsupported-config', `Domain '${name}' cannot be on network '${network}' here.`, {
      object,
      remedy: 'Run visord as root, which networks need, or leave the network card out.',
    })
  const access = await networks.admit({
    ...{ network, portGroup, domain: uuid, name, driver: 'v86', mac },
    ...{ filter, filterParameters },
  })
  if (access.bridge !== undefined) return access
  await networks.leave(uuid, mac)
  throw new VisorError('unsupported-config', `Network '${network}' has no bridge for domain '${name}'.`, {
    object,
    remedy: "Choose a network that has one: 'visor network list'.",
  })
}

/** The machine's end: what its guest sends goes out, what comes is for it. */
export async function connectCard(
  { mac, cable }: CardConfig,
  receive: (packet: Uint8Array) => void,
): Promise<Packets> {
  return 'tap' in cable ? tapPackets(cable.tap, receive) : startCable(cable, mac, receive)
}
