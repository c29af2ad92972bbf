/** Machines run by QEMU, emulated (TCG) or with the help of the processor (KVM). */
import { type Driver, operationList } from '../../driver/index.ts'
import { openQemu } from './connection.ts'
import { probe } from './emulator/probe.ts'

/** What stands in front of drivers, or is of the storage and the networks. */
const foreign = [
  'jobs',
  'images',
  'pools',
  'volumes',
  'uploads',
  'secrets',
  'schedules',
  'networks',
  'nwfilters',
  'hostBridges',
  'groups',
  'publications',
  'reach',
]
/** Rows of the table that this driver has not, by part or by name. */
const absent: readonly string[] = [
  // QEMU has no command that reads the screen as text.
  'domains.screenText',
]

export const driver: Driver = {
  scheme: 'qemu',
  domainTypes: ['qemu', 'kvm'],
  operations: operationList.flatMap(({ name, part }) =>
    foreign.includes(part) || absent.includes(part) || absent.includes(name) ? [] : [name],
  ),
  probe,
  open: openQemu,
}
