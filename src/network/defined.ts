/** Networks as they are kept: read once, written through to the store. */
import type { Store } from '../driver/index.ts'
import { VisorError } from '../model/index.ts'
import type { CompleteNetwork } from './complete.ts'

export interface DefinedNetwork {
  readonly definition: CompleteNetwork
  readonly autostart: boolean
}

export interface DefinedNetworks {
  all(): readonly DefinedNetwork[]
  /** By uuid or name. */
  find(network: string): DefinedNetwork | undefined
  /** Durable when it resolves. Fails with `already-exists` when another network has the name. */
  put(network: DefinedNetwork): Promise<void>
  remove(uuid: string): Promise<void>
  /** Whether the network that is there without being made was ever removed or made. */
  readonly knowsDefault: boolean
}

const prefix = 'network/defined/'
const defaultKey = 'network/default-seen'

export async function openDefinedNetworks(store: Store): Promise<DefinedNetworks> {
  const networks = new Map<string, DefinedNetwork>()
  for (const { value } of await store.list(prefix)) remember(value as DefinedNetwork)
  let knowsDefault = (await store.get(defaultKey)) !== undefined

  function remember(network: DefinedNetwork): void {
    networks.set(network.definition.uuid, network)
  }

  return {
    all: () => [...networks.values()].sort((a, b) => (a.definition.name < b.definition.name ? -1 : 1)),
    find: (network) =>
      networks.get(network.toLowerCase()) ??
      [...networks.values()].find(({ definition }) => definition.name === network),
    get knowsDefault() {
      return knowsDefault
    },
    async put(network) {
      const { name, uuid } = network.definition
      const twin = [...networks.values()].find(({ definition }) => definition.name === name)
      if (twin && twin.definition.uuid !== uuid)
        throw new VisorError(
          'already-exists',
          `There is already a network '${name}', with uuid ${twin.definition.uuid}.`,
          {
            object: { kind: 'network', name },
            remedy: 'Choose another name, or undefine that one first.',
          },
        )
      const isDefault = name === 'default'
      await store.write([
        { key: prefix + uuid, value: network },
        ...(isDefault ? [{ key: defaultKey, value: true }] : []),
      ])
      knowsDefault ||= isDefault
      remember(network)
    },
    async remove(uuid) {
      await store.write([{ key: prefix + uuid, value: undefined }])
      networks.delete(uuid)
    },
  }
}
