/** QEMU's own network in user space: what it gives the guest. Source: NetdevUserOptions of QEMU. */
import type { FileAccess } from '../../../host/index.ts'
import type { Interface } from '../../../model/index.ts'
import type { Fields } from '../definition/key-value.ts'
import { unsupported } from '../definition/unsupported.ts'
import { isPasst } from './passt.ts'

type Ip = Interface['ips'][number]

const isSix = ({ address }: Ip) => address.includes(':')

/** Addresses, and what a guest boots from. */
export function addressFields({ ips }: Interface, path: string): Fields {
  ips.forEach((one, index) => void checkIp(one, `${path}.ips[${index}]`))
  const ipv4 = ips.find((one) => !isSix(one))
  const ipv6 = ips.find(isSix)
  return {
    net: ipv4 && networkOf(ipv4.address, ipv4.prefix ?? 24),
    host: ipv4?.gateway,
    dhcpstart: ipv4 && !isNetwork(ipv4.address, ipv4.prefix ?? 24) ? ipv4.address : undefined,
    dns: ipv4?.dns,
    tftp: ipv4?.tftpRoot,
    bootfile: ipv4?.bootFile,
    'ipv6-prefix': ipv6?.address,
    'ipv6-prefixlen': ipv6 && (ipv6.prefix ?? 64),
    'ipv6-host': ipv6?.gateway,
    'ipv6-dns': ipv6?.dns,
  }
}

function checkIp(one: Ip, path: string): void {
  const { address, prefix = 24, tftpRoot, bootFile } = one
  for (const key of ['gateway', 'dns'] as const) {
    const given = one[key]
    if (given === undefined) continue
    if (given.includes(':') !== isSix(one))
      throw unsupported(`${path}.${key}`, `'${given}' is not of the kind of '${address}'`)
    if (!isSix(one) && networkOf(given, prefix) !== networkOf(address, prefix))
      throw unsupported(`${path}.${key}`, `'${given}' is not in the network of '${address}/${prefix}'`)
  }
  for (const key of ['tftpRoot', 'bootFile'] as const)
    if (one[key] !== undefined && isSix(one)) throw unsupported(`${path}.${key}`, 'is for IPv4')
  if (bootFile !== undefined && tftpRoot === undefined && !/^(?:https?|tftp):\/\//u.test(bootFile))
    throw unsupported(
      `${path}.bootFile`,
      `'${bootFile}' is in no folder`,
      "Name the folder (tftpRoot), or an address: 'http://...'.",
    )
}

/** Fails with `unsupported-config` for what only QEMU's own network gives. */
export function refuseOwn(one: Interface, path: string): void {
  if (one.type === 'user' && !isPasst(one)) return
  for (const [index, ip] of one.ips.entries())
    for (const key of ['gateway', 'dns', 'tftpRoot', 'bootFile'] as const)
      if (ip[key] !== undefined)
        throw unsupported(
          `${path}.ips[${index}].${key}`,
          "needs an interface of type 'user' without the backend 'passt'",
          'A network of visor has DNS, TFTP and files to boot from as well.',
        )
}

/** The folder that guests read by TFTP. */
export const filesOfUserNetwork = ({ ips }: Interface): FileAccess[] =>
  ips.flatMap(({ tftpRoot }) => (tftpRoot === undefined ? [] : [{ path: tftpRoot, what: 'folder of TFTP' }]))

const toNumber = (address: string): number =>
  address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)

const isNetwork = (address: string, prefix: number): boolean => toNumber(address) % 2 ** (32 - prefix) === 0

/** `10.1.2.0/24` of an address in it. */
function networkOf(address: string, prefix: number): string {
  const whole = toNumber(address) - (toNumber(address) % 2 ** (32 - prefix))
  return `${[24, 16, 8, 0].map((bits) => Math.floor(whole / 2 ** bits) % 256).join('.')}/${prefix}`
}
