/**
 * A guest for tests that works the devices of a machine `pc` by itself: a boot sector that obeys its serial port.
 *
 * It prints `ready`, and then does what a character says: `7` lets a watchdog ib700 run out and `6` an i6300esb;
 * `x` panics over pvpanic's port and `q` over its PCI device; `c` and a digit prints what CPUID says of the
 * hypervisor (leaf 0x40000000 and on; EAX, EBX, ECX, EDX in hexadecimal digits). Each other it says again, after a
 * colon, which shows that it runs. It says `N` at each interrupt that cannot be masked.
 */
import { writeFile } from 'node:fs/promises'
import { bootDisk } from '../emulator/kvm.ts'

const program =
  '+vwxwI7YjsCO0LwAfMcGCAAQfaMKALr7A7AD7r5tfayEwHQF6NgA6/boxgA8N3QcPDZ0OTx4dBw8cXQgPGN0a1CwOui5AFjotQDr3bpDBLAP' +
  '7uvVugUFsAHu681mvTYbEQDoswAmxgYAAAHrvGa9hoCrJeiiADH/6CEAJmbHBgAAAQAAAOgUACZmxwYEAAEAAACzaOjGALAC7uuNJscGDACA' +
  'ACbHBgwAhgDD6EQAZoPgD2YNAAAAQA+iZlJmUWZT6BcAZljoEgBmWOgNAGZY6AgAsAroKADpT/+5CABmk2bBwwSI2CQPPAocaS/oEADi7sO6' +
  '/QPsqAF0+7r4A+zDUlC6/QPsqCB0+1i6+APuWsNQsE7o6f9Yz2a5AAAAgLMA6DoAZu1mOeh0GGaBwQAIAABm98EAAAEAdOSwP+jA/+nn/rMQ' +
  '6BYAZrgAAAoAZu+zBOgJALAH7rgAoI7Aw2YPtsNmCci6+Axm77r8DMNyZWFkeQoA'

/** Writes the guest's disk. */
export function writeProbeDisk(path: string): Promise<void> {
  return writeFile(path, bootDisk(program))
}
