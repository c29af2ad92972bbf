/**
 * The command line of QEMU for a machine. Nothing passes through a shell; texts of users stand either in an
 * argument of their own, in JSON, or with their commas doubled. Source: qemu(1).
 */
import { actionsOf } from './actions.ts'
import type { CompleteDefinition } from './definition.ts'
import { deviceParts } from './devices.ts'
import { type Emulator, isAtLeast } from './emulator.ts'
import { type Fields, keyValue } from './key-value.ts'
import { familyOf } from './machine-type.ts'
import { partArguments } from './parts.ts'
import type { GuestPaths } from './paths.ts'
import type { DiskImages } from './preflight.ts'

export interface CommandLineOptions {
  readonly definition: CompleteDefinition
  readonly emulator: Emulator
  readonly paths: GuestPaths
  readonly images: DiskImages
  /** Waits for the state of a saved machine instead of booting. */
  readonly incoming?: boolean
  /** A file that is its main memory; without it, QEMU takes memory of its own. */
  readonly memory?: MemoryFile | undefined
}

/** Main memory in a file: shared, so that what the guest writes is in the file, or copied when written to. */
export interface MemoryFile {
  readonly file: string
  readonly share: boolean
}

/** Number of the open file that a saved state is read from; 3 is the monitor. */
export const incomingDescriptor = 4

export function buildCommandLine({
  definition,
  emulator,
  paths,
  images,
  incoming,
  memory,
}: CommandLineOptions): string[] {
  const { name, uuid, os } = definition
  return [
    ...['-name', keyValue('', { guest: name, 'debug-threads': 'on' })],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    ...(emulator.sandbox ? ['-sandbox', sandbox] : []),
    ...['-chardev', 'socket,id=monitor0,fd=3', '-mon', 'chardev=monitor0,mode=control'],
    ...['-chardev', keyValue('socket', { id: 'monitor1', path: paths.monitor, server: 'on', wait: 'off' })],
    ...['-mon', 'chardev=monitor1,mode=control'],
    ...['-uuid', uuid],
    ...machineArguments(definition, emulator, memory),
    ...['-m', keyValue('', { size: `${definition.memoryKiB}k` })],
    ...['-smp', processors(definition)],
    ...processorModel(definition),
    ...clockArguments(definition),
    ...['-action', keyValue('', { ...actionsOf(definition) })],
    ...bootArguments(os, definition),
    ...deviceParts({ definition, emulator, paths, images }).flatMap(partArguments),
    ...(incoming ? ['-incoming', 'defer'] : []),
  ]
}

const sandbox = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'

function machineArguments(
  { type, os, features, clock, powerManagement, memoryKiB }: CompleteDefinition,
  emulator: Emulator,
  memory: MemoryFile | undefined,
) {
  const machine = os.machine ?? 'q35'
  const hpet = clock.timers.find(({ name }) => name === 'hpet')?.present
  const has = (minor: string) => Number.parseInt(emulator.version, 10) >= Number(minor)
  const fields: Fields = {
    usb: 'off',
    acpi: features.acpi ? undefined : 'off',
    vmport: features.vmport === undefined ? undefined : onOff(features.vmport),
    hpet: hpet === undefined || !has('7') ? undefined : onOff(hpet),
    // What is in a crash dump is nobody's business but the guest's.
    'dump-guest-core': 'off',
    'memory-backend': memory && ramId(machine, emulator),
  }
  const chip = familyOf(machine) === 'q35' ? 'ICH9-LPC' : 'PIIX4_PM'
  const sleep = (key: string, enabled: boolean | undefined) =>
    enabled === undefined ? [] : ['-global', `${chip}.${key}=${enabled ? 0 : 1}`]
  return [
    ...(memory ? ['-object', memoryFile(memory, ramId(machine, emulator), memoryKiB, emulator)] : []),
    ...['-machine', keyValue(machine, fields), '-accel', type === 'kvm' ? 'kvm' : 'tcg'],
    ...(hpet === false && !has('7') ? ['-no-hpet'] : []),
    ...sleep('disable_s3', powerManagement?.suspendToMemory),
    ...sleep('disable_s4', powerManagement?.suspendToDisk),
  ]
}

/** As QEMU names it without a backend of ours: states fit with and without. */
function ramId(machine: string, { machines }: Emulator): string {
  return machines.find(({ name, alias }) => name === machine || alias === machine)?.ramId ?? 'pc.ram'
}

function memoryFile({ file, share }: MemoryFile, id: string, sizeKiB: number, emulator: Emulator): string {
  // Since 8.2 a private copy needs no right to write the file; before, it is opened for writing, never written.
  const sealed = !share && isAtLeast(emulator.version, '8.2')
  return keyValue('memory-backend-file', {
    id,
    size: `${sizeKiB}k`,
    'mem-path': file,
    share: onOff(share),
    readonly: sealed ? 'on' : undefined,
    rom: sealed ? 'off' : undefined,
    dump: 'off',
  })
}

function processors({ vcpus, currentVcpus, cpu }: CompleteDefinition): string {
  const { sockets, dies, cores, threads } = cpu?.topology ?? {}
  return keyValue('', { cpus: currentVcpus ?? vcpus, maxcpus: vcpus, sockets, dies, cores, threads })
}

function processorModel({ type, cpu }: CompleteDefinition): string[] {
  if (!cpu) return []
  const most = type === 'kvm' ? 'host' : 'max'
  const models = { custom: cpu.model, 'host-model': most, 'host-passthrough': 'host', maximum: 'max' }
  const model = models[cpu.mode]
  if (model === undefined) return []
  const features = cpu.features.map(({ name, policy }) => {
    const wanted = policy === 'force' || policy === 'require' || policy === 'optional'
    return [name, onOff(wanted)] as const
  })
  const required = cpu.check === 'full' || cpu.features.some(({ policy }) => policy === 'require')
  return [
    '-cpu',
    keyValue(model, {
      ...Object.fromEntries(features),
      migratable: model === 'host' && cpu.migratable !== undefined ? onOff(cpu.migratable) : undefined,
      // What was required and cannot be had stops the start, instead of being left out with a warning.
      enforce: required && cpu.check !== 'none' ? 'on' : undefined,
    }),
  ]
}

function clockArguments({ clock, type }: CompleteDefinition): string[] {
  const policy = (name: string) => clock.timers.find((timer) => timer.name === name)?.tickPolicy
  return [
    ...[
      '-rtc',
      keyValue('', { base: clock.offset, driftfix: policy('rtc') === 'catchup' ? 'slew' : undefined }),
    ],
    ...(policy('pit') === 'delay' && type === 'kvm' ? ['-global', 'kvm-pit.lost_tick_policy=delay'] : []),
  ]
}

function bootArguments(os: CompleteDefinition['os'], { devices }: CompleteDefinition): string[] {
  const ordered = os.boot.length > 0 || [...devices.disks, ...devices.interfaces].some((one) => one.bootOrder)
  const boot: Fields = {
    menu: os.bootMenu === undefined ? undefined : onOff(os.bootMenu),
    strict: ordered ? 'on' : undefined,
  }
  return [
    ...(os.kernel ? ['-kernel', os.kernel] : []),
    ...(os.initrd ? ['-initrd', os.initrd] : []),
    ...(os.commandLine ? ['-append', os.commandLine] : []),
    ...(Object.values(boot).some((value) => value !== undefined) ? ['-boot', keyValue('', boot)] : []),
  ]
}

function onOff(value: boolean): string {
  return value ? 'on' : 'off'
}
