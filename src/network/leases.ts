/** Addresses that dnsmasq has given. Source: its lease file, as dnsmasq(8) has it (--dhcp-script, "leases"). */
import { readFile } from 'node:fs/promises'
import { unlessMissing } from '../host/index.ts'
import { contains, type NetworkLease, parseIp, prefixOf, subnetOfAddress } from '../model/index.ts'
import type { CompleteNetwork } from './complete.ts'
import type { Port } from './ports.ts'

const mostBytes = 16 * 2 ** 20

/** What is in the file, without those that have run out. */
export async function readLeases(
  file: string,
  definition: CompleteNetwork,
  ports: readonly Port[],
): Promise<NetworkLease[]> {
  const text = (await unlessMissing(readFile(file, 'latin1'))) ?? ''
  return parseLeases(text.slice(0, mostBytes), definition, ports, Date.now())
}

export function parseLeases(
  text: string,
  definition: CompleteNetwork,
  ports: readonly Port[],
  now: number,
): NetworkLease[] {
  return text.split('\n').flatMap((line) => {
    const [expiry = '', hardware = '', given = '', name = '', clientId = ''] = line.split(' ')
    const address = parseIp(given)
    if (!/^\d+$/u.test(expiry) || !address) return []
    const expires = Number(expiry) * 1000
    if (expires !== 0 && expires < now) return []
    const mac = address.family === 'ipv4' ? hardware.replace(/^\d+-/u, '') : undefined
    const port = ports.find((one) => (mac === undefined ? one.addresses.includes(given) : one.mac === mac))
    const own = definition.addresses.find((one) => {
      const subnet = subnetOfAddress(one)
      return subnet && contains(subnet, address)
    })
    const owner = mac ?? port?.mac
    return [
      {
        network: definition.name,
        ...(owner === undefined ? {} : { mac: owner }),
        address: given,
        family: address.family,
        prefix: (own && prefixOf(own)) ?? (address.family === 'ipv4' ? 32 : 128),
        ...(name === '*' || name === '' ? {} : { hostname: name }),
        ...(clientId === '*' || clientId === '' ? {} : { clientId }),
        ...(port ? { domain: port.domain } : {}),
        ...(expires === 0 ? {} : { expiresAt: new Date(expires).toISOString() }),
      },
    ]
  })
}
