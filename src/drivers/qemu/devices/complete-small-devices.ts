/** Sound cards, watchdogs and other single devices, with all that is chosen for them. */
import { createHash } from 'node:crypto'
import type { FileAccess } from '../../../host/index.ts'
import type { Devices } from '../../../model/index.ts'

const aliases = {
  sounds: 'sound',
  hostdevs: 'hostdev',
  redirdevs: 'redir',
  smartcards: 'smartcard',
  hubs: 'hub',
  watchdogs: 'watchdog',
  panics: 'panic',
  sharedMemories: 'shmem',
  cryptos: 'crypto',
} as const

type Kind = keyof typeof aliases

/** Each with a name, and the socket address of the guest. */
export function completeSmallDevices(devices: Devices, uuid: string): Partial<Devices> {
  const { vsock, iommu } = devices
  const lists = (Object.keys(aliases) as Kind[]).map((kind) => {
    const items: readonly { alias?: string }[] = devices[kind]
    return [kind, items.map((one, index) => ({ ...one, alias: one.alias ?? `${aliases[kind]}${index}` }))]
  })
  return {
    ...Object.fromEntries(lists),
    ...(vsock
      ? { vsock: { ...vsock, alias: vsock.alias ?? 'vsock0', cid: vsock.cid ?? socketAddress(uuid) } }
      : {}),
    ...(iommu ? { iommu: { ...iommu, alias: iommu.alias ?? 'iommu0' } } : {}),
  }
}

/** The devices that have a name. */
export function smallDevices(devices: Devices): { alias?: string }[] {
  const { vsock, iommu } = devices
  const lists = (Object.keys(aliases) as Kind[]).flatMap((kind): { alias?: string }[] => devices[kind])
  return [...lists, ...(vsock ? [vsock] : []), ...(iommu ? [iommu] : [])]
}

export const needsUsb = ({
  sounds,
  hostdevs,
  redirdevs,
  smartcards,
  hubs,
  interfaces,
}: Omit<Devices, 'controllers'>): boolean =>
  redirdevs.length > 0 ||
  smartcards.length > 0 ||
  hubs.length > 0 ||
  sounds.some(({ model }) => model === 'usb') ||
  hostdevs.some(({ type }) => type === 'usb') ||
  interfaces.some(({ model }) => model === 'usb-net')

/** The same for the same machine; 0 to 2 are of the host, vsock(7). Two machines in 2^31 share one. */
export function socketAddress(uuid: string): number {
  return 3 + (createHash('sha256').update(`vsock/${uuid}`).digest().readUInt32BE() % 2 ** 31)
}

/** The files of the host that these devices open. */
export function filesOfDevices({
  sharedMemories,
  audios,
  sounds,
  interfaces,
  inputs,
}: Devices): FileAccess[] {
  return [
    ...sharedMemories.flatMap(({ server }) =>
      server === undefined ? [] : [{ path: server, write: true, what: 'socket' }],
    ),
    ...(sounds.length > 0 ? audios : []).flatMap(({ path }) =>
      path === undefined ? [] : [{ path, write: true, what: 'sound file' }],
    ),
    ...inputs.flatMap(({ hostDevice, eventDevice }) => {
      const path = hostDevice ?? eventDevice
      return path === undefined ? [] : [{ path, write: true, what: 'input device' }]
    }),
    ...interfaces.flatMap(({ romFile }) => (romFile === undefined ? [] : [{ path: romFile, what: 'ROM' }])),
  ]
}
