/** The answers of an agent as visor's own words. Whatever has another shape than it should is left out. */
import type { Disk, GuestFilesystem, GuestInterface, GuestUser } from '../../../model/index.ts'
import { isRecord } from '../qmp/index.ts'

const records = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? value.filter(isRecord) : []
/** A text for people, of bounded length. */
export const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(0, 4096) : undefined
const count = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined

/** Names of the commands that are enabled, of guest-info. */
export function readCommands(info: unknown): string[] {
  return records(isRecord(info) ? info.supported_commands : undefined)
    .filter(({ enabled }) => enabled === true)
    .flatMap(({ name }) => text(name) ?? [])
    .sort()
}

/** Of guest-network-get-interfaces. */
export function readInterfaces(answer: unknown): GuestInterface[] {
  return records(answer).flatMap((one) => {
    const name = text(one.name)
    if (name === undefined) return []
    const mac = text(one['hardware-address'])
    const addresses = records(one['ip-addresses']).flatMap((entry) => {
      const address = text(entry['ip-address'])
      const family = entry['ip-address-type']
      const prefix = count(entry.prefix) ?? 0
      if (address === undefined || (family !== 'ipv4' && family !== 'ipv6') || prefix > 128) return []
      return [{ address, family: family as 'ipv4' | 'ipv6', prefix }]
    })
    return [{ name, ...(mac ? { mac } : {}), addresses }]
  })
}

/** Of guest-get-fsinfo. Disks are found by their serial number, else by their place on a PCI bus. */
export function readFilesystems(answer: unknown, disks: readonly Disk[]): GuestFilesystem[] {
  return records(answer).flatMap((one) => {
    const [name, mountPoint, type] = [text(one.name), text(one.mountpoint), text(one.type)]
    if (name === undefined || mountPoint === undefined || type === undefined) return []
    const [usedBytes, totalBytes] = [count(one['used-bytes']), count(one['total-bytes'])]
    return [
      {
        name,
        mountPoint,
        type,
        ...(usedBytes === undefined ? {} : { usedBytes }),
        ...(totalBytes === undefined ? {} : { totalBytes }),
        disks: [...new Set(records(one.disk).flatMap((entry) => findDisk(entry, disks) ?? []))],
      },
    ]
  })
}

function findDisk(entry: Record<string, unknown>, disks: readonly Disk[]): string | undefined {
  const { serial, 'pci-controller': pci } = entry
  const bySerial = disks.find((disk) => disk.serial !== undefined && disk.serial === serial)
  if (bySerial || !isRecord(pci)) return bySerial?.target
  const place = [pci.bus, pci.slot, pci.function].map(Number)
  return disks.find(({ address }) => {
    if (address?.type !== 'pci') return false
    const own = [address.bus, address.slot, address.function].map((part) => Number(part ?? 0))
    return own.every((part, index) => part === place[index])
  })?.target
}

/** Of guest-get-users. */
export function readUsers(answer: unknown): GuestUser[] {
  return records(answer).flatMap(({ user, 'login-time': seconds }) => {
    const name = text(user)
    if (name === undefined || typeof seconds !== 'number' || Math.abs(seconds) > 8.64e12) return []
    return [{ name, loginAt: new Date(seconds * 1000).toISOString() }]
  })
}
