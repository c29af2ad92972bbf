import { conformMachine } from './machine.ts'

conformMachine('v86', 'v86:///session')
