/** cloud-init's network-config, version 2. Source: cloud-init, "Networking config Version 2" and "Version 1". */

import { isPlainObject } from '../described.ts'
import { VisorError } from '../error.ts'
import { ipBits, parseIp, parseSubnet } from '../network/ip.ts'
import * as s from '../schema.ts'
import { formatYaml } from '../yaml-write.ts'
import { readMap, refuseNearKeys } from './read-yaml.ts'
import type { FirstBoot } from './settings.ts'

const versionTwoKeys = [
  ...['version', 'renderer', 'ethernets', 'bonds', 'bridges', 'vlans', 'wifis', 'modems', 'tunnels', 'vrfs'],
  ...['dummy-devices', 'virtual-ethernets', 'nm-devices', 'openvswitch'],
]

type Card = FirstBoot['cards'][number]

/** The network-config of these settings; undefined when all cards ask DHCP. */
export function networkConfigOf({ cards, networkConfig }: FirstBoot): string | undefined {
  if (networkConfig !== undefined) {
    if (cards.length > 0)
      throw new VisorError(
        'invalid-argument',
        'A network-config stands alone: no addresses of cards beside it.',
        {
          path: 'networkConfig',
          remedy: 'Write them into it.',
        },
      )
    checkNetworkConfig(networkConfig)
    return networkConfig
  }
  if (cards.length === 0) return undefined
  // With names of their own, since some systems know cards by nothing else.
  for (const [index, card] of cards.entries()) checkCard(`cards[${index}]`, card)
  const ethernets = Object.fromEntries(cards.map((card, index) => [`eth${index}`, ethernetOf(card, index)]))
  return formatYaml(s.any('network-config'), { version: 2, ethernets })
}

function ethernetOf(card: Card, index: number) {
  const { mac, addresses, gateways, routes, nameservers, searchDomains, mtu } = card
  // As routes to '::/0' or 'default' cloud-init 22 writes them wrongly, or not at all.
  const defaults = gateways.map((via) => [via.includes(':') ? 'gateway6' : 'gateway4', via])
  return {
    match: { macaddress: mac },
    'set-name': `eth${index}`,
    ...(addresses.length > 0 ? { dhcp4: false, addresses } : { dhcp4: true }),
    ...Object.fromEntries(defaults),
    ...(routes.length > 0 && { routes }),
    ...((nameservers.length > 0 || searchDomains.length > 0) && {
      nameservers: {
        ...(nameservers.length > 0 && { addresses: nameservers }),
        ...(searchDomains.length > 0 && { search: searchDomains }),
      },
    }),
    ...(mtu !== undefined && { mtu }),
  }
}

function checkCard(path: string, { addresses, gateways, routes, nameservers }: Card): void {
  const refuse = (key: string, what: string): never => {
    throw new VisorError('invalid-argument', what, { path: `${path}.${key}` })
  }
  const family = (key: string, text: string) =>
    parseIp(text)?.family ?? refuse(key, `'${text}' is no IP address.`)
  const families = addresses.map((address) => {
    const [ip = '', prefix = ''] = address.split('/')
    const its = family('addresses', ip)
    return Number(prefix) <= ipBits[its] ? its : refuse('addresses', `'${address}' has a prefix too long.`)
  })
  for (const { to, via } of routes) {
    if (parseSubnet(to)?.value !== parseIp(to.split('/')[0] ?? '')?.value)
      refuse('routes', `'${to}' is no network: bits after its prefix are set, or it is none.`)
    family('routes', via)
  }
  for (const server of nameservers) family('nameservers', server)
  const towards = gateways.map((gateway) => family('gateways', gateway))
  if (new Set(towards).size < towards.length) refuse('gateways', 'A card has one gateway of each family.')
  for (const its of towards)
    if (!families.includes(its))
      refuse('gateways', `The gateway of ${its} goes with an address of ${its}, which the card has not.`)
}

function checkNetworkConfig(text: string): void {
  const path = 'networkConfig'
  const name = 'network-config'
  const given = readMap(path, name, text)
  const network = isPlainObject(given.network) ? given.network : given
  const { version, config } = network
  if (version === 1 && Array.isArray(config)) return
  if (version === 2) {
    refuseNearKeys(path, name, Object.keys(network), versionTwoKeys)
    return
  }
  if (config === 'disabled') return
  throw new VisorError(
    'invalid-argument',
    version === 1
      ? "The network-config of version 1 has no list 'config'."
      : 'The network-config says no version that cloud-init knows.',
    { path, remedy: "Begin it with 'version: 2' and 'ethernets:'." },
  )
}
