/** What the embedded machine makes of a definition. */
import { checkPasstSettings } from '../../host/index.ts'
import {
  checkDefinition,
  checkHonoured,
  DomainDefinition,
  type DomainDefinitionInput,
  type Interface,
  parse,
  VisorError,
} from '../../model/index.ts'

/** All that this machine can do; anything else in a definition is refused. */
export const honoured = [
  'memoryKiB',
  'currentMemoryKiB',
  'vcpus',
  'currentVcpus=1',
  'os.type=hvm',
  'os.arch=i686|i386',
  'os.machine=pc',
  'os.kernel',
  'os.initrd',
  'os.commandLine',
  'os.boot=hd|cdrom|fd',
  'os.boot[]=hd|cdrom|fd',
  'features.acpi',
  'features.apic',
  'onPoweroff=destroy|restart',
  'onReboot=restart|destroy',
  'devices.disks[].type=file',
  'devices.disks[].device',
  'devices.disks[].format=raw',
  'devices.disks[].cache=default|writethrough|unsafe',
  'devices.disks[].file',
  'devices.disks[].target',
  'devices.disks[].bus=ide|fdc',
  'devices.disks[].readonly',
  'devices.disks[].alias',
  'devices.controllers[].type=ide|fdc',
  'devices.controllers[].index=0',
  'devices.controllers[].alias',
  'devices.serials[].type=pty',
  'devices.serials[].target=isa-serial',
  'devices.serials[].port',
  'devices.serials[].alias',
  'devices.consoles[].type=pty',
  'devices.consoles[].target=serial',
  'devices.consoles[].port',
  'devices.consoles[].alias',
  'devices.interfaces[].type=network|bridge|user',
  'devices.interfaces[].network',
  'devices.interfaces[].portGroup',
  'devices.interfaces[].filter',
  'devices.interfaces[].filterParameters',
  'devices.interfaces[].filterParameters.*',
  'devices.interfaces[].bridge',
  'devices.interfaces[].backend=default|passt',
  'devices.interfaces[].dev',
  'devices.interfaces[].ips[].family',
  'devices.interfaces[].ips[].address',
  'devices.interfaces[].ips[].prefix',
  'devices.interfaces[].portForwards[].proto',
  'devices.interfaces[].portForwards[].address',
  'devices.interfaces[].portForwards[].dev',
  'devices.interfaces[].portForwards[].ranges[].start',
  'devices.interfaces[].portForwards[].ranges[].end',
  'devices.interfaces[].portForwards[].ranges[].to',
  'devices.interfaces[].portForwards[].ranges[].exclude',
  'devices.interfaces[].mac',
  'devices.interfaces[].target',
  'devices.interfaces[].model=ne2k_pci',
  'devices.interfaces[].alias',
  'devices.inputs[].type=mouse|keyboard',
  'devices.inputs[].bus=ps2',
  'devices.inputs[].alias',
  'devices.videos[].model=vga',
  'devices.videos[].vramKiB',
  'devices.videos[].heads=1',
  'devices.videos[].primary',
  'devices.videos[].alias',
  'devices.memballoon.model=none',
]

/** Where v86 puts the initial RAM disk of a kernel that it boots itself. */
const initrdAtKiB = 64 * 1024
/** Guest memory, video memory and the emulator's own share 4 GiB of WebAssembly; half of it is for the guest. */
const mostMemoryKiB = 2 * 1024 * 1024
const slots = { disk: ['hda', 'hdb'], cdrom: ['cdrom'], floppy: ['fda', 'fdb'] } as const

export type DiskSlot = 'hda' | 'hdb' | 'cdrom' | 'fda' | 'fdb'
/** A definition that has its uuid. */
export type IdentifiedDefinition = DomainDefinition & { readonly uuid: string }

/**
 * The definition, checked and with its defaults. Fails with `invalid-definition`, or with
 * `unsupported-config` for what the machine cannot do.
 */
export function completeDefinition(input: DomainDefinitionInput): DomainDefinition {
  const definition = parse(DomainDefinition, input)
  checkDefinition(definition)
  checkHonoured(DomainDefinition, definition, honoured, 'driver v86')
  for (const check of checks) check(definition)
  return definition
}

/** Fails with `unsupported-config` in the form of {@link checkHonoured}. */
function refuse(path: string, message: string, remedy: string): never {
  throw new VisorError('unsupported-config', `${path}: ${message}.`, { path, remedy })
}

const checks: readonly ((definition: DomainDefinition) => void)[] = [
  ({ type }) => {
    if (type !== 'v86') refuse('type', `is '${type}', which driver v86 does not run`, "Make it 'v86'.")
  },
  ({ vcpus }) => {
    if (vcpus !== 1) refuse('vcpus', `driver v86 has one processor, not ${vcpus}`, 'Ask for one.')
  },
  ({ memoryKiB, currentMemoryKiB = memoryKiB, os }) => {
    if (memoryKiB > mostMemoryKiB)
      refuse('memoryKiB', `driver v86 has at most ${mostMemoryKiB} KiB, not ${memoryKiB}`, 'Ask for less.')
    if (currentMemoryKiB !== memoryKiB)
      refuse('currentMemoryKiB', 'driver v86 has no balloon', 'Leave it out, or make it equal to the memory.')
    if (os.kernel !== undefined && memoryKiB <= initrdAtKiB) refuseSmall(memoryKiB, initrdAtKiB)
  },
  ({ features }) => {
    if (features.apic && !features.acpi)
      refuse('features.apic', 'driver v86 has no APIC without ACPI', 'Add the feature acpi.')
  },
  ({ devices: { serials, videos } }) => {
    if (serials.length > 4) refuse('devices.serials', 'driver v86 has four serial ports', 'Remove some.')
    serials.forEach(({ port = 0 }, index) => {
      if (port !== 0 && port !== index)
        refuse(`devices.serials[${index}].port`, `must be ${index} with driver v86`, 'Leave it out.')
    })
    if (videos.length > 1) refuse('devices.videos', 'driver v86 has one graphics card', 'Remove the others.')
  },
  ({ devices: { interfaces } }) => {
    if (interfaces.length > 1)
      refuse('devices.interfaces', 'driver v86 has one network card', 'Remove the others.')
    for (const { type, filter } of interfaces)
      if (filter !== undefined && type !== 'network')
        refuse('devices.interfaces[0].filter', `needs the type 'network', not '${type}'`, 'Leave it out.')
    for (const one of interfaces)
      if (one.type === 'user') checkPasstSettings(one, 'devices.interfaces[0]')
      else refuseUserSettings(one)
  },
  (definition) => {
    assignSlots(definition)
  },
]

/** What only the network of a user has. */
function refuseUserSettings({ type, backend, dev, ips, portForwards }: Interface): void {
  const settings = { backend, dev, ips: ips[0], portForwards: portForwards[0] }
  for (const [key, value] of Object.entries(settings))
    if (value !== undefined)
      refuse(`devices.interfaces[0].${key}`, `needs the type 'user', not '${type}'`, 'Leave it out.')
}

function refuseSmall(memoryKiB: number, neededKiB: number): never {
  refuse(
    'memoryKiB',
    `driver v86 needs more than ${neededKiB} KiB to boot this kernel, not ${memoryKiB}`,
    `Give it ${Math.ceil(neededKiB / 32_768 + 1) * 32} MiB or more.`,
  )
}

/** Fails with `unsupported-config` unless an initial RAM disk of this size fits, with as much again for the guest. */
export function checkInitrdFits({ memoryKiB }: DomainDefinition, initrdBytes: number): void {
  const neededKiB = initrdAtKiB + Math.ceil(initrdBytes / 1024)
  if (memoryKiB <= neededKiB) refuseSmall(memoryKiB, neededKiB)
}

/** Which drive each disk is in; empty drives are left out. Fails with `unsupported-config` when there are too many. */
export function assignSlots({
  devices,
}: DomainDefinition): { slot: DiskSlot; disk: DomainDefinition['devices']['disks'][number] }[] {
  const free = { disk: [...slots.disk], cdrom: [...slots.cdrom], floppy: [...slots.floppy] }
  return devices.disks.flatMap((disk, index) => {
    const path = `devices.disks[${index}]`
    if (disk.device === 'lun') refuse(`${path}.device`, 'driver v86 has no SCSI', "Use 'disk'.")
    const slot = free[disk.device].shift()
    if (!slot)
      refuse(path, `driver v86 has ${slots[disk.device].length} ${disk.device} drives`, 'Remove some.')
    if (disk.readonly && disk.device !== 'cdrom')
      refuse(`${path}.readonly`, `a ${disk.device} of driver v86 can always be written`, 'Use a CD-ROM.')
    return disk.file === undefined ? [] : [{ slot, disk }]
  })
}

/** BIOS digits of the drives, first nibble first: 1 floppy, 2 hard disk, 3 CD-ROM (CMOS 0x3d and 0x38). */
export function bootOrder(definition: DomainDefinition): number {
  const digits = { fd: 1, hd: 2, cdrom: 3, network: 0 }
  const kinds = definition.os.boot.length > 0 ? definition.os.boot : (['hd', 'cdrom', 'fd'] as const)
  const order = [...new Set([...kinds.map((kind) => digits[kind]), 2, 3, 1])]
  return order.slice(0, 3).reduce((sum, digit, index) => sum | (digit << (4 * index)), 0)
}

/** The serial ports and the names each goes by; there is always a first one. */
export function serialPortNames({ devices }: DomainDefinition): string[][] {
  const names = devices.serials.map(({ alias }, index) => [alias ?? `serial${index}`, `serial${index}`])
  if (names.length === 0) names.push(['serial0'])
  // The first console is the first serial port, as in libvirt.
  devices.consoles.forEach(({ alias, port }, index) => {
    names[port ?? 0]?.push(`console${index}`, ...(alias ? [alias] : []))
  })
  return names
}
