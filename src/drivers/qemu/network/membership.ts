/** Cards of guests on networks by name. */
import type { GuestNetworks, NetworkAccess } from '../../../driver/index.ts'
import { type Interface, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'

/** Readies the network of a card. Fails with `unsupported-config` for what its link could not do. */
export async function admitCard(
  { uuid, name }: CompleteDefinition,
  one: Interface,
  networks: GuestNetworks | undefined,
): Promise<NetworkAccess> {
  const { network = '', portGroup, mac = '', filter, filterParameters } = one
  if (!networks)
    throw new VisorError('unsupported-config', `Domain '${name}' cannot be on network '${network}' here.`, {
      object: { kind: 'domain', name },
      remedy: "Run visord as root, which networks need, or use an interface of type 'user'.",
    })
  const access = await networks.admit({
    ...{ network, portGroup, domain: uuid, name, driver: 'qemu', mac },
    ...{ filter, filterParameters },
  })
  if (access.bridge !== undefined) return access
  const unmet = (['isolated', 'inbound', 'outbound'] as const).find((key) => one[key])
  if (unmet === undefined && one.vlanTags.length === 0) return access
  await networks.leave(uuid, mac)
  const what = unmet ?? 'vlanTags'
  throw new VisorError(
    'unsupported-config',
    `The card of domain '${name}' on network '${network}' cannot have '${what}': its packets pass no bridge of this host.`,
    {
      object: { kind: 'domain', name },
      remedy: 'Leave it out, or choose a network that has a bridge.',
    },
  )
}
