/** Changes of machines while they run, and of their definitions in the same way. */
import type { Domains } from '../../../driver/index.ts'
import type { Context } from '../context.ts'
import type { Machine } from '../machine/machine.ts'
import type { Registry } from '../registry.ts'
import { settingLimits } from './limits.ts'
import { noteMemory, settingMemory, settingStatsPeriod } from './memory.ts'
import { settingIoThread, settingPin } from './threads.ts'
import { noteProcessors, settingVcpus } from './vcpus.ts'

type Changes = Required<
  Pick<Domains, 'setVcpus' | 'setMemory' | 'setMemoryStatsPeriod' | 'setLimits' | 'setIoThread' | 'setPin'>
>

/** What a monitor that works needs to answer. */
const answerMs = 2_000

export function liveChanges(context: Context, registry: Registry): Changes {
  return {
    setVcpus: settingVcpus(context, registry),
    setMemory: settingMemory(context, registry),
    setMemoryStatsPeriod: settingStatsPeriod(context, registry),
    setLimits: settingLimits(context, registry),
    setIoThread: settingIoThread(context, registry),
    setPin: settingPin(context, registry),
  }
}

/** Sees to what the guest does later than it was asked to. */
export function followChanges({ log }: Context, registry: Registry) {
  return (machine: Machine): void => {
    machine.interceptors.add(({ event, data }) => {
      const isProcessor = /^\/machine\/(?:unattached|peripheral\/vcpu\d+)\//u.test(`${data.path}/`)
      if (event === 'DEVICE_DELETED' && isProcessor)
        void noteProcessors(machine).then(
          (hasChanged) =>
            hasChanged &&
            registry.tell(machine.details.definition.uuid, { type: 'changed', reason: 'vcpus' }),
          (error: unknown) => log.warn({ error: String(error) }, 'The processors could not be counted.'),
        )
      return false
    })
  }
}

/** Asks QEMU of a machine that was found again what changed meanwhile. Never fails. */
export async function settleChanges({ log }: Context, machine: Machine): Promise<void> {
  const { vcpus, name } = machine.details.definition
  const steps = [noteMemory(machine, answerMs), ...(vcpus > 1 ? [noteProcessors(machine, answerMs)] : [])]
  for (const step of await Promise.allSettled(steps))
    if (step.status === 'rejected')
      log.warn({ domain: name, error: String(step.reason) }, 'A change could not be looked up.')
}
