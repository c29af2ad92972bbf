/** I/O threads that come and go, and the processors of the host that threads run on, changed while a machine runs. */
import { availableParallelism } from 'node:os'
import type { SetIoThreadOptions, SetPinOptions } from '../../../driver/index.ts'
import { hostFiles, pinThread, threadsOf } from '../../../host/index.ts'
import { type DomainDefinition, parseCpuSet, VisorError } from '../../../model/index.ts'
import { checkHostProcessors } from '../board/checks/check-board.ts'
import { ioThreadIds, ioThreadProperties } from '../board/processors/processors.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Machine } from '../machine/machine.ts'
import { namedThreads, placeThreads } from '../machine/placement/place-threads.ts'
import { limitMachineThreads } from '../machine/placement/thread-limits.ts'
import type { Registry } from '../registry.ts'
import { changeDomain } from './affect.ts'

export function settingIoThread(context: Context, registry: Registry) {
  return async function setIoThread(uuid: string, options: SetIoThreadOptions): Promise<void> {
    registry.definition(uuid)
    const { id, remove = false } = options
    const wanted = settingsOf(options)
    if (remove && Object.values(wanted).some((value) => value !== undefined))
      throw new VisorError('invalid-argument', `I/O thread ${id} cannot be removed and changed at once.`)
    const edit = <D extends DomainDefinition>(definition: D): D =>
      remove ? withoutThread(definition, id) : withThread(definition, id, wanted)
    await changeDomain(context, registry, uuid, options, {
      reason: 'iothreads',
      edit,
      apply: (machine) =>
        recorded(machine, edit, (after) =>
          remove ? drop(machine, id) : provide(context, machine, id, after),
        ),
    })
  }
}

export function settingPin(context: Context, registry: Registry) {
  return async function setPin(uuid: string, options: SetPinOptions): Promise<void> {
    registry.definition(uuid)
    const { vcpu, iothread, emulator, cpuset } = options
    if ([vcpu !== undefined, iothread !== undefined, emulator === true].filter(Boolean).length !== 1)
      throw new VisorError(
        'invalid-argument',
        'One is pinned at a time: a vcpu, an iothread or the emulator.',
      )
    checkHostProcessors('cpuset', cpuset)
    const edit = <D extends DomainDefinition>(definition: D): D => withPin(definition, options)
    await changeDomain(context, registry, uuid, options, {
      reason: 'pins',
      edit,
      apply: (machine) => recorded(machine, edit, (after) => pin(machine, options, after)),
    })
  }
}

/** First, so that a later daemon tells what is so, or was about to be; taken back when it fails. */
async function recorded(
  machine: Machine,
  edit: (definition: CompleteDefinition) => CompleteDefinition,
  work: (after: CompleteDefinition) => Promise<void>,
): Promise<void> {
  const { definition: before } = machine.details
  const after = edit(before)
  await machine.record({ definition: after })
  try {
    await work(after)
  } catch (error) {
    await machine.record({ definition: before })
    throw error
  }
}

type Settings = Omit<
  SetIoThreadOptions,
  'id' | 'remove' | 'live' | 'config' | 'signal' | 'progress' | 'onJob'
>

function settingsOf({
  pollMaximumNs,
  pollGrow,
  pollShrink,
  minimumWorkers,
  maximumWorkers,
}: Settings): Settings {
  const all = { pollMaximumNs, pollGrow, pollShrink, minimumWorkers, maximumWorkers }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

function withThread<D extends DomainDefinition>(definition: D, id: number, wanted: Settings): D {
  const ids = [...new Set([...ioThreadIds(definition), id])].sort((a, b) => a - b)
  const known = new Map(definition.iothreadIds.map((one) => [one.id, one]))
  const iothreadIds = ids.map((one) => ({ ...known.get(one), id: one, ...(one === id ? wanted : {}) }))
  return { ...definition, iothreads: ids.length, iothreadIds }
}

function withoutThread<D extends DomainDefinition>(definition: D, id: number): D {
  const { name, devices, cputune } = definition
  const ids = ioThreadIds(definition)
  if (!ids.includes(id)) throw noThread(name, id)
  const used = [
    ...devices.disks.flatMap(({ ioThread, target }) => (ioThread === id ? [target] : [])),
    ...devices.controllers.flatMap(({ ioThread, type }) => (ioThread === id ? [`a ${type} controller`] : [])),
  ]
  if (used.length > 0)
    throw new VisorError('invalid-state', `I/O thread ${id} of domain '${name}' serves ${used.join(', ')}.`, {
      object: { kind: 'domain', name },
      remedy: 'Detach it first, or attach it to another thread.',
    })
  const known = new Map(definition.iothreadIds.map((one) => [one.id, one]))
  const left = ids.filter((one) => one !== id)
  const { iothreads: _, ...rest } = definition
  const pins = cputune?.iothreadPins.filter(({ iothread }) => iothread !== id) ?? []
  return {
    ...rest,
    ...(left.length > 0 ? { iothreads: left.length } : {}),
    iothreadIds: left.map((one) => ({ ...known.get(one), id: one })),
    ...(cputune ? { cputune: { ...cputune, iothreadPins: pins } } : {}),
  } as D
}

const noThread = (name: string, id: number) =>
  new VisorError('not-found', `Domain '${name}' has no I/O thread ${id}.`, {
    object: { kind: 'domain', name },
  })

/** Makes the thread, or changes it where it is there, and puts it where the definition wants it. */
async function provide(
  { cgroups }: Context,
  { monitor, guest }: Machine,
  id: number,
  definition: CompleteDefinition,
): Promise<void> {
  const properties = ioThreadProperties(definition.iothreadIds.find((one) => one.id === id))
  const given = Object.entries(properties).filter(([, value]) => value !== undefined)
  // QEMU has the word: a daemon may have been killed between it and the record.
  const { threads } = await namedThreads(monitor)
  if (threads.has(String(id))) {
    for (const [property, value] of given)
      await monitor.execute('qom-set', { path: `/objects/iothread${id}`, property, value })
    return
  }
  const fields = Object.fromEntries(given)
  await monitor.execute('object-add', { 'qom-type': 'iothread', id: `iothread${id}`, ...fields })
  try {
    await placeThreads(definition, guest.identity.pid, monitor)
    await limitMachineThreads(cgroups, { guest, definition, monitor })
  } catch (error) {
    await monitor.execute('object-del', { id: `iothread${id}` })
    throw error
  }
}

async function drop({ monitor }: Machine, id: number): Promise<void> {
  const { threads } = await namedThreads(monitor)
  if (threads.has(String(id))) await monitor.execute('object-del', { id: `iothread${id}` })
}

function withPin<D extends DomainDefinition>(
  definition: D,
  { vcpu, iothread, emulator, cpuset }: SetPinOptions,
): D {
  const { name, vcpus, cputune } = definition
  if (vcpu !== undefined && vcpu >= vcpus)
    throw new VisorError('not-found', `Domain '${name}' has no virtual processor ${vcpu}.`)
  if (iothread !== undefined && !ioThreadIds(definition).includes(iothread)) throw noThread(name, iothread)
  const none = { vcpuPins: [], iothreadPins: [], vcpuSchedulers: [], iothreadSchedulers: [] }
  const { emulatorPin, ...before } = { ...none, ...cputune }
  const vcpuPins = before.vcpuPins.filter((one) => one.vcpu !== vcpu)
  const iothreadPins = before.iothreadPins.filter((one) => one.iothread !== iothread)
  if (cpuset !== undefined && vcpu !== undefined) vcpuPins.push({ vcpu, cpuset })
  if (cpuset !== undefined && iothread !== undefined) iothreadPins.push({ iothread, cpuset })
  const ofEmulator = emulator ? cpuset : emulatorPin
  return {
    ...definition,
    cputune: {
      ...before,
      vcpuPins: vcpuPins.sort((a, b) => a.vcpu - b.vcpu),
      iothreadPins: iothreadPins.sort((a, b) => a.iothread - b.iothread),
      ...(ofEmulator === undefined ? {} : { emulatorPin: ofEmulator }),
    },
  }
}

/** A thread without a pin runs where its machine may, or anywhere. */
async function pin(
  { monitor, guest, details }: Machine,
  { vcpu, iothread, cpuset }: SetPinOptions,
  { vcpuCpuset, cputune }: CompleteDefinition,
): Promise<void> {
  const { processors, threads } = await namedThreads(monitor)
  const other = iothread === undefined ? vcpuCpuset : (cputune?.emulatorPin ?? vcpuCpuset)
  const cpus = parseCpuSet(cpuset ?? other ?? online())
  if (vcpu !== undefined || iothread !== undefined) {
    const tid = vcpu === undefined ? threads.get(String(iothread)) : processors.get(String(vcpu))
    // A processor that is not plugged in has its place when it comes.
    if (tid !== undefined) await pinThread(tid, cpus)
    return
  }
  // Those without a pin of their own among the I/O threads go with it.
  const pinned = new Set(details.definition.cputune?.iothreadPins.map((one) => String(one.iothread)))
  const own = [...threads].flatMap(([id, tid]) => (pinned.has(id) ? [tid] : []))
  const named = new Set([...processors.values(), ...own])
  for (const tid of await threadsOf(guest.identity.pid)) if (!named.has(tid)) await pinThread(tid, cpus)
}

function online(): string {
  const text = hostFiles().read('/sys/devices/system/cpu/online')?.trim()
  return text || `0-${availableParallelism() - 1}`
}
