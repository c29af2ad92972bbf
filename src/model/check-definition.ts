/**
 * What must hold between the parts of a domain definition.
 *
 * Source: libvirt's virDomainDefPostParse and virDomainDefValidate, as far as their rules are about the
 * definition and not about one hypervisor.
 */
import { at } from './described.ts'
import type { Disk } from './devices/index.ts'
import { DomainDefinition } from './domain-definition.ts'
import { type Fault, faultError } from './issue.ts'
import { positionsOf } from './position.ts'

/** Fails with `invalid-definition` that tells everything that does not fit together. */
export function checkDefinition(definition: DomainDefinition): void {
  const faults = rules.flatMap((rule) => rule(definition))
  if (faults.length > 0)
    throw faultError(faults, {
      code: 'invalid-definition',
      schema: DomainDefinition,
      positions: positionsOf(definition),
    })
}

type Rule = (definition: DomainDefinition) => Fault[]

const checkMemory: Rule = ({ memoryKiB, currentMemoryKiB }) =>
  currentMemoryKiB !== undefined && currentMemoryKiB > memoryKiB
    ? [
        {
          path: 'currentMemoryKiB',
          message: `must be at most the memory, ${memoryKiB} KiB, not ${currentMemoryKiB}`,
        },
      ]
    : []

const checkVcpus: Rule = ({ vcpus, currentVcpus, cpu }) => {
  const faults: Fault[] = []
  if (currentVcpus !== undefined && currentVcpus > vcpus)
    faults.push({
      path: 'currentVcpus',
      message: `must be at most the processors, ${vcpus}, not ${currentVcpus}`,
    })
  const topology = cpu?.topology
  if (!topology) return faults
  const { sockets, dies = 1, clusters = 1, cores, threads } = topology
  const product = sockets * dies * clusters * cores * threads
  if (product !== vcpus)
    faults.push({ path: 'cpu.topology', message: `makes ${product} processors, but there are ${vcpus}` })
  return faults
}

const checkCpu: Rule = ({ cpu }) => {
  if (!cpu) return []
  const faults: Fault[] = []
  if (cpu.mode === 'host-passthrough' || cpu.mode === 'maximum') {
    if (cpu.model !== undefined)
      faults.push({ path: 'cpu.model', message: `cannot be chosen with mode '${cpu.mode}'` })
  } else if (cpu.mode === 'custom' && cpu.model === undefined && cpu.features.length > 0)
    faults.push({ path: 'cpu.features', message: 'need a model to start from' })
  return [...faults, ...twice(cpu.features, (feature) => feature.name, 'cpu.features', 'name')]
}

const checkBoot: Rule = ({ os, devices }) => {
  const ordered = [
    ...devices.disks.map((disk, index) => ({ order: disk.bootOrder, path: at('devices.disks', index) })),
    ...devices.interfaces.map((one, index) => ({
      order: one.bootOrder,
      path: at('devices.interfaces', index),
    })),
  ].filter(({ order }) => order !== undefined)
  const faults: Fault[] = []
  const seen = new Map<number | undefined, string>()
  for (const { order, path } of ordered) {
    const other = seen.get(order)
    if (other) faults.push({ path: `${path}.bootOrder`, message: `is ${order}, as that of ${other}` })
    else seen.set(order, path)
  }
  if (ordered.length > 0 && os.boot.length > 0)
    faults.push({
      path: 'os.boot',
      message: 'cannot be given together with the boot order of single devices',
    })
  if (os.kernel === undefined)
    for (const key of ['initrd', 'commandLine'] as const)
      if (os[key] !== undefined) faults.push({ path: `os.${key}`, message: 'needs a kernel' })
  return faults
}

const checkDisks: Rule = ({ devices: { disks } }) => [
  ...disks.flatMap((disk, index) => checkDisk(disk, at('devices.disks', index))),
  ...twice(disks, (disk) => disk.target, 'devices.disks', 'target'),
]

/** What a source of each type is said by. */
const sourceKeys = {
  file: 'file',
  block: 'block',
  dir: 'directory',
  network: 'protocol',
  volume: 'volume',
  nvme: 'nvmeAddress',
  vhostuser: 'socket',
} as const

function checkDisk(disk: Disk, path: string): Fault[] {
  const faults: Fault[] = []
  const key = sourceKeys[disk.type]
  for (const other of new Set(Object.values(sourceKeys)))
    if (other !== key && disk[other] !== undefined)
      faults.push({ path: `${path}.${other}`, message: `is no source of type '${disk.type}'` })
  // Drives of removable media may be empty.
  const removable = disk.device === 'cdrom' || disk.device === 'floppy'
  if (disk[key] === undefined && !removable)
    faults.push({ path, message: `needs a source: '${key}', as its type is '${disk.type}'` })
  if (disk.bus === 'fdc' && disk.device !== 'floppy')
    faults.push({ path: `${path}.bus`, message: `'fdc' takes floppies, not a ${disk.device}` })
  if (disk.device === 'floppy' && disk.bus !== undefined && disk.bus !== 'fdc')
    faults.push({ path: `${path}.bus`, message: `of a floppy must be 'fdc', not '${disk.bus}'` })
  if (disk.device === 'cdrom' && disk.bus === 'virtio')
    faults.push({ path: `${path}.bus`, message: "of a CD-ROM cannot be 'virtio'" })
  return faults
}

const networkKeys = { network: 'network', bridge: 'bridge', direct: 'dev' } as const
const networkKey = (type: string) => networkKeys[type as keyof typeof networkKeys]

const checkInterfaces: Rule = ({ devices: { interfaces } }) => {
  const faults = twice(interfaces, (one) => one.mac, 'devices.interfaces', 'mac')
  for (const [index, one] of interfaces.entries()) {
    const path = at('devices.interfaces', index)
    const wanted = networkKey(one.type)
    if (wanted !== undefined && one[wanted] === undefined)
      faults.push({ path, message: `needs '${wanted}', as its type is '${one.type}'` })
    for (const key of Object.values(networkKeys))
      if (key !== wanted && one[key] !== undefined)
        faults.push({ path: `${path}.${key}`, message: `means nothing for type '${one.type}'` })
    // The lowest bit of the first byte marks a group (IEEE 802).
    if (one.mac !== undefined && Number.parseInt(one.mac.slice(0, 2), 16) % 2 === 1)
      faults.push({
        path: `${path}.mac`,
        message: `must be the address of one card, not of a group as '${one.mac}'`,
      })
  }
  return faults
}

/** What a host side of each kind cannot be without. */
const characterNeeds: Readonly<Record<string, readonly ('path' | 'service' | 'mode' | 'channel')[]>> = {
  file: ['path'],
  pipe: ['path'],
  dev: ['path'],
  tcp: ['mode', 'service'],
  udp: ['mode', 'service'],
  spiceport: ['channel'],
  dbus: ['channel'],
}

const checkCharacterDevices: Rule = ({ devices }) => {
  const faults: Fault[] = []
  for (const list of ['serials', 'parallels', 'consoles', 'channels', 'redirdevs'] as const)
    for (const [index, device] of devices[list].entries()) {
      const needed = characterNeeds[device.type] ?? []
      const calls = device.type === 'unix' && device.mode === 'connect'
      for (const key of calls ? (['path'] as const) : needed)
        if (device[key] === undefined)
          faults.push({
            path: at(`devices.${list}`, index),
            message: `needs '${key}', as its type is '${device.type}'`,
          })
    }
  return [...faults, ...twice(devices.channels, (channel) => channel.name, 'devices.channels', 'name')]
}

const checkControllers: Rule = ({ devices: { controllers } }) =>
  twice(
    // The companions of a USB 2 controller have its number.
    controllers.filter(({ index, startPort }) => index !== undefined && startPort === undefined),
    ({ type, index }) => `${type} ${index}`,
    'devices.controllers',
    undefined,
    controllers,
  )

const checkGraphics: Rule = ({ devices: { graphics } }) =>
  graphics.flatMap((one, index) => {
    const path = at('devices.graphics', index)
    const sockets = one.listens.flatMap((listen) => (listen.type === 'socket' ? [listen.socket] : []))
    const faults: Fault[] = []
    if (one.listens.length > 1) faults.push({ path: `${path}.listens`, message: 'can be only one' })
    if (one.socket !== undefined && one.port !== undefined)
      faults.push({ path: `${path}.port`, message: 'cannot be given together with a socket' })
    for (const socket of sockets)
      if (socket !== undefined && one.socket !== undefined && socket !== one.socket)
        faults.push({
          path: `${path}.listens[0].socket`,
          message: `is '${socket}', but the screen's socket is '${one.socket}'`,
        })
    return faults
  })

const checkVideos: Rule = ({ devices: { videos } }) => {
  const path = (index: number) => at('devices.videos', index)
  const none = videos.findIndex(({ model }) => model === 'none')
  const primaries = videos.flatMap((video, index) => (video.primary ? [index] : []))
  const faults = primaries
    .slice(1)
    .map((index) => ({ path: path(index), message: 'is a second primary one' }))
  if (none >= 0 && videos.length > 1)
    faults.push({ path: path(none), message: "of model 'none' must be the only one" })
  return faults
}

const rules: readonly Rule[] = [
  checkMemory,
  checkVcpus,
  checkCpu,
  checkBoot,
  checkDisks,
  checkInterfaces,
  checkCharacterDevices,
  checkControllers,
  checkGraphics,
  checkVideos,
]

/** A fault for each item that has what an earlier one has. `all` is the list the indexes count in. */
function twice<T>(
  items: readonly T[],
  keyOf: (item: T) => string | undefined,
  path: string,
  field: string | undefined,
  all: readonly T[] = items,
): Fault[] {
  const seen = new Map<string, number>()
  return items.flatMap((item) => {
    const key = keyOf(item)
    const index = all.indexOf(item)
    if (key === undefined) return []
    const other = seen.get(key)
    if (other === undefined) {
      seen.set(key, index)
      return []
    }
    const here = field === undefined ? at(path, index) : `${at(path, index)}.${field}`
    return [{ path: here, message: `is '${key}', as that of ${at(path, other)}` }]
  })
}
