/** What the firmware of this host says of its machine (SMBIOS), as the kernel shows it: sysfs, class/dmi/id. */
import type { HostFiles } from '../../../host/index.ts'
import type { SystemInformation } from '../../../model/index.ts'

/** Tables that libvirt's mode 'host' gives on: what the kernel calls their entries, and QEMU. */
const tables = {
  bios: { bios_vendor: 'vendor', bios_version: 'version', bios_date: 'date', bios_release: 'release' },
  system: {
    sys_vendor: 'manufacturer',
    product_name: 'product',
    product_version: 'version',
    product_serial: 'serial',
    product_sku: 'sku',
    product_family: 'family',
  },
  baseBoard: {
    board_vendor: 'manufacturer',
    board_name: 'product',
    board_version: 'version',
    board_serial: 'serial',
    board_asset_tag: 'asset',
  },
} as const

type HostTables = Pick<SystemInformation, keyof typeof tables>

/** Undefined where the host has no such firmware, or shows nothing of it. Serial numbers are for root to read. */
export function readHostIdentity(files: HostFiles): HostTables | undefined {
  const read = (names: Readonly<Record<string, string>>) =>
    Object.entries(names).flatMap(([file, name]) => {
      const value = files.read(`/sys/class/dmi/id/${file}`)?.trim()
      return value ? [{ name, value }] : []
    })
  const found = { bios: read(tables.bios), system: read(tables.system), baseBoard: read(tables.baseBoard) }
  return Object.values(found).every((entries) => entries.length === 0) ? undefined : found
}
