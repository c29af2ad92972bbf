/** A device by itself, and how one is found among those of a definition. */
import {
  Devices,
  type DevicesInput,
  type DomainDefinition,
  type MemoryDevice,
  parse,
  VisorError,
} from '../../../model/index.ts'

export type DeviceKind = {
  readonly [K in keyof Devices]-?: Devices[K] extends readonly object[] ? K : never
}[keyof Devices]

/** What all kinds have in common. */
export interface AnyDevice {
  readonly alias?: string
  readonly target?: string
  readonly mac?: string
  readonly name?: string
  readonly file?: string
  readonly block?: string
  readonly address?: Readonly<Record<string, unknown>>
}

export interface OneDevice {
  readonly kind: DeviceKind
  readonly device: AnyDevice
}

/** The device of a `devices` description that has one. Fails with `invalid-argument` for none or several. */
export function onlyDevice(input: DevicesInput): OneDevice {
  const devices = parse(Devices, input, { code: 'invalid-argument' })
  const found = Object.entries(devices).flatMap(([kind, value]) =>
    (Array.isArray(value) && kind !== 'unknown' ? (value as AnyDevice[]) : []).map((device) => ({
      kind: kind as DeviceKind,
      device,
    })),
  )
  const [one, another] = found
  if (!one || another)
    throw new VisorError(
      'invalid-argument',
      `One device is plugged in or out at a time; this describes ${found.length}.`,
      { remedy: "Give one, such as { disks: [{ target: 'vdb', file: '/disk.qcow2' }] }." },
    )
  return one
}

export function withDevice<D extends DomainDefinition>(definition: D, { kind, device }: OneDevice): D {
  const devices = definition.devices as unknown as Record<DeviceKind, readonly AnyDevice[]>
  return {
    ...withMemoryOf(definition, kind, device, 1),
    devices: { ...devices, [kind]: [...devices[kind], device] },
  }
}

/** Without it; what mirrors it (the console of a serial port) goes as well. */
export function without<D extends DomainDefinition>(definition: D, { kind, device }: OneDevice): D {
  const devices = definition.devices as unknown as Record<DeviceKind, readonly AnyDevice[]>
  const rest = devices[kind].filter(
    (one) => one !== device && (one.alias ?? one) !== (device.alias ?? device),
  )
  return { ...withMemoryOf(definition, kind, device, -1), devices: { ...devices, [kind]: rest } }
}

/** The memory of a definition counts its modules, and what is given of it those that are given as a whole. */
function withMemoryOf<D extends DomainDefinition>(
  definition: D,
  kind: DeviceKind,
  device: AnyDevice,
  sign: 1 | -1,
): D {
  if (kind !== 'memories') return definition
  const { sizeKiB, model } = device as unknown as MemoryDevice
  const { memoryKiB, currentMemoryKiB } = definition
  const isGiven = model === 'dimm' || model === 'nvdimm'
  return {
    ...definition,
    memoryKiB: memoryKiB + sign * sizeKiB,
    ...(currentMemoryKiB !== undefined && isGiven
      ? { currentMemoryKiB: Math.max(1, currentMemoryKiB + sign * sizeKiB) }
      : {}),
  }
}

/**
 * The device of a definition that is meant: by alias, else by what is one of a kind among its kind (target,
 * hardware address, name of a channel), else by address, else the only one. Fails with `not-found`, or
 * `invalid-argument` when several fit.
 */
export function findDevice(
  { name, devices }: DomainDefinition,
  { kind, device: wanted }: OneDevice,
): OneDevice {
  const all = (devices as unknown as Record<DeviceKind, readonly AnyDevice[]>)[kind]
  const keys = [
    'alias',
    ...(kind === 'disks' || kind === 'filesystems' ? ['target'] : []),
    'mac',
    'name',
  ] as const
  const key = keys.find((one) => wanted[one as keyof AnyDevice] !== undefined) as keyof AnyDevice | undefined
  const fits = (one: AnyDevice) => {
    if (key !== undefined) return one[key] === wanted[key]
    // There is one screen of each protocol.
    if (kind === 'graphics') return 'type' in one && 'type' in wanted && one.type === wanted.type
    return wanted.address === undefined || isSamePlace(one.address, wanted.address)
  }
  const [found, another] = all.filter(fits)
  if (found && !another) return { kind, device: found }
  const said = key === undefined ? '' : ` '${String(wanted[key])}'`
  if (!found)
    throw new VisorError(
      'not-found',
      `Domain '${name}' has none of its ${kind} that is${said || ' meant'}.`,
      {
        remedy: `It has ${all.map(({ alias, target }) => target ?? alias).join(', ') || 'none'}.`,
        object: { kind: 'device', name: said.trim() || kind },
      },
    )
  throw new VisorError('invalid-argument', `Several of the ${kind} of domain '${name}' fit.`, {
    remedy: `Name one by its alias: ${all.map(({ alias }) => alias).join(', ')}.`,
  })
}

function isSamePlace(
  one: Readonly<Record<string, unknown>> | undefined,
  other: Readonly<Record<string, unknown>>,
): boolean {
  const number = (value: unknown) => Number(value ?? 0)
  return (
    one !== undefined &&
    ['domain', 'controller', 'bus', 'slot', 'function', 'target', 'unit', 'port'].every(
      (key) => number(one[key]) === number(other[key]),
    )
  )
}
