/** Whether network cards can be had as they are wanted, told before anything changes. */
import { hasVhost } from '../../../host/index.ts'
import type { DomainDefinition, Interface } from '../../../model/index.ts'
import { unsupported } from '../definition/unsupported.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { checkPasst } from './passt.ts'
import { isTap } from './taps.ts'

const otherWays: Readonly<Record<string, readonly [what: string, remedy: string]>> = {
  hostdev: [
    'a function of a network card of the host is no kind of connection here',
    "Give it to the guest as a device of the host ('hostdevs', type 'pci'), after its address is set ('ip link set PF vf N mac ADDRESS').",
  ],
}

/** Fails with `unsupported-config` for kinds of connections that need a word on how else to have them. */
export function refuseKinds({ devices }: Pick<DomainDefinition, 'devices'>): void {
  for (const [index, { type, filter, inbound, outbound }] of devices.interfaces.entries()) {
    const path = `devices.interfaces[${index}]`
    const other = otherWays[type]
    if (other) {
      const [what, remedy] = other
      throw unsupported(`${path}.type`, what, remedy)
    }
    if (filter !== undefined && type !== 'network')
      throw unsupported(
        `${path}.filter`,
        `'${filter}': filters of packets are for interfaces of type 'network'`,
        "Leave it out, or put the card on a network: one of mode 'bridge' has a bridge that is there.",
      )
    for (const [key, limit] of Object.entries({ inbound, outbound })) {
      if (limit?.floorKBps !== undefined)
        throw unsupported(`${path}.${key}.floorKBps`, 'only a network can be sure of a speed')
      if (limit && !limit.averageKBps)
        throw unsupported(`${path}.${key}.averageKBps`, 'is needed', 'Say how many kilobytes per second.')
    }
  }
}

/** Fails with `unsupported-config` for what this host or QEMU lacks. */
export async function checkNetworks(
  definition: Pick<DomainDefinition, 'devices'>,
  emulator: Emulator,
): Promise<void> {
  for (const [index, one] of definition.devices.interfaces.entries())
    if (one.driver === 'vhost' && isTap(one) && !hasVhost())
      throw unsupported(
        `devices.interfaces[${index}].driver`,
        "'vhost' needs '/dev/vhost-net', which is not there or may not be used",
        "Load it ('modprobe vhost_net'), or leave the driver out.",
      )
  await checkPasst(definition, emulator)
}

/** Fails with `unsupported-config` for settings of links of the host where there is none. */
export function refuseLinkSettings(one: Interface, path: string): void {
  const { type, dev, mode, driver, isolated, vlanTags, inbound, outbound } = one
  const refuse = (key: string, needed: string) => {
    throw unsupported(`${path}.${key}`, `needs an interface of type ${needed}, not '${type}'`)
  }
  if (type === 'direct' && dev === undefined)
    throw unsupported(`${path}.dev`, 'is needed: the network card of the host that it is on')
  if (type !== 'direct' && type !== 'vhostuser' && mode !== undefined) refuse('mode', "'direct'")
  if (type === 'direct' && (mode === 'server' || mode === 'client'))
    throw unsupported(`${path}.mode`, `'${mode}' is for sockets, not for '${type}'`)
  if (type !== 'direct' && type !== 'user' && dev !== undefined) refuse('dev', "'direct'")
  if (type === 'user' && one.backend !== 'passt' && dev !== undefined)
    throw unsupported(`${path}.dev`, "needs the backend 'passt'")
  if (!isTap(one)) {
    if (driver === 'vhost') refuse('driver', "'bridge', 'network' or 'ethernet'")
    if (one.sendBufferBytes !== undefined)
      refuse('sendBufferBytes', "'bridge', 'network', 'ethernet' or 'direct'")
  }
  if (!isTap(one) || type === 'direct') {
    if (one.coalescedFrames !== undefined) refuse('coalescedFrames', "'bridge', 'network' or 'ethernet'")
    if (inbound) refuse('inbound', "'bridge', 'network' or 'ethernet'")
    if (outbound) refuse('outbound', "'bridge', 'network' or 'ethernet'")
  }
  if (type === 'bridge' || type === 'network') return
  if (isolated) refuse('isolated', "'bridge' or 'network'")
  if (vlanTags.length > 0) refuse('vlanTags', "'bridge' or 'network'")
}
