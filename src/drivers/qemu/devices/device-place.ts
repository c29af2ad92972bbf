/** What all devices have to know of the machine they are put in. */
import type { Disk } from '../../../model/index.ts'
import { type MachineFamily, pciRoot } from '../board/machine-type.ts'
import type { Fields } from '../definition/key-value.ts'
import { unsupported } from '../definition/unsupported.ts'
import type { TapDescriptors } from '../network/taps.ts'
import type { GuestPaths } from '../paths.ts'

export interface Place {
  readonly family: MachineFamily
  readonly paths: GuestPaths
  /** Version of QEMU. */
  readonly version?: string
  /** Queues of what has one for each processor; absent where that is QEMU's to say. */
  readonly queues?: number | undefined
  /** Where disks sit on the controller of the chip set. */
  readonly drives: ReadonlyMap<Disk, Fields>
  /** Numbers of open taps, by the alias of the card; only a machine that is started gets any. */
  readonly taps?: TapDescriptors
}

type Address = Disk['address']

/** Where on the PCI bus, when the definition says so; else QEMU takes the next place. */
export function pci(address: Address, { family }: Pick<Place, 'family'>): Fields {
  if (address?.type !== 'pci') return {}
  const { domain = '0', bus = '0', slot = '0', function: unit = '0' } = address
  if (Number(domain) !== 0) throw unsupported('address', 'only PCI domain 0 is there')
  const root = pciRoot(family)
  return {
    bus: Number(bus) === 0 ? root : `pci.${Number(bus)}`,
    addr: `0x${Number(slot).toString(16)}.0x${Number(unit).toString(16)}`,
    multifunction: address.multifunction ? true : undefined,
  }
}
