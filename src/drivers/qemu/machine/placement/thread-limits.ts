/** Processor time of single threads of a machine: `period` and `quota` of its processors, emulator and I/O threads. */
import {
  type CgroupHierarchy,
  type GuestProcess,
  type ThreadGroup,
  threadsOf,
} from '../../../../host/index.ts'
import type { DomainDefinition } from '../../../../model/index.ts'
import type { QmpClient } from '../../qmp/index.ts'
import { namedThreads } from './place-threads.ts'

export interface Limited {
  readonly guest: GuestProcess
  readonly definition: DomainDefinition
  readonly monitor: QmpClient
}

/**
 * Holds the threads that there are now to what the definition says; call it again when there are more. Threads that
 * others make stay in the group of those. Fails with `unsupported-config` where this host cannot.
 */
export async function limitMachineThreads(
  hierarchies: readonly CgroupHierarchy[],
  { guest, definition: { cputune }, monitor }: Limited,
): Promise<void> {
  const vcpu = limitOf(cputune?.vcpuPeriodUs, cputune?.vcpuQuotaUs)
  const emulator = limitOf(cputune?.emulatorPeriodUs, cputune?.emulatorQuotaUs)
  const iothread = limitOf(cputune?.iothreadPeriodUs, cputune?.iothreadQuotaUs)
  if (!vcpu && !emulator && !iothread) return
  const { processors, threads } = await namedThreads(monitor)
  const each = (name: string, limit: Limit | undefined, ids: ReadonlyMap<string, number>): ThreadGroup[] =>
    limit ? [...ids].map(([id, thread]) => ({ name: `${name}${id}`, threads: [thread], ...limit })) : []
  const named = new Set([...processors.values(), ...threads.values()])
  const { pid } = guest.identity
  const ofEmulator = (ids: readonly number[]) =>
    emulator ? [{ name: 'emulator', threads: ids, ...emulator }] : []
  // Its main thread first: what that makes from then on is in its group already.
  if (emulator) await guest.limitThreads(hierarchies, ofEmulator([pid]))
  const others = emulator ? (await threadsOf(pid)).filter((thread) => !named.has(thread)) : []
  await guest.limitThreads(hierarchies, [
    ...each('vcpu', vcpu, processors),
    ...each('iothread', iothread, threads),
    ...ofEmulator(others),
  ])
}

type Limit = Pick<ThreadGroup, 'cpuPeriodUs' | 'cpuQuotaUs'>

function limitOf(cpuPeriodUs: number | undefined, cpuQuotaUs: number | undefined): Limit | undefined {
  return cpuPeriodUs === undefined && cpuQuotaUs === undefined ? undefined : { cpuPeriodUs, cpuQuotaUs }
}
