/** Memory that programs beside QEMU see too. Source: QEMU's docs/system/devices/vhost-user.rst. */
import type { DomainDefinition } from '../../../../model/index.ts'
import { unsupported } from '../../definition/unsupported.ts'

type Machine = Pick<DomainDefinition, 'devices' | 'memoryBacking' | 'cpu'>

/** What of a machine is served by a program that reads and writes the memory of the guest. */
export function servedBeside({ devices }: Pick<Machine, 'devices'>): { path: string; what: string }[] {
  const { filesystems, interfaces, disks } = devices
  return [
    ...filesystems.flatMap(({ driver }, index) =>
      driver === 'virtiofs' ? [{ path: `devices.filesystems[${index}].driver`, what: driver }] : [],
    ),
    ...interfaces.flatMap(({ type }, index) =>
      type === 'vhostuser' ? [{ path: `devices.interfaces[${index}].type`, what: type }] : [],
    ),
    ...disks.flatMap(({ type }, index) =>
      type === 'vhostuser' ? [{ path: `devices.disks[${index}].type`, what: type }] : [],
    ),
  ]
}

/** Whether others than QEMU have to see the memory of the machine. */
export const needsSharedMemory = (machine: Pick<Machine, 'devices'>): boolean =>
  servedBeside(machine).length > 0

/** Fails with `unsupported-config` where they have to and the definition wants it private. */
export function checkSharedMemory(machine: Machine): void {
  const { memoryBacking, cpu } = machine
  const [first] = servedBeside(machine)
  const isPrivate =
    memoryBacking?.access === 'private' || cpu?.numa.some(({ access }) => access === 'private') === true
  if (first && isPrivate)
    throw unsupported(
      first.path,
      `'${first.what}' needs memory that is shared with the program that serves it, and the definition wants it private`,
      "Leave the access of memory out, or make it 'shared'.",
    )
}
