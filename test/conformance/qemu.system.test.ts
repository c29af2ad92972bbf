import { conformMachine } from './machine.ts'

conformMachine('qemu', 'qemu:///system')
