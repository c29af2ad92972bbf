/**
 * Addresses that belong to the names of guests: given once, kept over delete and re-create, until the network is
 * gone or the address no longer fits it.
 */
import type { Store } from '../driver/index.ts'
import { contains, formatIp, parseIp, subnetOfAddress } from '../model/index.ts'
import type { CompleteNetwork } from './complete.ts'

export interface KeptAddresses {
  /** The addresses of a guest on a network: those it had, or free ones. One of each subnet that has a range. */
  of(network: CompleteNetwork, guest: { readonly name: string; readonly mac: string }): Promise<string[]>
  /** All of a network, by the name of the guest. */
  all(network: CompleteNetwork): ReadonlyMap<string, readonly string[]>
  forget(uuid: string): Promise<void>
}

const prefix = 'network/kept/'

export async function openKeptAddresses(store: Store): Promise<KeptAddresses> {
  /** By network, by guest. */
  const kept = new Map<string, Map<string, readonly string[]>>()
  const ofNetwork = (uuid: string) => {
    const found = kept.get(uuid) ?? new Map<string, readonly string[]>()
    kept.set(uuid, found)
    return found
  }
  for (const { key, value } of await store.list(prefix)) {
    const [uuid = '', ...name] = key.slice(prefix.length).split('/')
    ofNetwork(uuid).set(decodeURIComponent(name.join('/')), value as string[])
  }

  return {
    all: ({ uuid }) => ofNetwork(uuid),
    async of(network, { name, mac }) {
      const own = ofNetwork(network.uuid)
      const before = own.get(name) ?? []
      const taken = takenIn(network, own, name)
      const addresses = network.addresses.flatMap((one) => {
        const reserved = one.dhcp?.hosts.find(
          (host) => host.mac === mac || (host.mac === undefined && host.name === name),
        )
        if (reserved?.address !== undefined) return [reserved.address]
        const ranges = (one.dhcp?.ranges ?? []).map(
          ({ start, end }) => [parseIp(start), parseIp(end)] as const,
        )
        const subnet = subnetOfAddress(one)
        const had = before.find((address) => {
          const parsed = parseIp(address)
          return (
            parsed &&
            subnet &&
            contains(subnet, parsed) &&
            !taken.has(formatIp(parsed)) &&
            isInside(ranges, parsed.value)
          )
        })
        return had ?? freeAddress(ranges, taken) ?? []
      })
      if (addresses.join() !== before.join()) {
        await store.write([{ key: `${prefix}${network.uuid}/${encodeURIComponent(name)}`, value: addresses }])
        own.set(name, addresses)
      }
      return addresses
    },
    async forget(uuid) {
      const names = [...ofNetwork(uuid).keys()]
      kept.delete(uuid)
      await store.write(
        names.map((name) => ({ key: `${prefix}${uuid}/${encodeURIComponent(name)}`, value: undefined })),
      )
    },
  }
}

type Ranges = readonly (readonly [ReturnType<typeof parseIp>, ReturnType<typeof parseIp>])[]

const isInside = (ranges: Ranges, value: bigint): boolean =>
  ranges.some(([first, last]) => first && last && value >= first.value && value <= last.value)

/** What others have: the host, reservations of the definition, other guests. */
function takenIn(
  { addresses }: CompleteNetwork,
  own: ReadonlyMap<string, readonly string[]>,
  name: string,
): ReadonlySet<string> {
  const texts = [
    ...addresses.map(({ address }) => address),
    ...addresses.flatMap(({ dhcp }) => dhcp?.hosts.flatMap(({ address }) => address ?? []) ?? []),
    ...[...own].flatMap(([other, theirs]) => (other === name ? [] : theirs)),
  ]
  return new Set(
    texts.flatMap((text) => {
      const parsed = parseIp(text)
      return parsed ? [formatIp(parsed)] : []
    }),
  )
}

function freeAddress(ranges: Ranges, taken: ReadonlySet<string>): string | undefined {
  for (const [first, last] of ranges) {
    if (!first || !last) continue
    for (let { value } = first; value <= last.value; value++) {
      const text = formatIp({ ...first, value })
      if (!taken.has(text)) return text
    }
  }
  return undefined
}
