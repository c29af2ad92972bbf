/** Changes what can be changed of a device while its machine runs: media, cables, passwords. */
import { isDeepStrictEqual } from 'node:util'
import type { DeviceOptions, Domains } from '../../../driver/index.ts'
import {
  type Devices,
  Disk,
  type DomainDefinition,
  diffValues,
  Graphics,
  Interface,
  MemoryDevice,
  parse,
  type schema as s,
  VisorError,
} from '../../../model/index.ts'
import type { Context } from '../context.ts'
import { type CompleteDefinition, completeDefinition } from '../definition/definition.ts'
import { setPasswords } from '../devices/screens/screen-passwords.ts'
import { locateVolume } from '../disks/volume-disks.ts'
import type { Machine } from '../machine/machine.ts'
import { changeLink } from '../network/taps.ts'
import type { Registry } from '../registry.ts'
import { changeDomain } from './affect.ts'
import { changeMedium } from './change-medium.ts'
import { areLimitsAlone, changeLimits, withLimitsOf } from './disk-limits.ts'
import { type AnyDevice, findDevice, type OneDevice, onlyDevice } from './one-device.ts'

/** What may differ, by kind of device; everything else needs a new start. */
const changeable: Readonly<Record<string, readonly string[]>> = {
  disks: ['type', 'file', 'block', 'format', 'readonly', 'startupPolicy', 'throttle'],
  interfaces: ['link', 'bridge', 'inbound', 'outbound', 'coalescedFrames', 'filter', 'filterParameters'],
  memories: ['requestedKiB'],
  graphics: ['passwordFile', 'passwordValidTo', 'passwordConnected'],
}
const schemas: Readonly<Record<string, s.Schema>> = {
  disks: Disk,
  interfaces: Interface,
  graphics: Graphics,
  memories: MemoryDevice,
}

type UpdateOptions = DeviceOptions & { readonly force?: boolean }

export function updating(context: Context, registry: Registry): NonNullable<Domains['updateDevice']> {
  return async (uuid: string, options: UpdateOptions) => {
    registry.definition(uuid)
    const given = onlyDevice(options.device)
    await changeDomain(context, registry, uuid, options, {
      reason: 'device-updated',
      edit: (definition) => replaced(definition, given),
      apply: (machine) => update(context, machine, given, options.force ?? false),
    })
  }
}

/** What the given description leaves open stays as it is, but the medium of a drive, which is what is given. */
function replaced<D extends DomainDefinition>(definition: D, given: OneDevice): D {
  const { kind } = given
  const { device } = findDevice(definition, given)
  const isDrive = kind === 'disks' && (device as Disk).device !== 'disk'
  const { file: _file, block: _block, pool: _pool, volume: _volume, ...kept } = device as Disk
  const next = { ...(isDrive ? kept : device), ...withoutStray(given) }
  const list = (definition.devices as unknown as Record<string, readonly AnyDevice[]>)[kind] ?? []
  const all = list.map((one) => (one === device ? next : one))
  const changed = kind === 'disks' ? withLimitsOf(all as Disk[], next as Disk) : all
  return { ...definition, devices: { ...definition.devices, [kind]: changed } as unknown as Devices }
}

/** Values of a filter's variables are of the filter that is given. */
function withoutStray({ kind, device }: OneDevice): object {
  const { filterParameters: _, ...rest } = device as AnyDevice & Partial<Interface>
  return kind === 'interfaces' && rest.filter === undefined ? rest : device
}

async function update(context: Context, machine: Machine, given: OneDevice, force: boolean) {
  const before = machine.details.definition
  const there = await withPlace(context, given)
  const after = await completeDefinition(replaced(structuredClone(before), there), {
    ...context,
    // What is not there now, such as another spare port, cannot come by an update.
    isRunning: true,
  })
  const [old, next] = [findDevice(before, given).device, findDevice(after, given).device]
  checkChangeable(before, given, old, next)
  // Named after: what is given may tell the device by less.
  const alias = String(next.alias)
  await machine.record({ updating: { definition: after, kind: given.kind, alias } })
  try {
    await apply(context, machine, { kind: given.kind, old, next, before, after }, force)
  } catch (error) {
    await machine.record({ updating: undefined }).catch(() => {})
    throw error
  }
  await machine.record({ definition: after, updating: undefined })
}

/** With the place of a medium that is a volume. */
async function withPlace(context: Context, given: OneDevice): Promise<OneDevice> {
  if (given.kind !== 'disks' || !('type' in given.device) || given.device.type !== 'volume') return given
  return { ...given, device: (await locateVolume(context, parse(Disk, given.device))) as OneDevice['device'] }
}

/** Brings a change to its end that a daemon before had begun; where that fails, the device is as it was. */
export async function settleUpdate(context: Context, machine: Machine): Promise<void> {
  const { updating, definition: before } = machine.details
  if (!updating) return
  const { definition: after, kind, alias } = updating
  const named = ({ devices }: CompleteDefinition) =>
    (devices as unknown as Record<string, readonly AnyDevice[]>)[kind]?.find((one) => one.alias === alias)
  const [old, next] = [named(before), named(after)]
  try {
    if (old && next) {
      await apply(context, machine, { kind, old, next, before, after }, true)
      await machine.record({ definition: after })
    }
  } catch (error) {
    context.log.warn({ domain: before.name, error: String(error) }, `A change of '${alias}' was given up.`)
  }
  await machine.record({ updating: undefined })
}

function checkChangeable(
  { name }: DomainDefinition,
  { kind }: OneDevice,
  old: AnyDevice,
  next: AnyDevice,
): void {
  const schema = schemas[kind]
  const isDisk = kind === 'disks' && (old as Disk).device === 'disk'
  const allowed = isDisk ? ['throttle'] : (changeable[kind] ?? [])
  const different = schema ? diffValues(schema, old as never, next as never) : []
  // Whether QEMU asks for a password is settled when it starts.
  const isOpen = kind === 'graphics' && (old as Graphics).passwordFile === undefined
  const [refused] = different.filter(({ path }) => isOpen || !allowed.includes(path.split(/[.[]/u)[0] ?? ''))
  if (schema && !refused) return
  const what = refused ? `'${refused.path}' of ` : ''
  throw new VisorError(
    'unsupported-config',
    `Domain '${name}' runs, so ${what}'${old.alias}' stays as it is meanwhile.`,
    { remedy: 'Change it for the next start only (config).', path: `devices.${kind}` },
  )
}

interface Change {
  readonly kind: string
  readonly old: AnyDevice
  readonly next: AnyDevice
  readonly before: CompleteDefinition
  readonly after: CompleteDefinition
}

async function apply(context: Context, machine: Machine, change: Change, force: boolean): Promise<void> {
  const { kind, old, next } = change
  // The file may hold another password than before.
  if (kind === 'graphics') return setPasswords([next as Graphics], machine.monitor)
  if (kind === 'disks') {
    if (!areLimitsAlone(old as Disk, next as Disk) && (old as Disk).device !== 'disk')
      await changeMedium(context, machine, { ...change, old: old as Disk, next: next as Disk }, force)
    return changeLimits(machine.monitor, old as Disk, next as Disk)
  }
  if (kind === 'memories') return requestMemory(machine, next as unknown as MemoryDevice)
  if (kind === 'interfaces') {
    await changeFilter(context, change)
    await changeLink(old as Interface, next as Interface)
    const up = (next as Interface).link !== 'down'
    await machine.monitor.execute('set_link', { name: next.alias, up })
  }
}

/** What is in force for a card on a network. */
async function changeFilter({ networks }: Context, { old, next, before }: Change): Promise<void> {
  const [one, other] = [old as Interface, next as Interface]
  const of = ({ filter, filterParameters }: Interface) => [filter, filterParameters]
  if (isDeepStrictEqual(of(one), of(other))) return
  await networks?.setFilter(before.uuid, other.mac ?? '', other)
}

/** Has a guest take so much of a module, or give it back; it follows when it likes. */
async function requestMemory({ monitor }: Machine, { alias, requestedKiB = 0 }: MemoryDevice): Promise<void> {
  const path = `/machine/peripheral/${alias}`
  await monitor.execute('qom-set', { path, property: 'requested-size', value: requestedKiB * 1024 })
}
