/**
 * A driver without a hypervisor: its guests exist only in memory, behave like real ones, and go wrong when
 * told to. To try visor out, and to test what stands in front of drivers.
 */
import type { Driver } from '../../driver/index.ts'
import { openTest } from './connection.ts'

export { faultsOf, type TestFaults } from './connection.ts'
export type { Faults, FaultTarget } from './faults.ts'

export const driver: Driver = {
  scheme: 'test',
  domainTypes: ['test'],
  async probe() {
    return {
      driver: 'test',
      available: true,
      kind: 'none',
      hosting: 'library',
      checks: [
        {
          id: 'memory-only',
          title: 'Test driver',
          status: 'pass',
          detail: 'It runs nothing and needs nothing; its guests exist only in memory.',
        },
      ],
    }
  },
  open: openTest,
}
