/** The definition of a clone: that of its template, less all that only one machine can have. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { macAddress } from '../../../host/index.ts'
import type { Devices, Disk } from '../../../model/index.ts'
import { hasVariables, variablesFormat } from '../board/firmware.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { unsupported } from '../definition/unsupported.ts'

/** Which disk of the template is under an overlay of the clone, by the alias of the disk. */
export interface FrozenDisk {
  readonly alias: string
  readonly file: string
  readonly format: 'raw' | 'qcow2'
  readonly sizeBytes: number
}

export interface CloneIdentity {
  readonly uuid: string
  readonly name: string
  /** Where its disks are. */
  readonly directory: string
}

/** A definition with this identity: addresses of cards, paths of sockets and disks are its own. */
export function cloneDefinition(
  template: CompleteDefinition,
  disks: readonly FrozenDisk[],
  { uuid, name, directory }: CloneIdentity,
): CompleteDefinition {
  const { devices, os } = template
  const frozen = new Set(disks.map(({ alias }) => alias))
  return {
    ...template,
    uuid,
    name,
    ...(template.genid === undefined ? {} : { genid: generationId(uuid) }),
    os: {
      ...os,
      ...(os.commandLine ? { commandLine: rename(os.commandLine, template.name, name) } : {}),
      ...(hasVariables(template)
        ? { nvram: join(directory, 'variables'), nvramFormat: variablesFormat(template) }
        : {}),
    },
    devices: {
      ...devices,
      disks: devices.disks.map((disk) =>
        frozen.has(disk.alias ?? '') ? onOverlay(disk, join(directory, overlayName(disk))) : disk,
      ),
      // A port of the host leads to one guest only.
      interfaces: devices.interfaces.map(({ portForwards: _, ...one }, index) => ({
        ...one,
        mac: macAddress(uuid, index),
        portForwards: [],
      })),
      serials: devices.serials.map(withoutPath),
      consoles: devices.consoles.map(withoutPath),
      channels: devices.channels.map(withoutPath),
      graphics: devices.graphics.map(withoutSocket),
    },
  }
}

export const overlayName = ({ alias, target }: Pick<Disk, 'alias' | 'target'>): string =>
  `${alias ?? target}.qcow2`

/** The disk with an overlay as its image. */
export function onOverlay(disk: Disk, file: string): Disk {
  const { block: _, ...rest } = disk
  return { ...rest, type: 'file', file, format: 'qcow2' }
}

function withoutPath<T extends { readonly type: string; path?: string | undefined }>(port: T): T {
  if (port.type !== 'unix') return port
  const { path: _, ...rest } = port
  return rest as T
}

function withoutSocket(screen: Devices['graphics'][number]): Devices['graphics'][number] {
  const { socket: _, port, websocket, tlsPort, ...rest } = screen
  return {
    ...rest,
    ...(port === undefined ? {} : { port: -1, autoport: true }),
    ...(websocket === undefined ? {} : { websocket: -1 }),
    ...(tlsPort === undefined ? {} : { tlsPort: -1 }),
    listens: screen.listens.map(({ socket: __, ...listen }) => listen),
  } as typeof screen
}

/** Its next boot says its own name where the template's said its. */
function rename(commandLine: string, from: string, to: string): string {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/iu.test(to)) return commandLine
  const words = commandLine.split(' ')
  return words.map((word) => (word === `visor.hostname=${from}` ? `visor.hostname=${to}` : word)).join(' ')
}

/** Another than the template's, so that a guest that looks at it knows that it was copied; the same at each call. */
function generationId(uuid: string): string {
  const hex = createHash('sha256').update(`${uuid}/genid`).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  )
}

/** What belongs to one machine at a time, or that QEMU cannot take along. */
function checkShared({ devices }: CompleteDefinition): void {
  for (const [index, { backend }] of devices.tpms.entries())
    if (backend === 'passthrough')
      throw unsupported(
        `devices.tpms[${index}]`,
        'is a module of the host, which clones cannot share',
        "Use the backend 'emulator': each clone gets a copy of its state.",
      )
  for (const [index, { driver }] of devices.filesystems.entries())
    if (driver === 'virtiofs')
      throw unsupported(
        `devices.filesystems[${index}]`,
        'is served by a process whose state QEMU cannot take along',
        "Use 9p (driver 'path'), and mount it in the clones.",
      )
}

/** Host sides of which each clone has its own. */
const ownHostSides = new Set(['pty', 'unix', 'null', 'vc', 'spicevmc', 'spiceport', 'qemu-vdagent'])

/** Fails with `unsupported-config` for what no two machines can share and no copy is made of yet. */
export function checkClonable(definition: CompleteDefinition): void {
  const { devices, cpu, memoryBacking, maxMemoryKiB } = definition
  checkShared(definition)
  for (const kind of ['serials', 'parallels', 'consoles', 'channels', 'redirdevs'] as const)
    for (const [index, port] of devices[kind].entries()) {
      const { type, path, logFile, mode } = port
      const isOwn = ownHostSides.has(type) && !(type === 'unix' && mode === 'connect')
      if (isOwn && logFile === undefined) continue
      const key = isOwn ? 'logFile' : path === undefined ? 'type' : 'path'
      throw unsupported(
        `devices.${kind}[${index}].${key}`,
        `leads to '${port[key]}', which clones cannot share`,
        "Use the type 'pty'.",
      )
    }
  const kept: Readonly<Record<string, boolean>> = {
    // The memory of a clone is one file.
    'devices.memories': devices.memories.length > 0,
    maxMemoryKiB: maxMemoryKiB !== undefined,
    memoryBacking: memoryBacking !== undefined,
    'cpu.numa': (cpu?.numa.length ?? 0) > 0,
  }
  for (const [path, there] of Object.entries(kept))
    if (there)
      throw unsupported(path, 'cannot be in a template yet', 'Make the template of a machine without it.')
}
