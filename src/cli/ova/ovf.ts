/**
 * What an OVF says of a machine, in both directions. Sources: DMTF DSP0243 (OVF 1.1 and 2.0), CIM_ResourceAllocation-
 * SettingData (resource types), VMware's `vmw:Config` for the firmware.
 */
import { parseXml, VisorError, type XmlElement } from '../../model/index.ts'
import { isPlainName } from './tar.ts'

export const buses = ['ide', 'sata', 'scsi', 'nvme', 'virtio'] as const
export type OvfBus = (typeof buses)[number]

export interface OvfDisk {
  /** Undefined: it is empty. */
  readonly file?: string
  readonly format: 'vmdk' | 'qcow2' | 'vhdx' | 'vdi' | 'raw' | 'vpc'
  readonly capacityBytes: number
  readonly bus: OvfBus
}

export interface OvfMachine {
  readonly name: string
  readonly cpus: number
  readonly memoryKiB: number
  readonly efi: boolean
  /** As the definition names it: lsilogic, vmpvscsi. */
  readonly scsiModel?: string
  readonly disks: readonly OvfDisk[]
  /** Models of its cards. */
  readonly cards: readonly OvfCard[]
  /** What it has that is left out, in words. */
  readonly leftOut: readonly string[]
}

const most = { disks: 24, cards: 16, cpus: 4_096, memoryKiB: 2 ** 40, capacityBytes: 2 ** 46 }
const type = {
  cpu: 3,
  memory: 4,
  ide: 5,
  scsi: 6,
  card: 10,
  floppy: 14,
  cdrom: 15,
  disk: 17,
  other: 20,
} as const
/** Controllers that make no difference, screens, USB and the like: every machine has its own. */
const ownTypes = new Set([1, 23, 24, 35])
const scsiModels: Readonly<Record<string, string>> = {
  lsilogic: 'lsilogic',
  lsilogicsas: 'lsisas1068',
  virtualscsi: 'vmpvscsi',
  'virtio-scsi': 'virtio-scsi',
  virtioscsi: 'virtio-scsi',
}
export type OvfCard = 'e1000' | 'e1000e' | 'vmxnet3' | 'pcnet' | 'virtio'
const cardModels: Readonly<Record<string, OvfCard>> = {
  e1000: 'e1000',
  e1000e: 'e1000e',
  vmxnet3: 'vmxnet3',
  pcnet32: 'pcnet',
  virtio: 'virtio',
}

/** Fails with `invalid-argument` (XML that is none; what is missing) and `unsupported-config`. */
export function parseOvf(text: string): OvfMachine {
  const { root } = parseXml(text, { code: 'invalid-argument', maxDepth: 40, maxNodes: 50_000 })
  if (local(root.name) !== 'Envelope') throw bad('its root is no Envelope')
  if (find(root, 'VirtualSystemCollection'))
    throw new VisorError('unsupported-config', 'The OVF has several machines.', {
      remedy: 'Export them one by one where they are from.',
    })
  const system = find(root, 'VirtualSystem')
  const hardware = system && find(system, 'VirtualHardwareSection')
  if (!system || !hardware) throw bad('it has no machine with hardware')
  const items = hardware.children
    .filter(({ name }) => ['Item', 'StorageItem', 'EthernetPortItem'].includes(local(name)))
    .map(readItem)
  const files = readFiles(root)
  const disks = readDisks(root, files)
  const byId = new Map(items.map((item) => [item.id, item]))
  const used = items.filter(({ resource }) => resource === type.disk)
  if (used.length > most.disks) throw bad(`it has more than ${most.disks} disks`)
  const cards = items.filter(({ resource }) => resource === type.card)
  if (cards.length > most.cards) throw bad(`it has more than ${most.cards} network cards`)
  const firstScsi = items.find(({ resource }) => resource === type.scsi)
  const scsiModel = firstScsi && scsiModels[firstScsi.subtype.toLowerCase()]
  const known = new Set<number>(Object.values(type))
  const leftOut = items.flatMap(({ resource, label }) =>
    resource === type.floppy || resource === type.cdrom || !(known.has(resource) || ownTypes.has(resource))
      ? [label]
      : [],
  )
  return {
    name: textOf(system, 'Name') || attribute(system, 'id') || 'imported',
    cpus: countOf(items, type.cpu, most.cpus, 1),
    memoryKiB: memoryOf(items),
    efi: configOf(hardware, 'firmware') === 'efi',
    ...(scsiModel !== undefined && { scsiModel }),
    disks: used.map((item) => ({ ...diskOf(item, disks), bus: busOf(byId.get(item.parent)) })),
    cards: cards.map(({ subtype }) => cardModels[subtype.toLowerCase()] ?? 'e1000'),
    leftOut,
  }
}

interface Item {
  readonly id: string
  readonly resource: number
  readonly subtype: string
  readonly parent: string
  readonly quantity: number
  readonly units: string
  readonly host: string
  readonly label: string
}

function readItem(element: XmlElement): Item {
  const resource = Number(textOf(element, 'ResourceType'))
  return {
    id: textOf(element, 'InstanceID'),
    resource: Number.isSafeInteger(resource) ? resource : 0,
    // Several are named in the order of preference.
    subtype: textOf(element, 'ResourceSubType').split(/\s+/u)[0] ?? '',
    parent: textOf(element, 'Parent'),
    quantity: Number(textOf(element, 'VirtualQuantity')),
    units: textOf(element, 'AllocationUnits'),
    host: textOf(element, 'HostResource'),
    label: (textOf(element, 'ElementName') || `a device of type ${resource}`).slice(0, 100),
  }
}

function readFiles(root: XmlElement): Map<string, string> {
  const listed = find(root, 'References')?.children.filter(({ name }) => local(name) === 'File') ?? []
  return new Map(
    listed.map((file) => {
      const href = decodeName(attribute(file, 'href'))
      if (!isPlainName(href))
        throw new VisorError(
          'denied',
          `The OVF names the file '${href.slice(0, 100)}', which is not one beside it.`,
          {
            remedy: 'Files of an OVF are beside it, of plain names.',
          },
        )
      const compression = attribute(file, 'compression')
      if (compression !== '' && compression !== 'identity')
        throw new VisorError(
          'unsupported-config',
          `The file '${href}' of the OVF is compressed by ${compression}.`,
          {
            remedy: 'Unpack it, and take the attribute ovf:compression out of the OVF.',
          },
        )
      if (attribute(file, 'chunkSize') !== '')
        throw new VisorError('unsupported-config', `The file '${href}' of the OVF is in several parts.`, {
          remedy: 'Export it anew as one file.',
        })
      return [attribute(file, 'id'), href]
    }),
  )
}

function decodeName(href: string): string {
  try {
    return decodeURIComponent(href)
  } catch {
    return href
  }
}

type PlainDisk = Omit<OvfDisk, 'bus'>

function readDisks(root: XmlElement, files: ReadonlyMap<string, string>): Map<string, PlainDisk> {
  const listed = find(root, 'DiskSection')?.children.filter(({ name }) => local(name) === 'Disk') ?? []
  return new Map(
    listed.map((disk) => {
      const id = attribute(disk, 'diskId')
      if (attribute(disk, 'parentRef') !== '')
        throw new VisorError('unsupported-config', `The disk '${id}' of the OVF is based on another one.`, {
          remedy: 'Export the machine without snapshots.',
        })
      const capacityBytes =
        Number(attribute(disk, 'capacity')) * unitOf(attribute(disk, 'capacityAllocationUnits') || 'byte')
      if (!Number.isSafeInteger(capacityBytes) || capacityBytes <= 0 || capacityBytes > most.capacityBytes)
        throw bad(`the size of its disk '${id}' is none`)
      const reference = attribute(disk, 'fileRef')
      const file = files.get(reference)
      if (reference !== '' && file === undefined)
        throw bad(`its disk '${id}' is of a file that it does not name`)
      const format = file === undefined ? 'qcow2' : formatOf(attribute(disk, 'format'), file)
      return [id, { capacityBytes, format, ...(file !== undefined && { file }) }]
    }),
  )
}

function formatOf(address: string, file: string): OvfDisk['format'] {
  const ending = /\.(vmdk|qcow2|vhdx|vdi|vhd|raw|img)$/iu.exec(file)?.[1]?.toLowerCase()
  if (/vmdk/iu.test(address) || ending === 'vmdk') return 'vmdk'
  if (ending === 'vhd') return 'vpc'
  if (ending === 'raw' || ending === 'img') return 'raw'
  const found = (['qcow2', 'vhdx', 'vdi'] as const).find((one) => one === ending)
  if (found) return found
  throw new VisorError(
    'unsupported-config',
    `The format of the disk '${file}' is not known: '${address.slice(0, 200)}'.`,
    {
      remedy: 'Formats that are: VMDK, qcow2, VHDX, VHD, VDI, raw.',
    },
  )
}

function diskOf({ host, label }: Item, disks: ReadonlyMap<string, PlainDisk>): PlainDisk {
  const id = /^(?:ovf:)?\/disk\/(.+)$/u.exec(host)?.[1] ?? ''
  const disk = disks.get(id)
  if (!disk) throw bad(`the disk '${label}' is not in its list of disks`)
  return disk
}

function busOf(controller: Item | undefined): OvfBus {
  if (controller?.resource === type.ide) return 'ide'
  if (controller?.resource === type.scsi) return 'scsi'
  if (/nvme/iu.test(controller?.subtype ?? '')) return 'nvme'
  return /virtio/iu.test(controller?.subtype ?? '') ? 'virtio' : 'sata'
}

function countOf(items: readonly Item[], resource: number, max: number, fallback: number): number {
  const found = items.filter((item) => item.resource === resource).map(({ quantity }) => quantity)
  const count = found.reduce((sum, quantity) => sum + quantity, 0) || fallback
  if (!Number.isSafeInteger(count) || count < 1 || count > max) throw bad('its number of processors is none')
  return count
}

function memoryOf(items: readonly Item[]): number {
  const memory = items.find(({ resource }) => resource === type.memory)
  const bytes = memory ? memory.quantity * unitOf(memory.units || 'byte * 2^20') : Number.NaN
  const memoryKiB = Math.round(bytes / 1024)
  if (!Number.isSafeInteger(memoryKiB) || memoryKiB < 1 || memoryKiB > most.memoryKiB)
    throw bad('it has no memory')
  return memoryKiB
}

const words: Readonly<Record<string, number>> = {
  byte: 1,
  bytes: 1,
  kilobytes: 2 ** 10,
  megabytes: 2 ** 20,
  gigabytes: 2 ** 30,
}

/** DSP0004, annex C: `byte * 2^20`; and the words of older ones. */
function unitOf(text: string): number {
  const { base, power, factor } =
    /^bytes?\s*\*\s*(?:(?<base>2|10)\s*\^\s*(?<power>\d{1,2})|(?<factor>\d{1,9}))$/iu.exec(text.trim())
      ?.groups ?? {}
  if (power !== undefined) return Number(base) ** Number(power)
  return factor === undefined ? (words[text.trim().toLowerCase()] ?? Number.NaN) : Number(factor)
}

const local = (name: string): string => name.split(':').at(-1) ?? name
const find = ({ children }: XmlElement, name: string): XmlElement | undefined =>
  children.find((child) => local(child.name) === name)
const textOf = (element: XmlElement, name: string): string => find(element, name)?.text.trim() ?? ''

function attribute({ attributes }: XmlElement, name: string): string {
  for (const [key, { value }] of attributes) if (local(key) === name) return value
  return ''
}

/** VMware's settings of the machine. */
function configOf(hardware: XmlElement, key: string): string | undefined {
  const found = hardware.children.find(
    (child) => /Config$/u.test(local(child.name)) && attribute(child, 'key') === key,
  )
  return found && attribute(found, 'value')
}

function bad(why: string): VisorError {
  return new VisorError('invalid-argument', `The OVF is none that a machine can be made of: ${why}.`)
}
