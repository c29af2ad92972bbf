/** The memory that a guest has of what there is: its balloon takes the rest. */
import type { SetMemoryOptions, SetMemoryStatsPeriodOptions } from '../../../driver/index.ts'
import { type DomainDefinition, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { affected, changeDomain, onlyInDefinition } from './affect.ts'

export function settingMemory(context: Context, registry: Registry) {
  return async function setMemory(uuid: string, options: SetMemoryOptions): Promise<void> {
    const { memoryKiB, maximum = false } = options
    const { machine, config } = affected(registry, uuid, options)
    if (machine && maximum) throw onlyInDefinition(registry, uuid, 'The most memory')
    if (machine) checkRoom(memoryKiB, machine.details.definition)
    if (config && !maximum) checkRoom(memoryKiB, registry.definition(uuid))
    if (machine) checkBalloon(machine.details.definition)
    await changeDomain(context, registry, uuid, options, {
      reason: 'memory',
      edit: (definition) =>
        maximum ? withMaximum(definition, memoryKiB) : withMemory(definition, memoryKiB),
      apply: (running) => inflate(running, memoryKiB),
    })
  }
}

export function settingStatsPeriod(context: Context, registry: Registry) {
  return async function setMemoryStatsPeriod(
    uuid: string,
    options: SetMemoryStatsPeriodOptions,
  ): Promise<void> {
    const { seconds } = options
    const { machine, config } = affected(registry, uuid, options)
    if (machine) checkBalloon(machine.details.definition)
    if (config) checkBalloon(registry.definition(uuid))
    await changeDomain(context, registry, uuid, options, {
      reason: 'memory-stats',
      edit: (definition) => withStatsPeriod(definition, seconds),
      async apply(running) {
        const { definition } = running.details
        await running.monitor.execute('qom-set', {
          path: `/machine/peripheral/${definition.devices.memballoon?.alias}`,
          property: 'guest-stats-polling-interval',
          value: seconds,
        })
        await running.record({ definition: withStatsPeriod(definition, seconds) })
      },
    })
  }
}

function withStatsPeriod<D extends DomainDefinition>(definition: D, seconds: number): D {
  const { memballoon } = definition.devices
  if (!memballoon) return definition
  const { statsPeriodSeconds: _, ...rest } = memballoon
  const next = { ...rest, ...(seconds > 0 ? { statsPeriodSeconds: seconds } : {}) }
  return { ...definition, devices: { ...definition.devices, memballoon: next } }
}

function checkRoom(wanted: number, { name, memoryKiB }: DomainDefinition): void {
  if (wanted <= memoryKiB) return
  throw new VisorError(
    'invalid-argument',
    `Domain '${name}' can have at most ${memoryKiB} KiB of memory, not ${wanted} KiB.`,
    { remedy: 'Raise the maximum first; that is of the next start only.' },
  )
}

function checkBalloon({ name, devices }: CompleteDefinition): void {
  if (devices.memballoon && devices.memballoon.model !== 'none') return
  throw new VisorError(
    'invalid-state',
    `Domain '${name}' has no balloon, so nothing is known of its memory, which stays as it is while it runs.`,
    {
      object: { kind: 'domain', name },
      remedy: 'Change it for the next start only (config), or give it a memballoon and start it anew.',
    },
  )
}

/** The definition with so much memory given to the guest. */
function withMemory<D extends DomainDefinition>(definition: D, memoryKiB: number): D {
  const { currentMemoryKiB: _, ...rest } = definition
  return { ...rest, ...(memoryKiB === definition.memoryKiB ? {} : { currentMemoryKiB: memoryKiB }) } as D
}

/** The definition with other memory: all of it given where all was, else as much as there was. */
function withMaximum(definition: DomainDefinition, maximum: number): DomainDefinition {
  const { memoryKiB, currentMemoryKiB = memoryKiB } = definition
  const given = currentMemoryKiB === memoryKiB ? maximum : Math.min(currentMemoryKiB, maximum)
  return withMemory({ ...definition, memoryKiB: maximum }, given)
}

/** Asks the guest; it follows when it likes, and an event tells how far it is. */
async function inflate(machine: Machine, memoryKiB: number): Promise<void> {
  const { definition } = machine.details
  // First, so that a later daemon asks for it when this one did not come so far.
  await machine.record({ definition: withMemory(definition, memoryKiB) })
  try {
    await machine.monitor.execute('balloon', { value: memoryKiB * 1024 })
  } catch (error) {
    await machine.record({ definition })
    throw error
  }
}

/** Notes how much memory the guest has, and asks again for what it was to have. */
export async function noteMemory(machine: Machine, timeoutMs: number): Promise<void> {
  const { memballoon, memoryKiB, currentMemoryKiB = memoryKiB } = withBalloon(machine)
  if (!memballoon || memballoon.model === 'none') return
  const answer = await machine.monitor.execute('query-balloon', undefined, { timeoutMs })
  const actual = isRecord(answer) ? Math.floor(Number(answer.actual) / 1024) : memoryKiB
  machine.setState({ ...machine.state, memoryKiB: actual })
  if (actual !== currentMemoryKiB)
    await machine.monitor.execute('balloon', { value: currentMemoryKiB * 1024 }, { timeoutMs })
}

function withBalloon({ details: { definition } }: Machine) {
  return { ...definition, memballoon: definition.devices.memballoon }
}
