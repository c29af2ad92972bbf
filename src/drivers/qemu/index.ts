/** Machines run by QEMU, emulated (TCG) or with the help of the processor (KVM). */
import { type Driver, operationList } from '../../driver/index.ts'
import { openQemu } from './connection.ts'
import { probe } from './probe.ts'

export const driver: Driver = {
  scheme: 'qemu',
  domainTypes: ['qemu', 'kvm'],
  // QEMU has no command that reads the screen as text.
  operations: operationList.flatMap(({ name, part }) =>
    (part === 'host' || part === 'domains') && name !== 'domains.screenText' ? [name] : [],
  ),
  probe,
  open: openQemu,
}
