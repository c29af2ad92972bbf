/** Which cards a bridge can be made from, and what is to be known first. */
import { existsSync, readFileSync } from 'node:fs'
import { VisorError } from '../../model/index.ts'
import { isDynamic, type NetworkProgram } from './configuration.ts'
import { type BridgePlan, masterOf } from './move.ts'
import type { BridgeRecord } from './record.ts'

const isThere = (link: string, what = '') => existsSync(`/sys/class/net/${link}${what}`)

function readNumber(link: string, what: string): number {
  return Number(readFileSync(`/sys/class/net/${link}/${what}`, 'latin1'))
}

/** Fails with `already-exists`, `not-found`, `invalid-state` or `unsupported-config`. */
export async function checkPlan(
  bridge: string,
  nic: string,
  records: readonly BridgeRecord[],
): Promise<void> {
  const object = { kind: 'host bridge', name: bridge }
  if (isThere(bridge) || records.some(({ plan }) => plan.bridge === bridge))
    throw new VisorError('already-exists', `There is a link '${bridge}' on this host already.`, {
      object,
      remedy: 'Choose another name for the bridge.',
    })
  if (!isThere(nic))
    throw new VisorError('not-found', `There is no network card '${nic}' on this host.`, {
      object,
      remedy: "'ip link' lists those there are.",
    })
  const refuse = (message: string, remedy: string) => {
    throw new VisorError('unsupported-config', message, { object, remedy })
  }
  const master = masterOf(nic)
  if (master !== undefined && isThere(master, '/bonding'))
    refuse(`'${nic}' is part of the bond '${master}'.`, `Make the bridge from '${master}'.`)
  if (master !== undefined)
    refuse(
      `'${nic}' is a port of '${master}' already.`,
      `Use '${master}': visor network create ... --bridge ${master}`,
    )
  if (isThere(nic, '/wireless') || isThere(nic, '/phy80211'))
    refuse(
      `'${nic}' is wireless, and access points take packets of one address only.`,
      'Use a network of mode nat or route.',
    )
  if (isThere(nic, '/bridge')) refuse(`'${nic}' is a bridge itself.`, 'Use it as it is.')
  // ARPHRD_ETHER; loopback and tunnels are others.
  if (readNumber(nic, 'type') !== 1)
    refuse(
      `'${nic}' is no Ethernet card, and cannot be on a bridge.`,
      "'ip -brief link' shows what there is.",
    )
}

export function describeNotes(
  { nic, bridge, state }: BridgePlan,
  program: NetworkProgram | undefined,
): string[] {
  return [
    `The bridge is gone at a reboot of this host, unless its own configuration${program ? ` (${program})` : ''} is changed.`,
    ...(isDynamic(state)
      ? [
          `'${nic}' has its address by DHCP: '${bridge}' keeps it until its lease ends, and only the configuration of the host renews it there.`,
        ]
      : []),
    ...(state.gateways.length === 0
      ? [`No default route goes through '${nic}': whether the host is still reached is not looked at.`]
      : []),
  ]
}
