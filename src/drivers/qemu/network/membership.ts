/** Cards of guests on networks by name. */
import type { GuestNetworks, NetworkAccess } from '../../../driver/index.ts'
import { type Interface, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'

/** Readies the network of a card. Fails with `unsupported-config` where it has no bridge for the card. */
export async function admitCard(
  { uuid, name }: CompleteDefinition,
  { network = '', portGroup, mac = '', filter, filterParameters }: Interface,
  networks: GuestNetworks | undefined,
): Promise<NetworkAccess> {
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
  throw new VisorError('unsupported-config', `Network '${network}' has no bridge for domain '${name}'.`, {
    object: { kind: 'domain', name },
    remedy: "Use an interface of type 'direct' with the link of the network.",
  })
}
