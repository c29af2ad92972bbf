/**
 * A guest for tests that needs no kernel: a boot sector that answers on its serial port within milliseconds.
 *
 * It prints `ready` and then, for each character it gets, how many it has got since it was booted and the
 * character: `:0001a`. `p` powers off, as the power button does; `r` resets; `f` prints 65535 times `x`.
 */
import { writeFile } from 'node:fs/promises'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { bootDisk } from '../emulator/kvm.ts'

const program =
  '+jHAjtiO0LwAfOoPfAAAugIGuAAB776qfOhxALoABu32xAF1SLr9A+yoAXTvuvgD7DxwdDg8cnQ9PGZ0P1D/Bqh8sDroUACLHqh8uQQA' +
  'wcMEiNgkDwQwPDl2AgQn6DcA4uxY6DEAsAroLADrr7oEBrgAIO/rprD+5mTr/rn//7B46BMA4vmwCugMAOuPrITAdBXoAgDr9ojEuv0D' +
  '7KggdPu6+AOI4O7DAAByZWFkeQo='

/** Writes the guest's disk. */
export function writeTestDisk(path: string): Promise<void> {
  return writeFile(path, bootDisk(program))
}

/** A machine that boots it. */
export function testDefinition(
  name: string,
  disk: string,
  more: DomainDefinitionInput['devices'] = {},
): DomainDefinitionInput {
  return {
    type: 'qemu',
    name,
    memoryKiB: 32 * 1024,
    devices: {
      disks: [{ file: disk, target: 'vda', readonly: true }],
      serials: [{}],
      ...more,
    },
  }
}
