/** Sources of randomness as parts of QEMU. Source: qemu(1), "-object rng-random", "rng-builtin", "rng-egd". */
import type { Devices } from '../../../model/index.ts'
import { chardev, device, object, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Place, pci } from './device-place.ts'

type Rng = Devices['rngs'][number]

/** The device with its origin; fails with `unsupported-config` for what means nothing to that origin. */
export function rngParts(rng: Rng, index: number, place: Place): Part[] {
  return [
    ...originParts(rng, `devices.rngs[${index}]`),
    device('virtio-rng-pci', {
      id: rng.alias,
      rng: `obj${rng.alias}`,
      'max-bytes': rng.rateBytes,
      period: rng.rateBytes === undefined ? undefined : (rng.ratePeriodMs ?? 1000),
      ...pci(rng.address, place),
    }),
  ]
}

const daemonFields = [
  ...(['daemonType', 'daemonMode', 'daemonPath', 'daemonHost', 'daemonService', 'daemonProtocol'] as const),
]

function originParts(rng: Rng, path: string): Part[] {
  const id = `obj${rng.alias}`
  if (rng.backend === 'egd') return daemonParts(rng, path)
  for (const key of daemonFields)
    if (rng[key] !== undefined) throw unsupported(`${path}.${key}`, "is for origin 'egd'")
  return [
    rng.backend === 'builtin'
      ? object('rng-builtin', { id })
      : object('rng-random', { id, filename: rng.source ?? '/dev/urandom' }),
  ]
}

/** A daemon that speaks the protocol of the Entropy Gathering Daemon; QEMU calls it. */
function daemonParts(rng: Rng, path: string): Part[] {
  const { alias, source, daemonType: type, daemonMode, daemonPath, daemonHost, daemonService } = rng
  const id = `char${alias}`
  if (source !== undefined) throw unsupported(`${path}.source`, "means nothing for origin 'egd'")
  if (daemonMode === 'bind')
    throw unsupported(`${path}.daemonMode`, 'the machine would wait for its daemon', "Use 'connect'.")
  const parts = (socket: Part) => [socket, object('rng-egd', { id: `obj${alias}`, chardev: id })]
  if (type === 'unix' && daemonPath !== undefined) {
    if (daemonHost !== undefined || daemonService !== undefined)
      throw unsupported(path, "a host and a service are for type 'tcp'")
    return parts(chardev('socket', { id, path: daemonPath }))
  }
  if (type === 'tcp' && daemonHost !== undefined && daemonService !== undefined) {
    if (daemonPath !== undefined) throw unsupported(`${path}.daemonPath`, "is for type 'unix'")
    return parts(chardev('socket', { id, host: daemonHost, port: daemonService }))
  }
  throw unsupported(
    path,
    'does not say where its daemon is',
    "Set 'daemonType: unix' and 'daemonPath', or 'daemonType: tcp', 'daemonHost' and 'daemonService'.",
  )
}
