/** Network cards and what they are connected to, as parts of QEMU. Source: -netdev in qemu(1), NetdevUserOptions. */
import type { Interface, PortForward } from '../../../model/index.ts'
import type { Fields, ListText } from '../definition/key-value.ts'
import { device, netdev, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Place, pci } from '../devices/device-place.ts'
import { refuseLinkSettings } from './check-networks.ts'
import { isPasst, passtPart, passtSocket } from './passt.ts'
import { isTap } from './taps.ts'
import { addressFields, refuseOwn } from './user-network.ts'
import { isVhostUser, vhostUserParts } from './vhost-user.ts'

const virtioCards: Readonly<Record<string, string>> = {
  virtio: 'virtio-net-pci',
  'virtio-transitional': 'virtio-net-pci-transitional',
  'virtio-non-transitional': 'virtio-net-pci-non-transitional',
}

export const isOnUsb = ({ model }: Pick<Interface, 'model'>): boolean => model === 'usb-net'

export function interfaceParts(
  one: Interface,
  index: number,
  bootindex: number | undefined,
  place: Place,
): Part[] {
  const { model = 'virtio', alias = `net${index}` } = one
  const path = `devices.interfaces[${index}]`
  const isVirtio = model in virtioCards
  const hostSide = `host${alias}`
  if (!isVirtio) refuseVirtioSettings(one, path)
  return [
    ...hostSideParts(one, hostSide, path, place),
    device(virtioCards[model] ?? model, {
      id: alias,
      netdev: hostSide,
      mac: one.mac,
      bootindex,
      ...(isVirtio ? virtioFields(one) : {}),
      rombar: one.romBar === undefined ? undefined : Number(one.romBar),
      // Without a boot from the network its program is not needed, and loading it takes time.
      romfile: isOnUsb(one) ? undefined : romFile(one, bootindex),
      ...(isOnUsb(one) ? {} : pci(one.address, place)),
    }),
  ]
}

function romFile({ rom, romFile: file }: Interface, bootindex: number | undefined): string | undefined {
  if (rom === false) return ''
  if (file !== undefined) return file
  return bootindex === undefined && rom === undefined ? '' : undefined
}

function virtioFields(one: Interface): Fields {
  const queues = one.queues ?? 1
  return {
    tx: one.sendMode === undefined ? undefined : one.sendMode === 'timer' ? 'timer' : 'bh',
    ioeventfd: one.ioeventfd,
    event_idx: one.eventIndex,
    ...(queues > 1 ? { mq: true, vectors: 2 * queues + 2 } : {}),
    rx_queue_size: one.receiveQueueSize,
    tx_queue_size: one.sendQueueSize,
    rss: one.rss,
    host_mtu: one.mtu,
    ...offloadFields(one),
  }
}

function offloadFields({ hostOffloads: host, guestOffloads: guest }: Interface): Fields {
  return {
    csum: host?.csum,
    gso: host?.gso,
    host_tso4: host?.tso4,
    host_tso6: host?.tso6,
    host_ecn: host?.ecn,
    host_ufo: host?.ufo,
    mrg_rxbuf: host?.mergeBuffers,
    guest_csum: guest?.csum,
    guest_tso4: guest?.tso4,
    guest_tso6: guest?.tso6,
    guest_ecn: guest?.ecn,
    guest_ufo: guest?.ufo,
  }
}

function refuseVirtioSettings(one: Interface, path: string): void {
  const settings = [
    ...(['mtu', 'sendMode', 'ioeventfd', 'eventIndex', 'queues', 'receiveQueueSize'] as const),
    ...(['sendQueueSize', 'rss', 'hostOffloads', 'guestOffloads'] as const),
  ]
  if (one.driver === 'vhost')
    throw unsupported(`${path}.driver`, `'vhost' needs a virtio card, not '${one.model}'`)
  for (const key of settings)
    if (one[key] !== undefined)
      throw unsupported(`${path}.${key}`, `needs a virtio card, not '${one.model}'`, "Use model 'virtio'.")
}

function hostSideParts(one: Interface, id: string, path: string, place: Place): Part[] {
  refuseOther(one, path)
  refuseLinkSettings(one, path)
  if (isVhostUser(one)) return vhostUserParts(one, id, path, place.version)
  return [netdevOf(one, id, path, place)]
}

function netdevOf(one: Interface, id: string, path: string, place: Place): Part {
  const { sourceAddress: host = '', sourcePort: port = 0, localAddress = '', localPort = 0 } = one
  if (isTap(one)) {
    const descriptors = place.taps?.get(one.alias ?? '')
    if (!descriptors)
      throw unsupported(path, 'a link of the host can only be given to a machine when it starts')
    return netdev('tap', {
      id,
      ...tapFields(descriptors.queues, descriptors.vhosts),
      sndbuf: one.sendBufferBytes,
    })
  }
  switch (one.type) {
    case 'user':
      if (isPasst(one)) return passtPart(id, passtSocket(place.paths, one.alias ?? ''))
      return netdev('user', { id, ...userFields(one, path) })
    case 'mcast':
      return netdev('socket', { id, mcast: `${host}:${port}` })
    case 'server':
      return netdev('socket', { id, listen: `${host}:${port}` })
    case 'client':
      return netdev('socket', { id, connect: `${host}:${port}` })
    case 'udp':
      return netdev('socket', { id, udp: `${host}:${port}`, localaddr: `${localAddress}:${localPort}` })
    default:
      // An unconnected port: the guest has a card, and nothing is at the end of its cable.
      return netdev('hubport', { id, hubid: hubOf(id) })
  }
}

/** Its open files, by numbers or by the names that QEMU knows them by. */
export function tapFields(
  queues: readonly (number | string)[],
  vhosts: readonly (number | string)[],
): Fields {
  const some = (key: string, files: readonly (number | string)[]) =>
    files.length > 1 ? { [`${key}s`]: files.join(':') } : { [key]: String(files[0]) }
  return { ...some('fd', queues), ...(vhosts.length > 0 ? { vhost: true, ...some('vhostfd', vhosts) } : {}) }
}

/** A hub of its own for each. */
const hubOf = (id: string): number =>
  1000 + [...id].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) % 1e6, 0)

/** What only some kinds of connection have. */
function refuseOther(one: Interface, path: string): void {
  const { type } = one
  const sockets = ['mcast', 'server', 'client', 'udp']
  if (type !== 'user') {
    if (one.portForwards.length > 0)
      throw unsupported(`${path}.portForwards`, "needs an interface of type 'user'")
    if (one.ips.length > 0) throw unsupported(`${path}.ips`, "needs an interface of type 'user'")
    if (one.backend === 'passt') throw unsupported(`${path}.backend`, "needs an interface of type 'user'")
  }
  refuseOwn(one, path)
  if (!isPasst(one) && one.backendLog !== undefined)
    throw unsupported(`${path}.backendLog`, "needs an interface of type 'user' with the backend 'passt'")
  if (sockets.includes(type) && one.sourcePort === undefined)
    throw unsupported(`${path}.sourcePort`, `is needed for an interface of type '${type}'`)
  if (type === 'udp' && one.localPort === undefined)
    throw unsupported(`${path}.localPort`, "is needed for an interface of type 'udp'")
  if ((one.queues ?? 1) > 1 && !isTap(one) && !isVhostUser(one))
    throw unsupported(`${path}.queues`, `an interface of type '${type}' has one queue only`)
}

/** Most ports of one network: each is a socket of QEMU's. */
const mostPorts = 256

function userFields(one: Interface, path: string): Fields {
  const { portForwards } = one
  const forwards = portForwards.flatMap((one, index) => hostForwards(one, `${path}.portForwards[${index}]`))
  if (forwards.length > mostPorts)
    throw unsupported(`${path}.portForwards`, `at most ${mostPorts} ports can lead to the guest`)
  return {
    ...addressFields(one, path),
    hostfwd: forwards.length > 0 ? forwards : undefined,
  }
}

function hostForwards({ proto, address = '', dev, ranges }: PortForward, path: string): ListText[] {
  if (dev !== undefined) throw unsupported(`${path}.dev`, 'cannot be had; use an address')
  if (address.includes(':')) throw unsupported(`${path}.address`, 'can only be an IPv4 address')
  if (ranges.length === 0)
    throw unsupported(`${path}.ranges`, 'all ports cannot be had', 'Name those that are meant.')
  return ranges.flatMap(({ start, end = start, to = start, exclude }) => {
    if (exclude) throw unsupported(`${path}.ranges`, 'excluding ports cannot be had')
    const count = Math.min(end - start + 1, mostPorts + 1)
    return Array.from({ length: Math.max(0, count) }, (_, at) => ({
      str: `${proto}:${address}:${start + at}-:${to + at}`,
    }))
  })
}
