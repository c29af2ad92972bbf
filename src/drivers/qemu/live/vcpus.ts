/**
 * Virtual processors, plugged in and out. They come in the order of QEMU's list and go in the opposite one, so that
 * a state saved meanwhile fits a machine that is started with their number.
 */
import type { SetVcpusOptions } from '../../../driver/index.ts'
import { type DomainDefinition, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { Machine } from '../machine/machine.ts'

import { placeProcessors } from '../machine/placement/place-threads.ts'
import { limitMachineThreads } from '../machine/placement/thread-limits.ts'

import { isRecord } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { needsAcpi } from './acpi.ts'
import { affected, changeDomain, onlyInDefinition } from './affect.ts'
import { unplug } from './unplug.ts'

export function settingVcpus(context: Context, registry: Registry) {
  return async function setVcpus(uuid: string, options: SetVcpusOptions): Promise<void> {
    const { count, maximum = false, signal } = options
    const { machine, config } = affected(registry, uuid, options)
    if (machine && maximum) throw onlyInDefinition(registry, uuid, 'The most processors')
    if (config && !maximum) checkCount(count, registry.definition(uuid))
    await changeDomain(context, registry, uuid, options, {
      reason: 'vcpus',
      edit: (definition) => (maximum ? withMaximum(definition, count) : withVcpus(definition, count)),
      async apply(running) {
        try {
          const { guest, details, monitor } = running
          const { vcpus, currentVcpus: had = vcpus } = details.definition
          await plugTo(running, count, signal)
          await placeProcessors(details.definition, monitor, (index) => index >= had)
          await limitMachineThreads(context.cgroups, { guest, definition: details.definition, monitor })
        } finally {
          // As far as it came: what a guest was given it keeps.
          await noteProcessors(running)
        }
      },
    })
  }
}

function checkCount(count: number, { name, vcpus }: DomainDefinition): void {
  if (count <= vcpus) return
  throw new VisorError(
    'invalid-argument',
    `Domain '${name}' can have at most ${vcpus} processors, not ${count}.`,
    { remedy: 'Raise the maximum first; that is of the next start only.' },
  )
}

/** The definition with so many processors at start. */
function withVcpus<D extends DomainDefinition>(definition: D, count: number): D {
  const { currentVcpus: _, ...rest } = definition
  const vcpuStates = definition.vcpuStates.map((one) => ({ ...one, enabled: one.id < count }))
  return { ...rest, vcpuStates, ...(count === definition.vcpus ? {} : { currentVcpus: count }) } as D
}

/** The definition with another maximum: all of them at start where all were, else as many as there were. */
function withMaximum(definition: DomainDefinition, maximum: number): DomainDefinition {
  const { vcpus, currentVcpus = vcpus } = definition
  const count = currentVcpus === vcpus ? maximum : Math.min(currentVcpus, maximum)
  const vcpuStates = definition.vcpuStates.filter(({ id }) => id < maximum)
  return withVcpus({ ...definition, vcpus: maximum, vcpuStates }, count)
}

/** A place for processors: a thread, core or socket, as the machine has it. */
interface Slot {
  readonly index: number
  readonly driver: string
  readonly props: Readonly<Record<string, unknown>>
  readonly vcpus: number
  /** Where the processor there is; absent where the place is empty. */
  readonly path: string | undefined
}

async function readSlots({ monitor, details }: Machine, timeoutMs?: number): Promise<Slot[]> {
  const options = timeoutMs === undefined ? {} : { timeoutMs }
  const answer = await monitor.execute('query-hotpluggable-cpus', undefined, options).catch((cause) => {
    const { name, os } = details.definition
    throw new VisorError(
      'invalid-state',
      `Domain '${name}' is a '${os.machine}', whose processors stay as they are while it runs.`,
      { remedy: 'Change them for the next start only (config).', cause },
    )
  })
  // Told from the last to the first.
  const entries = (Array.isArray(answer) ? answer.filter(isRecord) : []).reverse()
  return entries.map(({ type, props, 'vcpus-count': vcpus, 'qom-path': path }, index) => ({
    index,
    driver: String(type),
    props: isRecord(props) ? props : {},
    vcpus: Number(vcpus),
    path: typeof path === 'string' ? path : undefined,
  }))
}

const plugged = (slots: readonly Slot[]): number =>
  slots.reduce((sum, { path, vcpus }) => sum + (path === undefined ? 0 : vcpus), 0)

/** Plugs processors in or out until there are `count`. */
async function plugTo(machine: Machine, count: number, signal: AbortSignal | undefined): Promise<void> {
  const slots = await readSlots(machine)
  checkReachable(machine, slots, count)
  let present = plugged(slots)
  if (present > count) checkUnplug(machine.details.definition)
  for (const slot of slots) {
    if (present >= count) break
    if (slot.path !== undefined) continue
    const device = { driver: slot.driver, id: `vcpu${slot.index}`, ...slot.props }
    await machine.monitor.execute('device_add', device).catch((error: unknown) => {
      throw needsAcpi(machine.details.definition, 'processors') ?? error
    })
    present += slot.vcpus
  }
  for (const slot of slots.toReversed()) {
    if (present <= count) break
    if (slot.path === undefined) continue
    await unplugSlot(machine, slot, signal)
    present -= slot.vcpus
  }
}

/** Those that were plugged in are named by an id, those of the start by their path alone. */
function unplugSlot(machine: Machine, { path = '', index }: Slot, signal: AbortSignal | undefined) {
  return unplug(machine, {
    device: /^\/machine\/peripheral\/([^/]+)$/u.exec(path)?.[1] ?? path,
    what: `processor ${index}`,
    slot: String(index),
    signal,
    isGone: async () => (await readSlots(machine))[index]?.path === undefined,
  })
}

/**
 * QEMU's emulator goes on writing to the memory of a processor that is gone: seen with 7.2, whose next processor that
 * is plugged in then ends it. With the host's processors (KVM) there is nothing of the kind.
 */
function checkUnplug({ type, name }: DomainDefinition): void {
  if (type === 'kvm') return
  throw new VisorError(
    'unsupported-config',
    `Domain '${name}' is emulated, and QEMU cannot unplug emulated processors without harm.`,
    {
      path: 'type',
      remedy: 'Take them offline in the guest, or change their number for the next start only (config).',
    },
  )
}

function checkReachable({ details }: Machine, slots: readonly Slot[], count: number): void {
  const { name } = details.definition
  const most = slots.reduce((sum, { vcpus }) => sum + vcpus, 0)
  if (count > most)
    throw new VisorError(
      'invalid-argument',
      `Domain '${name}' can have at most ${most} processors, not ${count}, while it runs.`,
      { remedy: 'Raise the maximum of its definition, and start it anew.' },
    )
  const step = slots[0]?.vcpus ?? 1
  if (count % step !== 0)
    throw new VisorError(
      'invalid-argument',
      `The processors of domain '${name}' come by ${step}; ${count} is no multiple of that.`,
    )
}

/** Notes how many processors the machine has, by what QEMU says; whether that is news. */
export async function noteProcessors(machine: Machine, timeoutMs?: number): Promise<boolean> {
  const { definition } = machine.details
  const count = plugged(await readSlots(machine, timeoutMs))
  if (count === 0 || count === (definition.currentVcpus ?? definition.vcpus)) return false
  await machine.record({ definition: withVcpus(definition, count) })
  return true
}
