/** Volumes that are on a server, which machines reach by themselves: nothing of them is on this host. */
import type { VolumeAccess } from '../../../driver/index.ts'
import type { FoundVolume, VolumeStore } from '../store.ts'

/** What a server has. */
export interface ServerVolume {
  /** In its pool. */
  readonly volume: string
  /** As the server calls it. */
  readonly name: string
  readonly sizeBytes: number
}

export interface ServerVolumesOptions {
  readonly list: () => Promise<ServerVolume[]>
  /** `nbd://host:port/export`, for people. */
  readonly addressOf: (name: string) => string
  readonly access: (name: string) => VolumeAccess
}

export function serverVolumes({ list, addressOf, access }: ServerVolumesOptions): VolumeStore {
  const found = ({ volume, name, sizeBytes }: ServerVolume): FoundVolume => {
    const address = addressOf(name)
    return {
      ...{ name: volume, key: address, path: address, type: 'network', format: 'raw', encrypted: false },
      ...{ capacityBytes: sizeBytes, allocationBytes: sizeBytes },
    }
  }
  const all = async () => (await list()).map(found).sort((a, b) => (a.name < b.name ? -1 : 1))
  return {
    list: all,
    read: async (name) => (await all()).find((one) => one.name === name),
    async access({ name }) {
      const one = (await list()).find(({ volume }) => volume === name)
      return access(one?.name ?? name)
    },
  }
}
