/** Machines run by QEMU, emulated (TCG) or with the help of the processor (KVM). */
import type { Driver } from '../../driver/index.ts'
import { openQemu } from './connection.ts'
import { probe } from './probe.ts'

export const driver: Driver = {
  scheme: 'qemu',
  domainTypes: ['qemu', 'kvm'],
  probe,
  open: openQemu,
}
