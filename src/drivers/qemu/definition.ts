/** What this driver makes of a definition: complete, with nothing left open that it would choose at start. */
import { createHash, randomUUID } from 'node:crypto'
import {
  checkDefinition,
  checkHonoured,
  type Devices,
  type Disk,
  DomainDefinition,
  type DomainDefinitionInput,
  parse,
  VisorError,
} from '../../model/index.ts'
import type { Emulator } from './emulator.ts'
import { honoured } from './honoured.ts'
import type { KvmState } from './kvm.ts'

/** A definition with its identity. */
export type CompleteDefinition = DomainDefinition & { readonly uuid: string }

export interface CompleteOptions {
  /** The emulator for an architecture or a program; undefined when there is none. */
  findEmulator(arch: string, path: string | undefined): Promise<Emulator | undefined>
  /** Whether KVM works with it; asked only when the definition wants KVM. */
  kvm(emulator: Emulator): Promise<KvmState>
}

/**
 * The definition, checked as a whole and with all that is chosen for it: uuid, emulator, machine type (with
 * its version, so that a saved state fits later too), buses, addresses of network cards, names of devices.
 * Fails with `invalid-definition`, or `unsupported-config` for what would not be honoured. Completing a
 * complete definition changes nothing.
 */
export async function completeDefinition(
  input: DomainDefinitionInput,
  options: CompleteOptions,
): Promise<CompleteDefinition> {
  const definition = parse(DomainDefinition, input)
  checkDefinition(definition)
  if (definition.type !== 'qemu' && definition.type !== 'kvm')
    throw unsupported('type', `this driver runs no '${definition.type}'`, "Use type 'qemu' or 'kvm'.")
  checkHonoured(DomainDefinition, definition, honoured, 'qemu')
  if (definition.type !== 'qemu' && definition.type !== 'kvm')
    throw unsupported('type', `'${definition.type}' is of another driver`, "Use type 'qemu' or 'kvm'.")
  const arch = definition.os.arch ?? 'x86_64'
  const emulator = await options.findEmulator(arch, definition.devices.emulator)
  if (!emulator)
    throw unsupported(
      'devices.emulator',
      `there is no QEMU for '${definition.devices.emulator ?? arch}' here`,
    )
  await checkAccelerator(definition, emulator, options)
  const chosen = chooseMachine(definition, emulator)
  const uuid = definition.uuid ?? randomUUID()
  const complete: CompleteDefinition = {
    ...definition,
    uuid,
    os: { ...definition.os, arch, machine: chosen.machine },
    features: chosen.features,
    devices: completeDevices(definition, { uuid, machine: chosen.machine, emulator }),
  }
  checkProcessors(complete, emulator)
  checkAliases(complete.devices)
  return complete
}

async function checkAccelerator(
  definition: DomainDefinition,
  emulator: Emulator,
  { kvm }: CompleteOptions,
): Promise<void> {
  if (definition.type !== 'kvm') {
    if (definition.cpu?.mode === 'host-passthrough')
      throw unsupported('cpu.mode', "'host-passthrough' needs type 'kvm'; 'maximum' is the most TCG can do")
    return
  }
  const state = await kvm(emulator)
  if (!state.works)
    throw unsupported('type', `'kvm' does not work here. ${state.detail}`, "Use type 'qemu', which emulates.")
}

function chooseMachine({ os, features, devices }: DomainDefinition, emulator: Emulator) {
  // With a machine type of its own choice visor also chooses what every such machine has.
  const given = os.machine !== undefined
  const both = !given && !features.acpi && !features.apic ? { acpi: true, apic: true } : {}
  const wanted = os.machine ?? (devices.disks.some(({ bus }) => bus === 'ide') ? 'pc' : 'q35')
  const found = emulator.machines.find(({ name, alias }) => name === wanted || alias === wanted)
  if (!found || familyOf(found.name) === 'other')
    throw unsupported('os.machine', `'${wanted}' is not a PC machine type of ${emulator.path}`)
  return { machine: found.name, features: { ...features, ...both } }
}

/** Which chip set a machine type has. */
export function familyOf(machine: string): 'q35' | 'pc' | 'other' {
  return /^(?:pc-)?q35/u.test(machine) ? 'q35' : /^pc(?:-i440fx|$)/u.test(machine) ? 'pc' : 'other'
}

interface Chosen {
  readonly uuid: string
  readonly machine: string
  readonly emulator: Emulator
}

function completeDevices({ devices }: DomainDefinition, { uuid, machine, emulator }: Chosen): Devices {
  const family = familyOf(machine)
  const disks = devices.disks.map((disk) => ({ ...disk, bus: disk.bus ?? chooseBus(disk, family) }))
  const { serials, consoles } = completeConsoles(devices)
  const needsVideo = devices.graphics.length > 0 && devices.videos.length === 0
  const videos = needsVideo ? [{ model: 'vga' as const }] : devices.videos
  checkVideos(videos, emulator)
  checkDisks(disks, family)
  return {
    ...devices,
    emulator: emulator.path,
    disks: named(disks, (disk, index) =>
      disk.bus === 'virtio' ? `virtio-disk${index}` : `${disk.bus}${index}`,
    ),
    controllers: named(devices.controllers, ({ type, index = 0 }, at) => `${type}-controller${index}-${at}`),
    interfaces: named(
      devices.interfaces.map((one, index) => ({
        ...one,
        mac: one.mac ?? macAddress(uuid, index),
        model: one.model ?? ('virtio' as const),
      })),
      (_, index) => `net${index}`,
    ),
    serials: named(serials, (_, index) => `serial${index}`),
    consoles: consoles.map((console, index) => ({
      ...console,
      alias:
        console.target === 'serial' ? (serials[0]?.alias ?? 'serial0') : (console.alias ?? `console${index}`),
    })),
    channels: named(devices.channels, (_, index) => `channel${index}`),
    inputs: named(
      devices.inputs.map((input) => ({
        ...input,
        bus: input.bus ?? (input.type === 'tablet' ? 'usb' : 'ps2'),
      })),
      (_, index) => `input${index}`,
    ),
    videos: named(videos, (_, index) => `video${index}`),
    memballoon: {
      ...(devices.memballoon ?? { model: 'virtio' as const }),
      alias: devices.memballoon?.alias ?? 'balloon0',
    },
    rngs: named(devices.rngs, (_, index) => `rng${index}`),
  } as Devices
}

/** Each with a name in the hypervisor. */
function named<T extends { alias?: string }>(
  items: readonly T[],
  name: (item: T, index: number) => string,
): T[] {
  return items.map((item, index) => ({ ...item, alias: item.alias ?? name(item, index) }))
}

function chooseBus({ device, target }: Disk, family: 'q35' | 'pc' | 'other'): NonNullable<Disk['bus']> {
  const internal = family === 'q35' ? 'sata' : 'ide'
  if (device === 'cdrom') return internal
  if (target.startsWith('hd')) return internal
  if (target.startsWith('sd')) return family === 'q35' ? 'sata' : 'scsi'
  return 'virtio'
}

/** The first console is the first serial port, as in libvirt: where one is, there are both. */
function completeConsoles({ serials, consoles }: Devices): Pick<Devices, 'serials' | 'consoles'> {
  const [first] = consoles
  const [port] = serials
  if (port && first?.target !== 'serial') {
    const { type, mode, path } = port
    const mirror = {
      type,
      ...(mode ? { mode } : {}),
      ...(path ? { path } : {}),
      target: 'serial' as const,
      port: 0,
    }
    return { serials, consoles: [mirror, ...consoles] }
  }
  if (first?.target !== 'serial') return { serials, consoles }
  const { type, mode, path } = port ?? first
  const source = { type, ...(mode ? { mode } : {}), ...(path ? { path } : {}) }
  return {
    serials: port ? serials : [{ ...source, port: 0 }],
    consoles: [{ ...source, target: 'serial', port: first.port ?? 0 }, ...consoles.slice(1)],
  }
}

/** An address that stays the same when the definition is applied again; 52:54:00 is that of QEMU's cards. */
function macAddress(uuid: string, index: number): string {
  const hash = createHash('sha256').update(`${uuid}/${index}`).digest()
  return `52:54:00:${[...hash.subarray(0, 3)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`
}

function checkProcessors({ vcpus, os, cpu, clock }: CompleteDefinition, emulator: Emulator): void {
  const machine = emulator.machines.find(({ name }) => name === os.machine)
  if (machine && vcpus > machine.maxCpus)
    throw unsupported('vcpus', `'${machine.name}' takes at most ${machine.maxCpus} processors, not ${vcpus}`)
  if (cpu?.mode === 'custom' && cpu.model !== undefined && !emulator.cpuModels.includes(cpu.model))
    throw unsupported('cpu.model', `${emulator.path} does not know the processor '${cpu.model}'`)
  for (const { name, present, tickPolicy } of clock.timers) {
    const can = { rtc: ['catchup', 'delay'], pit: ['delay'], hpet: [] as string[] }[name as 'rtc'] ?? []
    if (tickPolicy !== undefined && !can.includes(tickPolicy))
      throw unsupported('clock.timers', `the timer '${name}' cannot have the tick policy '${tickPolicy}'`)
    if (present !== undefined && name !== 'hpet' && !present)
      throw unsupported('clock.timers', `the timer '${name}' cannot be left out`)
  }
}

function checkDisks(disks: readonly Disk[], family: 'q35' | 'pc' | 'other'): void {
  for (const [index, disk] of disks.entries()) {
    const path = `devices.disks[${index}]`
    if (disk.io === 'native' && disk.cache !== 'none' && disk.cache !== 'directsync')
      throw unsupported(`${path}.io`, "'native' needs the cache mode 'none' or 'directsync'")
    if (disk.bus === 'ide' && family === 'q35')
      throw unsupported(`${path}.bus`, "'ide' is not on a q35 machine; use 'sata', or the machine type 'pc'")
    if (disk.bus === 'sata' && family === 'pc')
      throw unsupported(`${path}.bus`, "'sata' is not on a pc machine; use 'ide', or the machine type 'q35'")
    if (disk.device === 'cdrom' && disk.type === 'block')
      throw unsupported(`${path}.type`, 'a CD-ROM can only have a file')
    if (disk.serial !== undefined && disk.serial.length > 36)
      throw unsupported(`${path}.serial`, 'can have at most 36 characters')
  }
}

const videoDevices = {
  virtio: 'virtio-vga',
  bochs: 'bochs-display',
  cirrus: 'cirrus-vga',
  qxl: 'qxl-vga',
  ramfb: 'ramfb',
}

function checkVideos(
  videos: readonly { readonly model: string; readonly heads?: number }[],
  emulator: Emulator,
): void {
  for (const [index, { model, heads = 1 }] of videos.entries()) {
    if (heads > 1 && model !== 'virtio' && model !== 'qxl')
      throw unsupported(`devices.videos[${index}].heads`, `'${model}' has one screen only`, "Use 'virtio'.")
    const device = videoDevices[model as keyof typeof videoDevices]
    if (device && !emulator.devices.includes(device))
      throw unsupported(`devices.videos[${index}].model`, `${emulator.path} has no device '${device}'`)
  }
}

/** Names that QEMU takes as ids, each once. */
function checkAliases(devices: Devices): void {
  const seen = new Set<string>()
  const lists = [
    devices.disks,
    devices.controllers,
    devices.interfaces,
    devices.serials,
    devices.consoles.filter(({ target }) => target !== 'serial'),
    devices.channels,
    devices.inputs,
    devices.videos,
    devices.rngs,
    devices.memballoon ? [devices.memballoon] : [],
  ]
  for (const { alias = '' } of lists.flat()) {
    if (!/^[a-z][\w.-]{0,60}$/iu.test(alias))
      throw new VisorError('invalid-definition', `The alias '${alias}' is no name that QEMU takes.`, {
        remedy: 'Begin it with a letter, and use letters, digits and _.- only; or leave it out.',
      })
    if (seen.has(alias))
      throw new VisorError('invalid-definition', `The alias '${alias}' is given to two devices.`)
    seen.add(alias)
  }
}

export function unsupported(path: string, what: string, remedy?: string): VisorError {
  return new VisorError('unsupported-config', `${path}: ${what.replace(/\.$/u, '')}.`, {
    path,
    remedy: remedy ?? 'Change or remove it.',
  })
}
