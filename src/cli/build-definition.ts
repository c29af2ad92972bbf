import { macAddress } from '../host/index.ts'
import {
  type DomainDefinitionInput,
  type Image,
  ignitionEntry,
  kernelCommandLine,
  VisorError,
} from '../model/index.ts'
import type { MachineChoice } from './choose-machine.ts'
import type { DiskSpec } from './disk-spec.ts'
import { publish } from './publish.ts'
import type { Filesystem } from './shares/share-spec.ts'

export interface MachineWanted {
  readonly name: string
  /** Chosen by the driver without it. */
  readonly uuid?: string | undefined
  readonly title?: string | undefined
  readonly cpus: number
  readonly memoryKiB: number
  readonly machine?: string | undefined
  readonly cpuModel?: string | undefined
  readonly firmware?: 'bios' | 'uefi' | undefined
  readonly secureBoot?: boolean | undefined
  readonly tpm?: boolean | undefined
  readonly iothreads?: number | undefined
  /** New disks already have their file. */
  readonly disks: readonly DiskSpec[]
  readonly image?: Image | undefined
  readonly kernel?: string | undefined
  readonly initrd?: string | undefined
  readonly commandLine?: string | undefined
  /** 'user', 'none', 'network=NAME', 'bridge=NAME' */
  readonly networks: readonly string[]
  /** Ports of the host that lead to it: '8080:80'. */
  readonly published?: readonly string[] | undefined
  readonly headless: boolean
  /** Folders of the host that it sees. */
  readonly filesystems?: readonly Filesystem[] | undefined
  /** What it reads at its first boot: an image for a CD drive, or a file for Ignition. */
  readonly seed?: string | undefined
  readonly ignition?: string | undefined
}

type Devices = NonNullable<DomainDefinitionInput['devices']>
type Disk = NonNullable<Devices['disks']>[number]
type Interface = NonNullable<Devices['interfaces']>[number]

/** What the drivers' machines have beside disks and cards. */
const shapes: Readonly<Record<string, { readonly virtio: boolean; readonly screen: boolean }>> = {
  qemu: { virtio: true, screen: true },
  test: { virtio: true, screen: false },
  v86: { virtio: false, screen: false },
}

/**
 * The definition of a machine from what a person asked for: a serial console, randomness and a balloon, a screen
 * unless it shall be headless, virtio where the driver has it.
 */
export function buildDefinition(wanted: MachineWanted, choice: MachineChoice): DomainDefinitionInput {
  const { name, title, cpus, memoryKiB, cpuModel } = wanted
  return {
    type: choice.type,
    name,
    ...(wanted.uuid !== undefined && { uuid: wanted.uuid }),
    ...(title !== undefined && { title }),
    memoryKiB,
    vcpus: cpus,
    ...(wanted.iothreads !== undefined && { iothreads: wanted.iothreads }),
    os: buildBoot(wanted, choice),
    ...(wanted.ignition !== undefined && {
      sysinfo: [{ type: 'fwcfg', files: [{ name: ignitionEntry, file: wanted.ignition }] }],
    }),
    features: { acpi: true, apic: true },
    ...(cpuModel !== undefined && { cpu: readCpu(cpuModel) }),
    devices: buildDevices(wanted, choice),
  }
}

function buildBoot(
  { name, machine, disks, image, ...own }: MachineWanted,
  { arch }: MachineChoice,
): DomainDefinitionInput['os'] {
  const direct = own.kernel ?? image?.kernel
  // Secure Boot is a matter of UEFI, without which an ARM machine starts no disk.
  const uefi =
    own.firmware === 'uefi' || own.secureBoot || (arch === 'aarch64' && !direct && own.firmware === undefined)
  // An unpacked one is started by no UEFI, and beside a TPM not by a BIOS either.
  const kernel = own.kernel ?? (uefi || own.tpm ? image?.packedKernel : undefined) ?? direct
  const initrd = own.kernel === undefined ? (own.initrd ?? image?.initrd) : own.initrd
  const ofImage = image && own.kernel === undefined ? kernelCommandLine(image, name) : undefined
  const commandLine = own.commandLine ?? ofImage
  // A CD-ROM is there to install from: it comes after a disk, which is empty until then.
  const boot = (['disk', 'cdrom'] as const).filter((device) => disks.some((disk) => disk.device === device))
  return {
    arch,
    ...(uefi && { firmware: 'efi' }),
    ...(own.secureBoot && { firmwareFeatures: [{ name: 'secure-boot', enabled: true }] }),
    ...(machine !== undefined && { machine }),
    ...(kernel !== undefined
      ? { kernel }
      : { boot: boot.map((device) => (device === 'disk' ? 'hd' : device)) }),
    ...(initrd !== undefined && { initrd }),
    ...(commandLine !== undefined && { commandLine }),
  }
}

const cpuModes = ['host-model', 'host-passthrough', 'maximum'] as const

function readCpu(text: string): DomainDefinitionInput['cpu'] {
  const mode = cpuModes.find((word) => word === text || (word === 'host-passthrough' && text === 'host'))
  return mode ? { mode } : { mode: 'custom', model: text }
}

/** What tells a running copy of the micro guest who it is; the agent that images of distributions have. */
function channelsOf(image: Image | undefined): Pick<Devices, 'channels'> {
  if (image?.name === 'micro') return { channels: [{ name: 'org.visor.guest.0' }] }
  return image?.kind === 'disk' ? { channels: [{ name: 'org.qemu.guest_agent.0' }] } : {}
}

function buildDevices(wanted: MachineWanted, { driver, arch }: MachineChoice): Devices {
  const shape = shapes[driver] ?? { virtio: true, screen: false }
  const screen = shape.screen && !wanted.headless
  const isPc = arch === 'x86_64' || arch === 'i686'
  return {
    disks: buildDisks([...wanted.disks, ...seedDisk(wanted, shape.virtio)], shape.virtio, isPc),
    interfaces: publish(withMacs(buildInterfaces(wanted, shape.virtio), wanted.uuid), wanted.published ?? []),
    serials: [{ type: 'pty' }],
    consoles: [{ type: 'pty', target: 'serial' }],
    ...(wanted.tpm && { tpms: [{}] }),
    ...(wanted.filesystems?.length && { filesystems: [...wanted.filesystems] }),
    ...(driver === 'qemu' && channelsOf(wanted.image)),
    ...(shape.virtio && {
      memballoon: { model: 'virtio' },
      rngs: [{ model: 'virtio', backend: 'random', source: '/dev/urandom' }],
    }),
    ...(screen && { graphics: [{ type: 'vnc' }], videos: [{ model: isPc ? 'vga' : 'virtio' }] }),
  }
}

const buildInterfaces = ({ networks }: MachineWanted, virtio: boolean): Interface[] =>
  networks.flatMap((network) => buildInterface(network, virtio))

/** The addresses that the cards of a machine have by themselves: said where others must know them before. */
function withMacs(interfaces: readonly Interface[], uuid: string | undefined): Interface[] {
  return interfaces.map((one, index) => (uuid === undefined ? one : { ...one, mac: macAddress(uuid, index) }))
}

/** On a bus of virtio: kernels made for clouds know no SATA. */
function seedDisk({ seed }: MachineWanted, virtio: boolean): DiskSpec[] {
  if (seed === undefined) return []
  const bus = virtio ? ({ bus: 'scsi' } as const) : {}
  return [{ file: seed, format: 'raw', device: 'cdrom', readonly: true, ...bus }]
}

const prefixes: Readonly<Record<string, string>> = { virtio: 'vd', ide: 'hd', fdc: 'fd', nvme: 'nvme' }

/** Targets are counted per bus: vda, vdb, hda, sda. */
function buildDisks(specs: readonly DiskSpec[], virtio: boolean, isPc: boolean): Disk[] {
  const taken = new Map<string, number>()
  return specs.map(({ sizeBytes: _, image: __, encrypt: ___, file, ...spec }) => {
    const bus = spec.bus ?? defaultBus(spec.device, virtio, isPc)
    const prefix = prefixes[bus] ?? 'sd'
    const number = taken.get(prefix) ?? 0
    taken.set(prefix, number + 1)
    if (number > 25)
      throw new VisorError('invalid-argument', 'A machine made from flags has at most 26 disks of a kind.')
    return {
      type: spec.volume === undefined ? 'file' : 'volume',
      ...spec,
      ...(file !== undefined && { file }),
      bus,
      target: prefix + String.fromCharCode(97 + number),
    }
  })
}

function defaultBus(
  device: DiskSpec['device'],
  virtio: boolean,
  isPc: boolean,
): NonNullable<DiskSpec['bus']> {
  if (device === 'floppy') return 'fdc'
  if (!virtio) return 'ide'
  return device === 'cdrom' ? (isPc ? 'sata' : 'scsi') : 'virtio'
}

/** The card that `--network` asks for; none for 'none'. */
export function buildInterface(network: string, virtio: boolean): Interface[] {
  const [kind = '', ...rest] = network.split('=')
  const name = rest.join('=')
  const model = virtio ? ({ model: 'virtio' } as const) : {}
  if (kind === 'none' && name === '') return []
  if (kind === 'user' && name === '') return [{ type: 'user', ...model }]
  if (kind === 'network' && name !== '') return [{ type: 'network', network: name, ...model }]
  if (kind === 'bridge' && name !== '') return [{ type: 'bridge', bridge: name, ...model }]
  throw new VisorError('invalid-argument', `The network '${network}' is none that visor knows.`, {
    remedy: "Write 'user', 'none', 'network=NAME' or 'bridge=NAME'.",
  })
}
